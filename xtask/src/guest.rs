//! Our programs that run in virtual machines, linked statically.

use crate::architecture::Architecture;
use crate::{cross, static_program};
use std::path::PathBuf;

/// The programs, built.
pub(crate) struct Programs {
    /// The first process (`conformance/init`).
    pub(crate) init: PathBuf,
    /// What acts out the case tables (`conformance/player`).
    pub(crate) player: PathBuf,
}

impl Programs {
    /// Builds them.
    pub(crate) fn build(architecture: Architecture) -> anyhow::Result<Self> {
        let built = match architecture {
            Architecture::X86_64 => build(&["init", "player"])?,
            // All of the workspace, so that what is tested there shares what these are built from.
            Architecture::Aarch64 => {
                cross::cargo(&["build", "--workspace", "--bin=init", "--bin=player"])?.join("debug")
            }
        };
        Ok(Self { init: built.join("init"), player: built.join("player") })
    }
}

/// Builds programs of `conformance/`, and gives their folder.
pub(crate) fn build(programs: &[&str]) -> anyhow::Result<PathBuf> {
    // All of these packages, whichever is wanted: then they share what they are built from.
    const PACKAGES: [&str; 3] = ["ringwarden-init", "ringwarden-player", "ringwarden-kernel-fuzz"];
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    let programs = programs.iter().flat_map(|program| ["--bin", program]);
    static_program::cargo("quick", &packages.chain(programs).collect::<Vec<_>>())
}
