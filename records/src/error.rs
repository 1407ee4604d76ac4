//! [`Error`]: why a file is no record, and where.

use std::fmt;
use std::path::PathBuf;

/// Why a record cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{}{place}: {reason}", .file.display())]
#[non_exhaustive]
pub struct Error {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What is wrong.
    pub reason: String,
}

/// Where in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The file itself.
    #[default]
    File,
    /// What describes its content, at its end.
    Footer,
    /// A row group, from 0.
    RowGroup(usize),
    /// A column of a row group.
    Column {
        /// The row group.
        row_group: usize,
        /// The column's name.
        column: String,
        /// Where its pages begin, or the one that is wrong, in bytes of the file.
        offset: u64,
    },
    /// A row, counted from 0 in the whole file.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Footer => f.write_str(", footer"),
            Self::RowGroup(index) => write!(f, ", row group {index}"),
            Self::Column { row_group, column, offset } => {
                write!(f, ", row group {row_group}, column `{column}` at byte {offset}")
            }
            Self::Row(row) => write!(f, ", row {row}"),
        }
    }
}

impl Error {
    /// What is wrong with a file, for people.
    pub fn new(file: impl Into<PathBuf>, place: Place, reason: impl fmt::Display) -> Self {
        Self { file: file.into(), place, reason: reason.to_string() }
    }
}
