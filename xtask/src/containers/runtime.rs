//! Container runtimes, of this machine or of Debian sid.

use crate::architecture::Architecture;
use crate::cache;
use crate::debian::{Suite, output};
use anyhow::Context;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// This machine's runc
    Runc,
    /// This machine's crun
    Crun,
    /// Debian sid's runc
    SidRunc,
    /// Debian sid's crun
    SidCrun,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Runc, Self::Crun, Self::SidRunc, Self::SidCrun];

    fn program(self) -> &'static str {
        if matches!(self, Self::Runc | Self::SidRunc) { "runc" } else { "crun" }
    }
}

const PACKAGES: [&str; 2] = ["runc", "crun"];
/// crun refuses machines that have both versions of control groups (libcrun's `libcrun_get_cgroup_mode`), so that it sees
/// version 1 alone.
const ONE_VERSION: &str = "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified\n";
/// `sh ROOT FOLDER PROGRAM…`: in that root, with what is the machine's own. It has to be a mount's, or nobody in it could
/// change it again (pivot_root(2)).
const CHANGE_ROOT: &str = "root=$1 folder=$2; shift 2
    mount --rbind \"$root\" \"$root\"
    for folder in /proc /sys /dev \"$folder\"; do mkdir -p \"$root$folder\"; mount --rbind \"$folder\" \"$root$folder\"; done
    cd \"$root\"; mkdir -p old; pivot_root . old\n";

pub(super) struct Runtime {
    kind: Kind,
    state: PathBuf,
    /// Where sid's are, and what of the machine they see.
    root: Option<(PathBuf, PathBuf)>,
    version: String,
}

impl Runtime {
    /// One that keeps what it knows of its containers in the folder `state`.
    pub(super) fn new(kind: Kind, state: PathBuf) -> anyhow::Result<Self> {
        let sids = matches!(kind, Kind::SidRunc | Kind::SidCrun);
        let root = sids.then(|| anyhow::Ok((unpacked()?, cache::directory()?))).transpose()?;
        let mut runtime = Self { kind, state, root, version: String::new() };
        let version = output(runtime.command().arg("--version"))
            .with_context(|| format!("is the package {} installed?", kind.program()))?;
        runtime.version = version.lines().next().unwrap_or_default().to_owned();
        Ok(runtime)
    }

    pub(super) fn name(&self) -> &str {
        &self.version
    }

    /// The runtime; arguments can be added.
    pub(super) fn command(&self) -> Command {
        let program = self.kind.program();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec"]);
        match &self.root {
            None => command.arg(format!("{ONE_VERSION}exec \"$@\"")).arg("sh"),
            Some((root, folder)) => {
                command.arg(format!("{ONE_VERSION}{CHANGE_ROOT}exec \"$@\"")).arg("sh").args([root, folder])
            }
        };
        command.args([program, "--root"]).arg(&self.state);
        command
    }
}

/// sid's runtimes, in a root of their own.
fn unpacked() -> anyhow::Result<PathBuf> {
    let sid = Suite::open("sid", Architecture::X86_64)?;
    let folder = cache::directory()?.join("runtimes");
    let (root, unpacked) = (folder.join("root"), folder.join("unpacked"));
    let versions = sid.file_names(&PACKAGES)?;
    if fs::read_to_string(&unpacked).ok().as_deref() != Some(&versions) {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&root)?;
        sid.unpack_with_dependencies(&PACKAGES, &[], &root)?;
        fs::write(&unpacked, versions)?;
    }
    Ok(root)
}
