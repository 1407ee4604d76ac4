//! [`Record`]: a record that is there, checked as far as that goes without reading its rows.

use crate::batch::Words;
use crate::columns::SCHEMA;
use crate::error::{Error, Place};
use crate::limits::{BATCH_ROWS, MOST_FOOTER, MOST_ROWS};
use crate::metadata::Metadata;
use crate::pages;
use crate::read::Source;
use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What a Parquet file begins and ends with.
const MAGIC: &[u8] = b"PAR1";
/// Magic, length and magic.
const SHORTEST: u64 = 12;

/// A record. Its rows may still turn out to be damaged.
#[derive(Clone, Debug)]
pub struct Record {
    path: PathBuf,
    source: Source,
    arrow: ArrowReaderMetadata,
    metadata: Metadata,
}

impl Record {
    /// Opens one.
    ///
    /// # Errors
    /// It cannot be read, is none, or does not agree with itself.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let at = |place: Place, reason: &dyn std::fmt::Display| Error::new(path, place, reason);
        let whole = |error: std::io::Error| at(Place::File, &error);
        let file = File::open(path).map_err(whole)?;
        let facts = file.metadata().map_err(whole)?;
        if !facts.is_file() {
            return Err(at(Place::File, &"it is no file"));
        }
        let length = facts.len();
        let source = Source::new(file, length);
        if length < SHORTEST {
            return Err(at(Place::File, &"it is too short for a Parquet file"));
        }
        let (mut first, mut last) = ([0; 4], [0; 8]);
        source.read_at(0, &mut first).map_err(whole)?;
        source.read_at(length - 8, &mut last).map_err(whole)?;
        if first != MAGIC {
            return Err(at(Place::File, &"it is no Parquet file"));
        }
        let [a, b, c, d, magic @ ..] = last;
        if magic != MAGIC {
            return Err(at(Place::Footer, &"it is missing: the file was cut off, or is still being written"));
        }
        let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
        if footer > MOST_FOOTER || footer > length - SHORTEST {
            let reason = format!("it claims to have {footer} bytes, and the file has {length}");
            return Err(at(Place::Footer, &reason));
        }
        let options = ArrowReaderOptions::new().with_schema(SCHEMA.clone());
        let arrow =
            unharmed(|| ArrowReaderMetadata::load(&source, options).map_err(|error| error.to_string()))
                .map_err(|reason| at(Place::Footer, &reason))?;
        let metadata = Metadata::find(arrow.metadata().file_metadata().key_value_metadata())
            .map_err(|reason| at(Place::Footer, &reason))?;
        let record = Self { path: path.to_owned(), source, arrow, metadata };
        record.agrees(length - 8 - footer)?;
        Ok(record)
    }

    /// Whether the description of the content fits a file whose content ends at that byte.
    fn agrees(&self, end: u64) -> Result<(), Error> {
        let described = self.arrow.metadata();
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
                if begin < MAGIC.len() as i64 || length < 0 || begin.saturating_add(length) as u64 > end {
                    let reason = format_args!("its {length} bytes at {begin} are not in the file");
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

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How many requests are in it.
    pub fn requests(&self) -> u64 {
        self.metadata.requests
    }

    /// How many row groups there are.
    pub fn row_groups(&self) -> usize {
        self.arrow.metadata().num_row_groups()
    }

    /// Where each row group begins, as the number of a row.
    pub(crate) fn begins(&self) -> impl Iterator<Item = u64> {
        self.arrow.metadata().row_groups().iter().scan(0, |next, group| {
            let begin = *next;
            *next += group.num_rows() as u64;
            Some(begin)
        })
    }

    pub(crate) fn wrong(&self, place: Place, reason: impl std::fmt::Display) -> Error {
        Error::new(&self.path, place, reason)
    }

    /// Checks how much memory the pages of some columns, or of all, take.
    ///
    /// # Errors
    /// It is more than is allowed, or pages are not what they have to be.
    pub fn check_pages(&self, row_group: usize, columns: Option<&[&str]>) -> Result<(), Error> {
        for column in self.arrow.metadata().row_group(row_group).columns() {
            let name = column.column_path().string();
            if columns.is_some_and(|columns| !columns.contains(&&*name)) {
                continue;
            }
            let (begin, length) = column.byte_range();
            pages::check(&self.source, begin, begin + length).map_err(|(offset, reason)| {
                self.wrong(Place::Column { row_group, column: name, offset }, reason)
            })?;
        }
        Ok(())
    }

    /// Reads columns of a row group, a batch of at most [`BATCH_ROWS`] rows at a time, with the number of the batch's
    /// first row.
    ///
    /// # Errors
    /// Those of `each`, and what is wrong with the row group. Batches before that have been read by then.
    pub fn read(
        &self,
        row_group: usize,
        columns: &[&str],
        mut each: impl FnMut(u64, &RecordBatch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.check_pages(row_group, Some(columns))?;
        let begin = self.begins().nth(row_group).unwrap_or_default();
        let group = self.arrow.metadata().row_group(row_group);
        let mask = ProjectionMask::columns(self.arrow.parquet_schema(), columns.iter().copied());
        let mut read = 0u64;
        let broken = |reason: String| self.wrong(Place::RowGroup(row_group), reason);
        let reader = unharmed(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.source.clone(), self.arrow.clone())
                .with_projection(mask)
                .with_row_groups(vec![row_group])
                .with_batch_size(BATCH_ROWS)
                .build()
                .map_err(|error| error.to_string())
        });
        let mut reader = reader.map_err(broken)?;
        loop {
            let next = unharmed(|| reader.next().transpose().map_err(|error| error.to_string()));
            let next = next.map_err(|reason| broken(format!("behind row {}: {reason}", begin + read)))?;
            let Some(batch) = next else { break };
            each(begin + read, &batch)?;
            read += batch.num_rows() as u64;
        }
        if read != group.num_rows() as u64 {
            return Err(broken(format!("it claims to have {} rows, and has {read}", group.num_rows())));
        }
        Ok(())
    }

    /// The words of a batch.
    pub(crate) fn words<'b>(&self, first: u64, batch: &'b RecordBatch) -> Result<Words<'b>, Error> {
        Words::new(batch.num_rows(), |name| batch.column_by_name(name))
            .map_err(|reason| self.wrong(Place::Row(first), reason))
    }
}

/// Does what a library does with bytes that may be anything. It is meant to give errors, and should it panic, that is one.
fn unharmed<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason is given");
        Err(format!("it is damaged: {text}"))
    })
}
