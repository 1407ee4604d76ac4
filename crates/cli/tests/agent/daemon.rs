//! An agent that runs, and programs that get their rings from it.

use crate::cgroup::Group;
use crate::launch::{built, is_root, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

/// After this somebody hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Lets everything pass but writes.
pub(crate) const NO_WRITE: &str = "version = 1\ndefault = \"allow\"\n[ops]\nwrite = \"deny\"\n";
/// Lets everything pass but NOPs.
pub(crate) const NO_NOP: &str = "version = 1\ndefault = \"allow\"\n[ops]\nnop = \"deny\"\n";

/// A folder with policies and a socket.
pub(crate) struct Node {
    folder: TempDir,
}

impl Node {
    pub(crate) fn new(policies: &[(&str, &str)]) -> Self {
        let node = Self { folder: TempDir::new().expect("a folder") };
        fs::create_dir(node.path("policies")).expect("a folder");
        policies.iter().for_each(|(name, text)| node.write(name, text));
        node
    }

    /// A policy of that name.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path("policies").join(name).with_extension("toml"), text).expect("a policy");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("agent.sock")
    }

    /// The command that starts an agent; arguments can be added.
    pub(crate) fn agent(&self) -> Command {
        let mut command = Command::new(built("ringwarden"));
        command.arg("agent").arg("--policies").arg(self.path("policies"));
        command
    }

    /// An agent that serves.
    pub(crate) fn start(&self, options: &[&str]) -> Agent {
        let mut command = self.agent();
        command.arg("--listen").arg(self.socket()).args(options);
        let mut agent = Agent::of(&mut command);
        agent.expect("serving at");
        agent
    }

    /// A program whose listener is handed over, which names that policy.
    pub(crate) fn contained(&self, policy: &str) -> Client {
        self.contained_as("c", policy, "whole")
    }

    /// The same with that id and profile.
    pub(crate) fn contained_as(&self, id: &str, policy: &str, profile: &str) -> Client {
        self.handed(&message(id, policy), profile)
    }

    /// The same in a control group.
    pub(crate) fn contained_in(&self, group: &Group, id: &str, policy: &str) -> Client {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 0 >\"$0\" && exec \"$@\""]).arg(group.processes());
        let handing = self.handing(&message(id, policy), "whole");
        command.arg(handing.get_program()).args(handing.get_args());
        Client::of(command.arg(built("examples/ring_client")))
    }

    /// `program` in place of it.
    pub(crate) fn runtime(&self, policy: &str, program: &[&OsStr]) -> Command {
        let mut command = self.handing(&message("c", policy), "whole");
        command.args(program);
        command
    }

    /// A program whose listener is handed over with that message.
    pub(crate) fn handed(&self, message: &str, profile: &str) -> Client {
        Client::of(self.handing(message, profile).arg(built("examples/ring_client")))
    }

    /// What hands a listener over with that message, and executes what is added.
    fn handing(&self, message: &str, profile: &str) -> Command {
        let mut command = Command::new(built("examples/handing_runtime"));
        command.arg(self.socket()).arg(message).arg(profile);
        command
    }
}

/// What a runtime says of a container.
fn message(id: &str, policy: &str) -> String {
    let message = json!({
        "ociVersion": "1.0.2", "fds": ["seccompFd"], "pid": "PID", "metadata": policy,
        "state": { "ociVersion": "1.0.2", "id": id, "status": "creating", "bundle": "/" },
    });
    message.to_string().replace("\"PID\"", "PID")
}

/// An agent, killed when it is dropped; its workers stay for as long as their programs.
pub(crate) struct Agent {
    child: Child,
    lines: Receiver<String>,
}

impl Agent {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::with_input(command, Stdio::null())
    }

    pub(crate) fn with_input(command: &mut Command, input: Stdio) -> Self {
        let mut child = command.stdin(input).stderr(Stdio::piped()).spawn().expect("start");
        let lines = lines_of(child.stderr.take().expect("standard error"));
        Self { child, lines }
    }

    /// The next line on standard error that has `text` in it.
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("`{text}` is not said ({error}): {before:#?}"),
            }
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The workers that it has started.
    pub(crate) fn workers(&self) -> Vec<Pid> {
        let number = self.pid().as_raw_nonzero();
        let mut workers = Vec::new();
        for task in fs::read_dir(format!("/proc/{number}/task")).expect("threads") {
            let path = task.expect("a thread").path().join("children");
            // It may have ended meanwhile.
            let children = fs::read_to_string(path).unwrap_or_default();
            workers.extend(children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
        }
        workers
    }

    /// Waits until it has no worker.
    pub(crate) fn until_idle(&self) {
        while !self.workers().is_empty() {
            std::thread::yield_now();
        }
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid().as_raw_nonzero())).expect("descriptors").count()
    }

    /// What memory it has, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero()));
        let status = status.expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.pid().as_raw_nonzero())).expect("threads").count()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `ring_client`.
pub(crate) struct Client {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Client {
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
        let answers = lines_of(child.stdout.take().expect("standard output"));
        Self { input: child.stdin.take(), child, answers }
    }

    /// What a request comes to.
    pub(crate) fn ask(&mut self, request: &str) -> i32 {
        let input = self.input.as_mut().expect("it has not been ended");
        writeln!(input, "{request}").expect("a program that listens");
        let answer = self.answers.recv_timeout(PATIENCE);
        answer.unwrap_or_else(|error| panic!("no answer to `{request}` ({error})")).parse().expect("a number")
    }

    /// What several come to.
    pub(crate) fn all<const N: usize>(&mut self, requests: [&str; N]) -> [i32; N] {
        requests.map(|request| self.ask(request))
    }

    /// Ends it, and waits for that.
    pub(crate) fn end(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.finish();
    }
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            eprintln!("  {line}");
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}

pub(crate) fn kill(pid: Pid) {
    kill_process(pid, Signal::KILL).expect("somebody to kill");
}

/// What an agent offers at the socket `path`.
pub(crate) fn scrape(path: &Path) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(path).expect("metrics");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

/// Whether the tests can run here.
pub(crate) fn can_run() -> bool {
    if !is_root() {
        skip("agents look into the processes of containers, which takes root");
    }
    is_root()
}
