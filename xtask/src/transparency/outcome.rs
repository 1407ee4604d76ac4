//! Running one regression program to its end, and what came of it.

use crate::deadline::ends_within;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Bytes of a program's output that are looked at.
const MAX_OUTPUT: u64 = 1 << 20;

/// How a regression program ended, by liburing's conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Pass,
    /// Exit status 77: the kernel or the machine lacks what the program tests.
    Skip,
    /// Any other exit status; a signal counts as 128 + its number.
    Fail(i32),
    /// Killed when its time was up.
    Timeout,
}

impl Outcome {
    fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(0) => Self::Pass,
            Some(77) => Self::Skip,
            Some(code) => Self::Fail(code),
            None => Self::Fail(128 + status.signal().unwrap_or_default()),
        }
    }

    /// Neither passed nor skipped.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Fail(_) | Self::Timeout)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.pad("pass"),
            Self::Skip => f.pad("skip"),
            Self::Fail(code) => f.pad(&format!("fail {code}")),
            Self::Timeout => f.pad("timeout"),
        }
    }
}

/// One run of one program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
    /// The last line that it printed, or nothing.
    pub(crate) last_line: String,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8} {:5.1} s", self.outcome, self.seconds)
    }
}

impl Run {
    /// Runs `command` in `directory`, in a process group of its own that is gone when this returns.
    pub(crate) fn new(mut command: Command, directory: &Path, limit: Duration) -> io::Result<Self> {
        let output = tempfile::tempfile()?;
        command.current_dir(directory).process_group(0);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
        let start = Instant::now();
        let mut child = command.spawn()?;
        let group = Pid::from_child(&child);
        let ended = ends_within(group, limit);
        let seconds = start.elapsed().as_secs_f64();
        // Fails where nothing is left of the group: that is the aim.
        let _ = kill_process_group(group, Signal::KILL);
        let status = child.wait()?;
        let outcome = if ended? { Outcome::of(status) } else { Outcome::Timeout };
        Ok(Self { outcome, seconds, last_line: last_line(output)? })
    }
}

fn last_line(mut output: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    output.rewind()?;
    output.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned())
}
