//! Waiting for children: their ends, stops and starts.
//!
//! By `waitid`, and where a seccomp filter denies that by `wait4`: who cannot collect the dead waits for
//! ever.

use crate::status::Status;
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A change that is not the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// That signal has stopped it.
    Stopped(i32),
    /// It runs on.
    Continued,
}

/// What `/proc` says of a process. Opened once and read again and again: that takes no descriptor which a
/// limit could deny.
#[derive(Debug)]
pub struct State(File);

impl State {
    /// The state of that process for as long as it lives.
    ///
    /// # Errors
    /// There is no such process, or `/proc` hides it.
    pub fn open(process: Pid) -> std::io::Result<Self> {
        File::open(format!("/proc/{}/stat", process.as_raw_nonzero())).map(Self)
    }

    /// Whether a signal has stopped it.
    pub fn is_stopped(&self) -> bool {
        let mut text = [0; 256];
        let read = self.0.read_at(&mut text, 0).unwrap_or_default();
        // Its name, in parentheses, may hold anything, and is at most 64 bytes long.
        let name_ends = text[..read].windows(2).rposition(|pair| pair == b") ");
        name_ends.is_some_and(|end| text.get(end + 2) == Some(&b'T'))
    }
}

/// Collects `child` if it has ended.
///
/// # Errors
/// `ECHILD` when it is no child, or was collected already; another one when neither system call is to be had.
pub fn ended(child: Pid) -> Result<Option<Status>, Errno> {
    collect(child, WaitIdOptions::NOHANG, WaitOptions::NOHANG)
}

/// Waits for the end of `child`, and collects it.
///
/// # Errors
/// As [`ended`].
pub fn end(child: Pid) -> Result<Status, Errno> {
    let status = collect(child, WaitIdOptions::empty(), WaitOptions::empty())?;
    status.ok_or(Errno::CHILD)
}

fn collect(child: Pid, by_id: WaitIdOptions, by_number: WaitOptions) -> Result<Option<Status>, Errno> {
    let status = match retry_on_intr(|| waitid(WaitId::Pid(child), WaitIdOptions::EXITED | by_id)) {
        Ok(status) => {
            return Ok(status.map(|status| match (status.exit_status(), status.terminating_signal()) {
                (_, Some(signal)) => Status::Signalled(signal),
                (code, None) => Status::Exited(code.unwrap_or_default() as u8),
            }));
        }
        Err(Errno::CHILD) => return Err(Errno::CHILD),
        Err(_) => retry_on_intr(|| waitpid(Some(child), by_number))?,
    };
    Ok(status.map(|(_, status)| Status::from_number(status.as_raw())))
}

/// The last stop or start of `child` since the last look, if there was one. Nobody must be tracing it from
/// this process: the tracer's stops would be taken away.
///
/// # Errors
/// Those of `waitid`.
pub fn stop(child: Pid) -> Result<Option<Stop>, Errno> {
    let look = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED | WaitIdOptions::NOHANG;
    let status = retry_on_intr(|| waitid(WaitId::Pid(child), look))?;
    Ok(status.and_then(|status| match status.stopping_signal() {
        Some(signal) => Some(Stop::Stopped(signal)),
        None => status.continued().then_some(Stop::Continued),
    }))
}

/// Whether children can be waited for at all, by both calls; if not, the one that is missing, and how.
///
/// # Errors
/// What is missing.
pub fn available() -> Result<(), (&'static str, Errno)> {
    // Nobody is their own child.
    let own = rustix::process::getpid();
    let by_id = waitid(WaitId::Pid(own), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).err();
    let by_number = waitpid(Some(own), WaitOptions::NOHANG).err();
    for (call, error) in [("waitid", by_id), ("wait4", by_number)] {
        match error {
            None | Some(Errno::CHILD) => {}
            Some(error) => return Err((call, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn an_end_is_told_once() {
        let child = |script: &str| {
            // Collected below.
            #[allow(clippy::zombie_processes)]
            let child = Command::new("sh").args(["-c", script]).spawn().expect("sh");
            Pid::from_child(&child)
        };
        let pid = child("exit 7");
        assert_eq!(end(pid), Ok(Status::Exited(7)));
        assert_eq!(ended(pid), Err(Errno::CHILD));
        assert_eq!(end(child("kill -SEGV $$")), Ok(Status::Signalled(libc::SIGSEGV)));
        assert_eq!(end(child("kill -64 $$")), Ok(Status::Signalled(64)));
        assert_eq!(available(), Ok(()));
    }
}
