//! [`Record`]: a record that is there, checked as far as that goes without reading its rows.

use crate::batch::Words;
use crate::error::{Error, Place};
use crate::footer::{Footer, unharmed};
use crate::limits::BATCH_ROWS;
use crate::metadata::Metadata;
use crate::read::Source;
use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::path::Path;

/// What a Parquet file begins with.
const MAGIC: &[u8] = b"PAR1";

/// A record. Its rows may still turn out to be damaged.
#[derive(Clone, Debug)]
pub struct Record {
    source: Source,
    footer: Footer,
}

impl Record {
    /// Opens one.
    ///
    /// # Errors
    /// It cannot be read, is none, or does not agree with itself.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let at = |place: Place, reason: &dyn std::fmt::Display| Error::new(path, place, reason);
        let whole = |error: std::io::Error| at(Place::File, &error);
        // Whoever opens a FIFO waits for somebody to write.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| whole(error.into()))?;
        let file = File::from(file);
        let facts = file.metadata().map_err(whole)?;
        if !facts.is_file() {
            return Err(at(Place::File, &"it is no file"));
        }
        let length = facts.len();
        let source = Source::new(file, length);
        let mut last = [0; Footer::TAIL];
        let Some(tail) = length.checked_sub(Footer::TAIL as u64) else {
            return Err(at(Place::File, &"it is too short for a Parquet file"));
        };
        source.read_at(tail, &mut last).map_err(whole)?;
        let mut first = [0; 4];
        source.read_at(0, &mut first).map_err(whole)?;
        if first != MAGIC {
            return Err(at(Place::File, &"it is no Parquet file"));
        }
        let begin = Footer::begin(path, last, length)?;
        let mut bytes = vec![0; usize::try_from(tail - begin).unwrap_or(usize::MAX)];
        source.read_at(begin, &mut bytes).map_err(whole)?;
        let footer = Footer::parse(path, &bytes, begin)?;
        Ok(Self { source, footer })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.footer.name()
    }

    /// What it says of itself.
    pub fn metadata(&self) -> &Metadata {
        self.footer.metadata()
    }

    /// How many requests are in it.
    pub fn requests(&self) -> u64 {
        self.metadata().requests
    }

    /// How many row groups there are.
    pub fn row_groups(&self) -> usize {
        self.footer.parquet().num_row_groups()
    }

    /// Where each row group begins, as the number of a row.
    pub(crate) fn begins(&self) -> impl Iterator<Item = u64> {
        self.footer.parquet().row_groups().iter().scan(0, |next, group| {
            let begin = *next;
            *next += group.num_rows() as u64;
            Some(begin)
        })
    }

    pub(crate) fn wrong(&self, place: Place, reason: impl std::fmt::Display) -> Error {
        Error::new(self.path(), place, reason)
    }

    /// Checks how much memory the pages of some columns, or of all, take.
    ///
    /// # Errors
    /// It is more than is allowed, or pages are not what they have to be.
    pub fn check_pages(&self, row_group: usize, columns: Option<&[&str]>) -> Result<(), Error> {
        for column in self.footer.parquet().row_group(row_group).columns() {
            let name = column.column_path().string();
            if columns.is_some_and(|columns| !columns.contains(&&*name)) {
                continue;
            }
            self.footer.check_pages(row_group, column, |at, buffer| self.source.read_at(at, buffer).ok())?;
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
        let group = self.footer.parquet().row_group(row_group);
        let mask = ProjectionMask::columns(self.footer.arrow().parquet_schema(), columns.iter().copied());
        let mut read = 0u64;
        let broken = |reason: String| self.wrong(Place::RowGroup(row_group), reason);
        let reader = unharmed(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(
                self.source.clone(),
                self.footer.arrow().clone(),
            )
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
