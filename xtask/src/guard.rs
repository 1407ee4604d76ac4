//! Commands run under `ringwarden run` with a policy of our own.

use crate::target_folder::target_folder;
use anyhow::{Context, ensure};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::NamedTempFile;

/// A `ringwarden` binary with a policy file.
pub(crate) struct Guard {
    binary: PathBuf,
    policy: NamedTempFile,
    lane: String,
    own_filters: bool,
}

impl Guard {
    /// Allows everything: the guard's work without any refusal.
    pub(crate) fn allowing_everything(binary: Option<&Path>) -> anyhow::Result<Self> {
        let binary = ringwarden(binary)?;
        let mut policy = tempfile::Builder::new().suffix(".toml").tempfile()?;
        policy.write_all(b"version = 1\nname = \"allow-all\"\ndefault = \"allow\"\n")?;
        Ok(Self { binary, policy, lane: "split".into(), own_filters: false })
    }

    /// The same in that lane.
    pub(crate) fn with_lane(self, lane: &str) -> Self {
        Self { lane: lane.into(), ..self }
    }

    /// The same with filters of the program's own.
    pub(crate) fn with_own_filters(self) -> Self {
        Self { own_filters: true, ..self }
    }

    /// The same without submission threads: then enters need not be looked at where the kernel holds rings.
    pub(crate) fn without_sqpoll(mut self) -> anyhow::Result<Self> {
        self.policy.write_all(b"[setup]\ndeny_flags = [\"SQPOLL\"]\n")?;
        Ok(self)
    }

    /// `program` under the guard; arguments can be added.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["run", "--lane", &self.lane, "-p"]).arg(self.policy.path());
        if self.own_filters {
            command.arg("--own-filters");
        }
        command.arg("--").arg(program);
        command
    }
}

/// The `ringwarden` binary at that path, or a release build of this tree.
pub(crate) fn ringwarden(path: Option<&Path>) -> anyhow::Result<PathBuf> {
    match path {
        Some(path) => path.canonicalize().with_context(|| format!("no guard at {}", path.display())),
        None => build_release(),
    }
}

/// Builds the release binary with the cargo that runs us.
fn build_release() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "-p", "ringwarden-cli"]).status()?;
    ensure!(status.success(), "building ringwarden failed");
    let target = target_folder()?;
    Ok(target.join("release/ringwarden"))
}
