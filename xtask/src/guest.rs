//! Our programs that run in virtual machines, linked statically.

use crate::architecture::Architecture;
use crate::cross;
use crate::target_folder::target_folder;
use anyhow::ensure;
use std::path::PathBuf;
use std::process::Command;

const TARGET: &str = Architecture::X86_64.target();

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
            Architecture::X86_64 => build(&["-p", "ringwarden-init", "-p", "ringwarden-player"])?,
            // All of the workspace, so that what is tested there shares what these are built from.
            Architecture::Aarch64 => cross::cargo(&["build", "--workspace", "--bin=init", "--bin=player"])?,
        };
        let built = built.join("debug");
        Ok(Self { init: built.join("init"), player: built.join("player") })
    }
}

/// Builds what the arguments of `cargo build` name with the cargo that runs us, in a folder of its own below
/// the target folder: other flags would have everything else built anew each time. Gives the folder that
/// has one for each profile.
pub(crate) fn build(arguments: &[&str]) -> anyhow::Result<PathBuf> {
    let target = target_folder()?.join("guest");
    if !target.exists() {
        eprintln!("building what runs in virtual machines");
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--target", TARGET])
        .args(arguments)
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_TARGET_DIR", &target)
        .status()?;
    ensure!(status.success(), "building what runs in virtual machines failed");
    Ok(target.join(TARGET))
}
