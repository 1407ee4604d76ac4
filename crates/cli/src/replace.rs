//! Files that are replaced whole.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::process;

/// Replaces a file: whoever reads it meanwhile finds the old or the new one, whole. The new one has the rights and
/// the owner of the old one. The path is to lead through no link: that would be replaced, and not what it leads to.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), String> {
    let write = || {
        let (temporary, mut file) = temporary(path)?;
        let found = fs::metadata(path).ok();
        found
            .map_or(Ok(()), |found| like(&file, &found))
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temporary, path))
            .inspect_err(|_| {
                let _ = fs::remove_file(&temporary);
            })
    };
    write().map_err(|error: io::Error| format!("cannot write to {}: {error}", path.display()))
}

/// A new file in the same folder.
pub(crate) fn temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", process::id()));
    // A left-over of an earlier process with this number, or a trap: a link is not followed.
    let _ = fs::remove_file(&temporary);
    let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
    Ok((temporary, file))
}

/// Gives a file the owner and the rights of another one.
fn like(file: &File, other: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (other.uid(), other.gid()) {
        fchown(file, Some(other.uid()), Some(other.gid()))?;
    }
    file.set_permissions(other.permissions())
}
