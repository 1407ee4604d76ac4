//! How much of a file is taken at most, so that a hostile one takes no more memory than an honest one.

/// Rows of a row group that is written.
pub const WRITTEN_ROWS: usize = 1 << 20;
/// Rows that are read at a time.
pub const BATCH_ROWS: usize = 16 << 10;
/// Rows of a row group that is read.
pub const MOST_ROWS: i64 = 64 << 20;
/// Bytes of what is behind the row groups: their description. About 4 KiB a row group.
pub const MOST_FOOTER: u64 = 256 << 20;
/// Bytes of a column of a row group, which whoever asks in SQL takes into memory at once: twice what the most rows have.
pub const MOST_CHUNK: i64 = 1 << 30;
/// Bytes of a page, both compressed and not: those that are written have 1 MiB.
pub const MOST_PAGE: i32 = 32 << 20;
/// Bytes of a text of the metadata.
pub const MOST_TEXT: usize = 64 << 20;
/// Different texts of a column, such as programs, in all files.
pub const MOST_TEXTS: usize = 1 << 20;
