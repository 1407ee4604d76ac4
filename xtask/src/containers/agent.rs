//! The agent, and what it knows of containers.

use super::PATIENCE;
use super::container::Container;
use crate::cache;
use crate::debian::output;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Of containers without io_uring.
const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A folder with policies, sockets, and bundles. It lies where every runtime sees it.
pub(super) struct Node {
    folder: TempDir,
    ringwarden: PathBuf,
}

impl Node {
    pub(super) fn new(ringwarden: &Path, policies: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix_in("containers.", cache::directory()?)?;
        let node = Self { folder, ringwarden: ringwarden.to_owned() };
        fs::create_dir(node.path("policies"))?;
        for (name, text) in policies {
            fs::write(node.policy(name), text)?;
        }
        Ok(node)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn policy(&self, name: &str) -> PathBuf {
        self.path("policies").join(name).with_extension("toml")
    }

    /// The seccomp profile of a container without capabilities under that policy.
    pub(super) fn profile(&self, policy: &str) -> anyhow::Result<Value> {
        let mut export = Command::new(&self.ringwarden);
        export.args(["export", "seccomp", "--resolved", "--from", PROFILE, "--socket"]);
        export.arg(self.path("agent.sock"));
        match policy.starts_with('@') {
            true => export.arg(policy),
            false => export.arg(self.policy(policy)),
        };
        Ok(serde_json::from_str(&output(&mut export)?)?)
    }

    /// Which operations were refused to whom, by the audit.
    pub(super) fn refused(&self) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
        let mut refused = BTreeMap::<_, BTreeSet<_>>::new();
        let audit = fs::read_to_string(self.path("audit.jsonl"))?;
        // The last may not be whole yet.
        for line in audit.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let record: Value = serde_json::from_str(line)?;
            if let (Some(id), Some(operation)) = (record["container"].as_str(), record["op"].as_str()) {
                refused.entry(id.to_owned()).or_default().insert(operation.to_owned());
            }
        }
        Ok(refused)
    }

    /// Waits until the audit tells of that, which `again` has refused once more each time: of a process that has ended before
    /// the agent looks nobody knows whose it was.
    pub(super) fn until_refused(
        &self,
        container: &Container<'_>,
        operation: &str,
        mut again: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let refused = self.refused()?;
            if refused.get(container.id()).is_some_and(|operations| operations.contains(operation)) {
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "{operation} is not told of: {refused:?}");
            std::thread::sleep(PAUSE);
            again()?;
        }
    }

    /// An agent that serves.
    pub(super) fn start(&self) -> anyhow::Result<Agent> {
        let mut command = Command::new(&self.ringwarden);
        command.args(["agent", "--policies"]).arg(self.path("policies"));
        command.arg("--listen").arg(self.path("agent.sock"));
        command.arg("--metrics").arg(self.path("metrics.sock"));
        command.arg("--audit").arg(self.path("audit.jsonl"));
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut log = BufReader::new(child.stderr.take().context("a pipe")?);
        let agent = Agent { child, metrics: self.path("metrics.sock") };
        let mut line = String::new();
        log.read_line(&mut line)?;
        ensure!(line.contains("serving at"), "the agent says {line}");
        // Workers that outlive it have the pipe as well.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(agent)
    }
}

/// An agent, killed when it is dropped; its workers stay for as long as their containers.
pub(super) struct Agent {
    child: Child,
    metrics: PathBuf,
}

impl Agent {
    /// Waits until what `metric` counts of a container is as it should be: it comes up to a second late.
    pub(super) fn until(
        &self,
        metric: &str,
        container: &Container<'_>,
        is_right: impl Fn(u64) -> bool,
    ) -> anyhow::Result<()> {
        let beginning = format!("ringwarden_agent_{metric}{{container=\"{}\",", container.id());
        let start = Instant::now();
        loop {
            let text = self.text()?;
            let samples = text.lines().filter(|line| line.starts_with(&beginning));
            let counts = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            if is_right(counts.sum()) {
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "the metrics stay like this:\n{text}");
            std::thread::sleep(PAUSE);
        }
    }

    /// All metrics.
    fn text(&self) -> anyhow::Result<String> {
        let mut stream = UnixStream::connect(&self.metrics)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
