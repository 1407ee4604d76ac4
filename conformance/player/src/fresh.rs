//! Processes of the player's own: what a task has done to itself cannot be undone.

use anyhow::{Context, ensure};
use ringwarden_conformance::Outcome;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpid};
use std::ffi::c_void;
use std::io::{Read, Write, pipe};

/// For a task that shares its parent's memory; they act in turn and do little.
const STACK: usize = 256 * 1024;

/// Runs `act` in a new process and gives the outcomes that it gives.
pub(crate) fn outcomes(act: impl FnOnce() -> anyhow::Result<Vec<Outcome>>) -> anyhow::Result<Vec<Outcome>> {
    let (mut reader, mut writer) = pipe()?;
    let child = Process::start(|| {
        let result = act().map_err(|error| format!("{error:#}"));
        let text = serde_json::to_vec(&result).unwrap_or_default();
        // The reader misses what cannot be written.
        let _ = writer.write_all(&text);
    })?;
    drop(writer);
    let mut text = Vec::new();
    reader.read_to_end(&mut text)?;
    child.end()?;
    ensure!(!text.is_empty(), "a process died");
    serde_json::from_slice::<Result<_, String>>(&text)?.map_err(anyhow::Error::msg)
}

/// A process in a group of its own.
pub(crate) struct Process(Pid);

impl Process {
    /// Starts one that runs `act` and ends.
    pub(crate) fn start(act: impl FnOnce()) -> anyhow::Result<Self> {
        let pid = fork(|| {
            // Fails only where the parent was faster.
            let _ = rustix::process::setpgid(None, None);
            act();
        })?;
        let _ = rustix::process::setpgid(Some(pid), Some(pid));
        Ok(Self(pid))
    }

    /// Kills what is left of its group and waits for it.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        let _ = kill_process_group(self.0, Signal::KILL);
        waitpid(Some(self.0), WaitOptions::empty())?;
        Ok(())
    }
}

/// A child that runs `act` and ends.
pub(crate) fn fork(act: impl FnOnce()) -> anyhow::Result<Pid> {
    // SAFETY: tasks act in turn, so that no other thread holds a lock of the allocator's or of ours
    // while this one forks.
    match unsafe { libc::fork() } {
        0 => {
            act();
            // SAFETY: ends the process, without what the parent has registered for its own end.
            unsafe { libc::_exit(0) }
        }
        pid => Pid::from_raw(pid).context("fork"),
    }
}

/// A child that shares memory and descriptors with its parent, runs `act` and ends.
pub(crate) fn clone_vm(act: impl FnOnce() + 'static) -> anyhow::Result<()> {
    extern "C" fn entry(act: *mut c_void) -> i32 {
        // SAFETY: what `clone_vm` has leaked, for this call alone.
        let act = unsafe { Box::from_raw(act.cast::<Box<dyn FnOnce()>>()) };
        act();
        // SAFETY: ends this process and not its parent's.
        unsafe { libc::_exit(0) }
    }
    let stack = Vec::leak(vec![0u128; STACK / size_of::<u128>()]);
    let act: Box<dyn FnOnce()> = Box::new(act);
    let act = Box::into_raw(Box::new(act));
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: the stack is leaked and aligned, `act` is the child's from now on. Parent and child share
    // the C library's thread-local state; the parent is waiting for its next step, or about to, whenever
    // the child acts.
    let pid = unsafe { libc::clone(entry, stack.as_mut_ptr_range().end.cast(), flags, act.cast()) };
    ensure!(pid > 0, "clone: {}", std::io::Error::last_os_error());
    Ok(())
}
