//! How a program in the root is started, and what was refused to it.

use super::root::Root;
use crate::debian::output;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// How a program is started.
#[derive(Clone, Copy)]
pub(crate) enum Launch {
    Natively,
    /// Under this policy, in the lane that `run` takes by itself.
    Under(&'static str),
    /// Under this policy with an audit, by the guard in the split lane.
    Audited(&'static str),
}

impl Launch {
    /// `program` in `root`; arguments can be added.
    pub(crate) fn command(self, root: &Root, program: &str) -> Command {
        let (policy, audit): (_, &[&str]) = match self {
            Self::Natively => return root.command(program),
            Self::Under(policy) => (policy, &[]),
            Self::Audited(policy) => (policy, &["--verbose", "--audit", "/run/audit.jsonl"]),
        };
        let mut command = root.command("ringwarden");
        command.arg("run").args(audit).args(["-p", policy, "--", program]);
        command
    }

    /// What to add to the policy's name.
    pub(crate) fn how(self) -> &'static str {
        if matches!(self, Self::Audited(_)) { ", audited" } else { "" }
    }
}

/// Looks whether the kernel decides by itself under a preset, on this machine.
pub(crate) fn is_held_by_the_kernel(root: &Root, preset: &str) -> anyhow::Result<()> {
    let report = output(root.command("ringwarden").args(["doctor", "--format", "json", "-p", preset]))?;
    let report: Value = serde_json::from_str(&report)?;
    let lane = report["lanes"]["auto"].as_str().context("doctor names no lane")?;
    ensure!(lane != "split", "{preset} takes the lane {lane}");
    Ok(())
}

/// Nothing must be in the audit of what ran last.
pub(crate) fn nothing_was_refused(run: &Path) -> anyhow::Result<()> {
    let refused = fs::read_to_string(run.join("audit.jsonl"))?;
    ensure!(refused.is_empty(), "refused under the preset:\n{refused}");
    Ok(())
}
