//! Where downloads and builds of other projects live: never in the source tree.

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::path::{Path, PathBuf};

/// `$RINGWARDEN_CACHE`, or `ringwarden` in the user's cache folder.
pub(crate) fn directory() -> anyhow::Result<PathBuf> {
    let from = |variable, below: &str| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(|value| PathBuf::from(value).join(below))
    };
    let path = from("RINGWARDEN_CACHE", "")
        .or_else(|| from("XDG_CACHE_HOME", "ringwarden"))
        .or_else(|| from("HOME", ".cache/ringwarden"))
        .context("set RINGWARDEN_CACHE: there is no HOME to put a cache in")?;
    std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

/// Has a folder of the cache for itself until this is dropped: machines that start side by side want the same.
pub(crate) fn lock(folder: &Path) -> anyhow::Result<File> {
    let file = File::create(folder.join("lock"))?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}
