//! Where cargo has built this program: what it builds itself goes there, too.

use anyhow::Context;
use std::path::PathBuf;

/// The target folder, which has a folder for each profile.
pub(crate) fn target_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.ancestors().nth(2).context("xtask is not in a target folder")?.to_owned())
}
