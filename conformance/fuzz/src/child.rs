//! Processes of our own: what a task has done to itself cannot be undone.

use anyhow::{Context, ensure};
use rustix::process::{Pid, WaitOptions, waitpid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{PipeReader, Read, Write, pipe};

/// A child that does something and says what came of it.
pub(crate) struct Child {
    pid: Pid,
    said: PipeReader,
}

impl Child {
    /// Starts one that runs `act` and ends.
    pub(crate) fn start<T: Serialize>(act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<Self> {
        let (said, mut says) = pipe()?;
        let pid = fork(|| {
            let result = act().map_err(|error| format!("{error:#}"));
            let text = serde_json::to_vec(&result).unwrap_or_default();
            // The reader misses what cannot be written.
            let _ = says.write_all(&text);
        })?;
        Ok(Self { pid, said })
    }

    /// What it gave. It has ended.
    pub(crate) fn end<T: DeserializeOwned>(mut self) -> anyhow::Result<T> {
        let mut text = Vec::new();
        self.said.read_to_end(&mut text)?;
        waitpid(Some(self.pid), WaitOptions::empty())?;
        ensure!(!text.is_empty(), "a child process died");
        serde_json::from_slice::<Result<T, String>>(&text)?.map_err(anyhow::Error::msg)
    }
}

/// Goes on as a child of this process, which waits and then ends.
pub(crate) fn become_child() -> anyhow::Result<()> {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => Ok(()),
        pid => {
            let pid = Pid::from_raw(pid).context("fork")?;
            waitpid(Some(pid), WaitOptions::empty())?;
            // SAFETY: ends the process at once: the child has its work and its descriptors.
            unsafe { libc::_exit(0) }
        }
    }
}

fn fork(act: impl FnOnce()) -> anyhow::Result<Pid> {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            act();
            // SAFETY: ends the process, without what the parent has registered for its own end.
            unsafe { libc::_exit(0) }
        }
        pid => Pid::from_raw(pid).context("fork"),
    }
}
