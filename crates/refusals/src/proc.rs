//! Processes and threads by number, as `/proc` lists them.

use std::fs;
use std::path::Path;

/// The entries of a folder that are numbers; none where it cannot be read.
pub(crate) fn numbers(folder: impl AsRef<Path>) -> impl Iterator<Item = i32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
