//! A container: its bundle, its processes, its end.

use super::{Host, PATIENCE};
use crate::debian::{output, succeed};
use crate::presets::root::{PATH, USER};
use crate::presets::server::requests_of;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// A container on the root, read-only but for a folder of its own. It is deleted when this is dropped.
pub(super) struct Container<'a> {
    host: &'a Host<'a>,
    id: String,
    policy: &'static str,
}

impl<'a> Container<'a> {
    /// One that does nothing yet, with that policy.
    pub(super) fn new(host: &'a Host<'a>, id: &str, policy: &'static str) -> anyhow::Result<Self> {
        let id = format!("ringwarden-{id}");
        let container = Self { host, id, policy };
        fs::create_dir_all(container.run_folder())?;
        host.root.give(&container.run_folder())?;
        Ok(container)
    }

    /// What agents call it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn bundle(&self) -> PathBuf {
        self.host.node.path(&self.id)
    }

    /// What it knows as `/run`.
    pub(super) fn run_folder(&self) -> PathBuf {
        self.bundle().join("run")
    }

    /// `program` as its first process, in the background.
    pub(super) fn start(&self, program: &[&str]) -> anyhow::Result<()> {
        self.start_with(program, Stdio::null()).map(drop)
    }

    /// The same with a standard input.
    pub(super) fn start_reading(&self, program: &[&str]) -> anyhow::Result<Lines<'_>> {
        let input = self.start_with(program, Stdio::piped())?.context("a pipe")?;
        Ok(Lines { container: self, input })
    }

    fn start_with(&self, program: &[&str], input: Stdio) -> anyhow::Result<Option<ChildStdin>> {
        self.describe(program)?;
        let log = File::create(self.bundle().join("log"))?;
        let mut command = self.host.runtime.command();
        command.args(["run", "--detach", "--bundle"]).arg(self.bundle()).arg(&self.id);
        let mut runtime = command.stdin(input).stdout(log.try_clone()?).stderr(log).spawn()?;
        let input = runtime.stdin.take();
        let status = runtime.wait()?;
        ensure!(status.success(), "{} does not start: {status}\n{}", self.id, self.log()?);
        Ok(input)
    }

    /// The command by which `program` runs in it from beginning to end.
    pub(super) fn run(&self, program: &[&str]) -> anyhow::Result<Command> {
        self.describe(program)?;
        let mut command = self.host.runtime.command();
        command.args(["run", "--bundle"]).arg(self.bundle()).arg(&self.id).stdin(Stdio::null());
        Ok(command)
    }

    /// The command by which `program` runs in it beside what runs there already.
    pub(super) fn exec(&self, program: &[&str]) -> Command {
        let mut command = self.host.runtime.command();
        // crun's is root where nobody is named.
        command
            .args(["exec", "--user", &format!("{USER}:{USER}"), &self.id])
            .args(program)
            .stdin(Stdio::null());
        command
    }

    /// Kills all of it.
    pub(super) fn kill(&self) -> anyhow::Result<()> {
        succeed(self.host.runtime.command().args(["kill", &self.id, "KILL"]))
    }

    /// Requests that the kernel has taken from the rings of its first process.
    pub(super) fn requests(&self) -> anyhow::Result<u64> {
        let state: Value =
            serde_json::from_str(&output(self.host.runtime.command().args(["state", &self.id]))?)?;
        requests_of(&state["pid"].to_string())
    }

    /// Waits until that is in what its processes have printed.
    pub(super) fn wait_for(&self, text: &str) -> anyhow::Result<()> {
        let start = Instant::now();
        while !self.log()?.contains(text) {
            ensure!(start.elapsed() < PATIENCE, "{} does not say `{text}`:\n{}", self.id, self.log()?);
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.bundle().join("log"))?)
    }

    /// Writes `config.json`.
    fn describe(&self, program: &[&str]) -> anyhow::Result<()> {
        let mount = |at: &str, kind: &str, options: &[&str]| json!({"destination": at, "type": kind, "source": kind, "options": options});
        let run = json!({"destination": "/run", "type": "bind", "source": self.run_folder(), "options": ["rbind", "rw"]});
        let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({"type": kind}));
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": {"uid": USER, "gid": USER},
                "args": program,
                "env": [format!("PATH={PATH}"), "LC_ALL=C", "UV_USE_IO_URING=1"],
                "cwd": "/",
                "noNewPrivileges": true,
            },
            "root": {"path": self.host.root.path(), "readonly": true},
            "mounts": [
                mount("/proc", "proc", &[]),
                mount("/dev", "tmpfs", &["nosuid", "mode=755"]),
                mount("/dev/shm", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
                mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
                run,
            ],
            "linux": {"namespaces": namespaces, "seccomp": self.host.node.profile(self.policy)?},
        });
        Ok(fs::write(self.bundle().join("config.json"), config.to_string())?)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.host.runtime.command().args(["delete", "--force", &self.id]).output();
    }
}

/// A container that does the same for each line that it reads.
pub(super) struct Lines<'a> {
    container: &'a Container<'a>,
    input: ChildStdin,
}

impl Lines<'_> {
    /// Gives it a line, and waits until it has printed `count` lines; the last.
    pub(super) fn next(&mut self, count: usize) -> anyhow::Result<String> {
        writeln!(self.input)?;
        let start = Instant::now();
        loop {
            let log = self.container.log()?;
            if log.ends_with('\n') && log.lines().count() == count {
                let said = log.lines().last().unwrap_or_default();
                return Ok(said.to_owned());
            }
            ensure!(start.elapsed() < PATIENCE, "{} does not answer:\n{log}", self.container.id);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
