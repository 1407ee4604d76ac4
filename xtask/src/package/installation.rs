//! The package, installed where nothing else is, and removed again.

use crate::debian::{output, succeed};
use crate::empty_root::EmptyRoot;
use crate::static_program;
use anyhow::ensure;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// What has to be there once it is installed.
const INSTALLED: &[&str] = &[
    "etc/ringwarden/policies",
    "usr/bin/ringwarden",
    "usr/lib/systemd/system/ringwarden-agent.service",
    "usr/lib/systemd/system/ringwarden-agent.socket",
    "usr/share/bash-completion/completions/ringwarden",
    "usr/share/doc/ringwarden/copyright",
    "usr/share/fish/vendor_completions.d/ringwarden.fish",
    "usr/share/man/man1/ringwarden-run.1.gz",
    "usr/share/man/man1/ringwarden.1.gz",
    "usr/share/zsh/vendor-completions/_ringwarden",
];

/// Installs it in a root of its own, without a single package that it could depend on, uses it and removes it.
pub(super) fn try_out(package: &Path) -> anyhow::Result<()> {
    let root = EmptyRoot::with(&[])?;
    // What scripts of packages rely on.
    fs::create_dir(root.path().join("bin"))?;
    symlink("/busybox", root.path().join("bin/sh"))?;
    let state = root.path().join("var/lib/dpkg");
    for folder in ["info", "triggers", "updates"] {
        fs::create_dir_all(state.join(folder))?;
    }
    fs::write(state.join("status"), "")?;
    succeed(dpkg(&root).arg("--install").arg(package))?;
    for file in INSTALLED {
        ensure!(root.path().join(file).exists(), "{} does not install {file}", package.display());
    }
    let status = output(dpkg(&root).args(["--status", "ringwarden"]))?;
    ensure!(status.contains("Status: install ok installed"), "dpkg says:\n{status}");
    static_program::try_out(&root, "/usr/bin/ringwarden")?;
    succeed(dpkg(&root).args(["--purge", "ringwarden"]))?;
    for file in INSTALLED {
        ensure!(!root.path().join(file).exists(), "{} leaves {file} behind", package.display());
    }
    Ok(())
}

fn dpkg(root: &EmptyRoot) -> Command {
    let mut command = Command::new("dpkg");
    command.arg("--log=/dev/null").arg(format!("--root={}", root.path().display()));
    command
}
