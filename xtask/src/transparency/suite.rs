//! liburing's regression programs, built from Debian sid's source package.

use super::outcome::Run;
use crate::architecture::Architecture;
use crate::debian::{self, succeed};
use crate::guard::Guard;
use anyhow::{Context, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The built programs, `test/*.t` of the source tree.
pub(crate) struct Suite {
    programs: PathBuf,
    /// Where programs get their working folders: on a disk, because some of them need O_DIRECT.
    scratch: PathBuf,
}

impl Suite {
    /// Builds the suite in `cache`, or finds it there.
    pub(crate) fn build(cache: &Path) -> anyhow::Result<Self> {
        let sources = cache.join("liburing");
        fs::create_dir_all(&sources)?;
        let built = sources.join("built");
        if !built.exists() {
            let tree = match source_tree(&sources)? {
                Some(tree) => tree,
                None => {
                    debian::Suite::open("sid", Architecture::X86_64)?.source("liburing", &sources)?;
                    source_tree(&sources)?.context("the source package unpacked to no liburing-* folder")?
                }
            };
            succeed(Command::new("./configure").current_dir(&tree))?;
            for part in ["src", "test"] {
                succeed(Command::new("make").args(["-j2", "-C", part]).current_dir(&tree))?;
            }
            fs::write(&built, "")?;
        }
        let tree = source_tree(&sources)?.context("the built sources are gone: empty the cache")?;
        let scratch = cache.join("scratch");
        fs::create_dir_all(&scratch)?;
        Ok(Self { programs: tree.join("test"), scratch })
    }

    /// The names of all programs, sorted, without `.t`.
    pub(crate) fn names(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.programs)? {
            if let Some(name) = entry?.file_name().to_str().and_then(|name| name.strip_suffix(".t")) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Where a program is.
    pub(crate) fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let program = self.programs.join(name).with_extension("t");
        ensure!(program.exists(), "no program {name} in {}", self.programs.display());
        Ok(program)
    }

    /// Runs one program in an empty folder, natively or under `guard`.
    pub(crate) fn run(&self, name: &str, guard: Option<&Guard>, limit: Duration) -> anyhow::Result<Run> {
        let program = self.program(name)?;
        let directory = tempfile::tempdir_in(&self.scratch)?;
        let command = match guard {
            Some(guard) => guard.command(program),
            None => Command::new(program),
        };
        Run::new(command, directory.path(), limit).with_context(|| format!("cannot run {name}"))
    }
}

fn source_tree(sources: &Path) -> anyhow::Result<Option<PathBuf>> {
    for entry in fs::read_dir(sources)? {
        let path = entry?.path();
        if path.join("configure").is_file() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
