//! [`Footer`]: what a record says of its content, at its end.

use crate::columns::SCHEMA;
use crate::error::{Error, Place};
use crate::limits::{MOST_CHUNK, MOST_FOOTER, MOST_ROWS};
use crate::metadata::Metadata;
use crate::pages;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataReader,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a Parquet file ends with.
const MAGIC: &[u8] = b"PAR1";
/// Where the first page may be: behind the magic.
const FIRST: i64 = 4;

/// What a record says of its content, checked. Whoever reads the pages, from a file or from elsewhere, has them checked, too.
#[derive(Clone, Debug)]
pub struct Footer {
    name: PathBuf,
    arrow: ArrowReaderMetadata,
    metadata: Metadata,
}

impl Footer {
    /// What is behind it, in bytes: its length and the magic.
    pub const TAIL: usize = 8;

    /// Where it begins, in a file of that length with that end.
    ///
    /// # Errors
    /// There is none, or one that is too long. `name` is the file's for that.
    pub fn begin(name: &Path, last: [u8; Self::TAIL], length: u64) -> Result<u64, Error> {
        let wrong = |reason: &dyn std::fmt::Display| Error::new(name, Place::Footer, reason);
        let [a, b, c, d, magic @ ..] = last;
        if magic != MAGIC {
            return Err(wrong(&"it is missing: the file was cut off, or is still being written"));
        }
        let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
        let begin = length.checked_sub(footer + Self::TAIL as u64).filter(|begin| *begin >= FIRST as u64);
        begin.filter(|_| footer <= MOST_FOOTER).ok_or_else(|| {
            wrong(&format_args!("it claims to have {footer} bytes, and the file has {length}"))
        })
    }

    /// Reads one, which begins at that byte of the file.
    ///
    /// # Errors
    /// It is none of a record, or does not agree with itself.
    pub fn parse(name: &Path, bytes: &[u8], begin: u64) -> Result<Self, Error> {
        let wrong = |reason: String| Error::new(name, Place::Footer, reason);
        let options = ArrowReaderOptions::new().with_schema(SCHEMA.clone());
        let arrow = unharmed(|| {
            let parquet = ParquetMetaDataReader::decode_metadata(bytes);
            let parquet = parquet.map(|parquet| Arc::new(without_arrow_schema(&parquet)));
            let arrow = parquet.and_then(|parquet| ArrowReaderMetadata::try_new(parquet, options));
            arrow.map_err(|error| error.to_string())
        });
        let arrow = arrow.map_err(wrong)?;
        let metadata =
            Metadata::find(arrow.metadata().file_metadata().key_value_metadata()).map_err(wrong)?;
        let footer = Self { name: name.to_owned(), arrow, metadata };
        footer.agrees(begin)?;
        Ok(footer)
    }

    /// Whether the description of the content fits a file whose content ends at that byte.
    fn agrees(&self, end: u64) -> Result<(), Error> {
        let described = self.parquet();
        let mut rows = 0u64;
        for (index, group) in described.row_groups().iter().enumerate() {
            let count = group.num_rows();
            if !(0..=MOST_ROWS).contains(&count) {
                return Err(
                    self.wrong(Place::RowGroup(index), format_args!("it claims to have {count} rows"))
                );
            }
            rows = rows.saturating_add(count as u64);
            for column in group.columns() {
                let (begin, length) = (column.data_page_offset(), column.compressed_size());
                let begin = column.dictionary_page_offset().map_or(begin, |dictionary| dictionary.min(begin));
                let place = || Place::Column {
                    row_group: index,
                    column: column.column_path().string(),
                    offset: begin.max(0) as u64,
                };
                if begin < FIRST || length < 0 || begin.saturating_add(length) as u64 > end {
                    let reason = format_args!("its {length} bytes at {begin} are not in the file");
                    return Err(self.wrong(place(), reason));
                }
                if length > MOST_CHUNK {
                    let reason = format_args!("it claims {length} bytes, and may have {MOST_CHUNK}");
                    return Err(self.wrong(place(), reason));
                }
                if column.num_values() != count {
                    let reason = format_args!("it has {} values for {count} rows", column.num_values());
                    return Err(self.wrong(place(), reason));
                }
            }
        }
        let claimed = described.file_metadata().num_rows();
        if i64::try_from(rows) != Ok(claimed) || self.metadata.requests != rows {
            let reason = format_args!(
                "it claims to have {claimed} rows and {} requests, and the row groups have {rows}",
                self.metadata.requests
            );
            return Err(self.wrong(Place::Footer, reason));
        }
        Ok(())
    }

    /// The file's name.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// What the record says of itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The description of the content.
    pub fn parquet(&self) -> &Arc<ParquetMetaData> {
        self.arrow.metadata()
    }

    pub(crate) fn arrow(&self) -> &ArrowReaderMetadata {
        &self.arrow
    }

    /// Checks how much memory the pages of a column take, whose bytes have been read from that place.
    ///
    /// # Errors
    /// It is more than is allowed, or pages are not what they have to be, or there is no such column.
    pub fn check_column(&self, begin: u64, bytes: &[u8]) -> Result<(), Error> {
        let groups = self.parquet().row_groups().iter().enumerate();
        let mut columns =
            groups.flat_map(|(at, group)| group.columns().iter().map(move |column| (at, column)));
        let found = columns.find(|(_, column)| column.byte_range() == (begin, bytes.len() as u64));
        let (row_group, column) = found.ok_or_else(|| {
            let reason = format_args!("there is no column of {} bytes at {begin}", bytes.len());
            self.wrong(Place::File, reason)
        })?;
        self.check_pages(row_group, column, pages::from(bytes, begin))
    }

    pub(crate) fn check_pages(
        &self,
        row_group: usize,
        column: &ColumnChunkMetaData,
        read: impl Fn(u64, &mut [u8]) -> Option<()>,
    ) -> Result<(), Error> {
        let (begin, length) = column.byte_range();
        pages::check(read, begin, begin + length).map_err(|(offset, reason)| {
            let column = column.column_path().string();
            self.wrong(Place::Column { row_group, column, offset }, reason)
        })
    }

    fn wrong(&self, place: Place, reason: impl std::fmt::Display) -> Error {
        Error::new(&self.name, place, reason)
    }
}

/// The same without the description of its columns that Arrow leaves beside Parquet's own: records have the columns that they
/// have, and no check sees into it.
fn without_arrow_schema(parquet: &ParquetMetaData) -> ParquetMetaData {
    let file = parquet.file_metadata();
    let others = |pairs: &Vec<KeyValue>| {
        pairs.iter().filter(|pair| pair.key != ARROW_SCHEMA_META_KEY).cloned().collect()
    };
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        file.key_value_metadata().map(others),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    ParquetMetaData::new(file, parquet.row_groups().to_vec())
}

/// Does what a library does with bytes that may be anything. It is meant to give errors, and should it panic, that is one.
pub(crate) fn unharmed<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason is given");
        Err(format!("it is damaged: {text}"))
    })
}
