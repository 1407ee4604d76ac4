//! A root file system with a static busybox and next to nothing else, to run programs in.

use crate::architecture::Architecture;
use crate::cache;
use crate::debian::Suite;
use anyhow::{Context, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder, gone when this is dropped.
pub(crate) struct EmptyRoot {
    folder: TempDir,
}

/// Arguments: the root, the command.
const ENTER: &str = r#"set -e
mount -t proc proc "$1/proc"
exec chroot "$@""#;

impl EmptyRoot {
    /// With files of this machine, each under that name in the root.
    pub(crate) fn with(files: &[(&Path, &str)]) -> anyhow::Result<Self> {
        let root = Self { folder: TempDir::new()? };
        for folder in ["proc", "tmp"] {
            fs::create_dir(root.path().join(folder))?;
        }
        fs::copy(busybox()?, root.path().join("busybox"))?;
        for (file, name) in files {
            fs::copy(file, root.path().join(name)).with_context(|| file.display().to_string())?;
        }
        Ok(root)
    }

    /// Where it is on this machine.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file in it.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.path().join(name), text)?)
    }

    /// Runs a command with this as its root and `/proc` mounted, without any variable of the environment.
    pub(crate) fn run(&self, command: &[&str]) -> anyhow::Result<Output> {
        let mut enter = Command::new("unshare");
        enter.args(["--mount", "--pid", "--fork", "sh", "-c", ENTER, "sh"]).arg(self.path()).args(command);
        enter.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        enter.output().context("cannot run unshare")
    }

    /// The same with a command that has to succeed.
    pub(crate) fn succeed(&self, command: &[&str]) -> anyhow::Result<()> {
        let output = self.run(command)?;
        ensure!(
            output.status.success(),
            "{command:?} in an empty root: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

/// Debian's static one, from the cache.
fn busybox() -> anyhow::Result<PathBuf> {
    let folder = cache::directory()?.join("busybox");
    let program = folder.join("usr/bin/busybox");
    fs::create_dir_all(&folder)?;
    let _lock = cache::lock(&folder)?;
    if !program.exists() {
        Suite::open("sid", Architecture::X86_64)?.unpack("busybox-static", &folder)?;
    }
    Ok(program)
}
