//! [`Words`]: the words of many contexts, as they lie in columns.

use crate::columns::{OF_WORD, SHOWN};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use ringwarden::uapi::{KernelModel, Opcode};
use ringwarden_trace::WORDS;

/// The words of the contexts of a batch of rows. A column that is not there is read as zeros.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    columns: [Column<'a>; SHOWN.len()],
    rows: usize,
}

#[derive(Clone, Copy, Debug)]
enum Column<'a> {
    Absent,
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    I32(&'a [i32]),
    U64(&'a [u64]),
}

impl Column<'_> {
    #[inline]
    fn at(self, row: usize) -> u64 {
        match self {
            Self::Absent => 0,
            Self::U8(values) => values[row].into(),
            Self::U16(values) => values[row].into(),
            Self::U32(values) => values[row].into(),
            Self::I32(values) => (values[row] as u32).into(),
            Self::U64(values) => values[row],
        }
    }
}

impl<'a> Words<'a> {
    /// Of `rows` rows, of which `column` gives the columns by their names.
    ///
    /// # Errors
    /// A column has another type or length, or has nulls; or the one with opcodes is missing.
    pub fn new(rows: usize, column: impl Fn(&str) -> Option<&'a ArrayRef>) -> Result<Self, String> {
        let mut columns = [Column::Absent; SHOWN.len()];
        for ((name, kind), place) in SHOWN.iter().zip(&mut columns) {
            let Some(array) = column(name) else { continue };
            if array.data_type() != kind || array.len() != rows || array.null_count() > 0 {
                return Err(format!("the column `{name}` is not what it has to be"));
            }
            *place = match kind {
                DataType::UInt8 => Column::U8(array.as_primitive::<UInt8Type>().values()),
                DataType::UInt16 => Column::U16(array.as_primitive::<UInt16Type>().values()),
                DataType::UInt32 => Column::U32(array.as_primitive::<UInt32Type>().values()),
                DataType::Int32 => Column::I32(array.as_primitive::<Int32Type>().values()),
                _ => Column::U64(array.as_primitive::<UInt64Type>().values()),
            };
        }
        let words = Self { columns, rows };
        words.opcodes().map(|_| words).ok_or_else(|| "the column `opcode` is missing".into())
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The opcodes of all rows.
    pub(crate) fn opcodes(&self) -> Option<&'a [u8]> {
        match self.columns[1] {
            Column::U8(opcodes) => Some(opcodes),
            _ => None,
        }
    }

    /// Puts those words of a row that are in the set `loads`, of which bit *n* is word *n*, where they belong.
    #[inline]
    pub(crate) fn load(&self, row: usize, loads: u32, words: &mut [u32; WORDS]) {
        let mut left = loads & ((1 << WORDS) - 1);
        while left != 0 {
            let word = left.trailing_zeros() as usize;
            left &= left - 1;
            words[word] = self.word(row, word);
        }
    }

    /// All words of a row.
    pub fn context(&self, row: usize) -> [u32; WORDS] {
        let mut words = [0; WORDS];
        self.load(row, u32::MAX, &mut words);
        words
    }

    #[inline]
    fn word(&self, row: usize, word: usize) -> u32 {
        let at = |column: usize| self.columns[column].at(row);
        match (word, OF_WORD[word]) {
            (2, _) => {
                let (opcode, flags) = (at(1) as u8, at(2) as u8);
                let size = KernelModel::Guard.payload_size(Opcode(opcode));
                u32::from_ne_bytes([opcode, flags, size, 0])
            }
            // The upper half, as `ioprio` is behind opcode and flags.
            (10, _) => (at(6) as u32) << 16,
            (_, [low, high]) => at(*low) as u32 | (at(*high) as u32) << 16,
            (_, [column]) => {
                let value = at(*column);
                // The second word of a column of 64 bits is its upper half.
                let upper = word > 0 && OF_WORD[word - 1] == [*column];
                if upper { (value >> 32) as u32 } else { value as u32 }
            }
            _ => 0,
        }
    }
}
