//! Many small attempts at the price of one child.

use crate::{TrialError, last_errno};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicI32, Ordering};

/// Not tried yet.
const UNTRIED: i32 = -1;
/// Being tried: what stays so has ended the child.
const BEGUN: i32 = -2;
/// Ended with something other than a system call's error.
const PANICKED: i32 = -3;

/// Has a child make `count` attempts, one after the other, and gives what came of each. A child that one
/// of them ends is followed by another, which goes on behind that. Attempts must not wait for anything:
/// nobody ends a child that hangs. One that somebody stops is killed.
///
/// Besides the attempts themselves a child makes no system call but its exit, and its parent nothing but
/// `mmap`, `clone` and `wait4` (or `waitid`; `kill` for a child that was stopped), so that it is attempts which meet
/// a seccomp filter.
pub fn series(count: usize, attempt: impl Fn(usize) -> io::Result<()>) -> Vec<Result<(), TrialError>> {
    let board = match Board::new(count) {
        Ok(board) => board,
        Err(error) => return vec![Err(TrialError::NoChild(error)); count],
    };
    let mut next = 0;
    let mut ended = Vec::new();
    while next < count {
        let signal = match child(|| (next..count).for_each(|index| board.attempt(index, &attempt))) {
            Ok(signal) => signal,
            Err(error) => {
                let results = (0..next).map(|index| board.result(index, &ended));
                return results.chain(vec![Err(TrialError::NoChild(error)); count - next]).collect();
            }
        };
        let reached = (next..count).find(|&index| board.at(index) < 0);
        next = match reached {
            Some(index) => {
                ended.push((index, signal));
                index + 1
            }
            None => count,
        };
    }
    (0..count).map(|index| board.result(index, &ended)).collect()
}

/// Where a child writes what came of its attempts: memory that it shares with its parent.
struct Board {
    base: NonNull<AtomicI32>,
    count: usize,
}

impl Board {
    fn new(count: usize) -> Result<Self, Errno> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base = unsafe { mmap_anonymous(null_mut(), Self::bytes(count), access, MapFlags::SHARED) }?;
        let board = Self { base: NonNull::new(base.cast()).ok_or(Errno::NOMEM)?, count };
        for index in 0..count {
            board.cell(index).store(UNTRIED, Ordering::Relaxed);
        }
        Ok(board)
    }

    fn bytes(count: usize) -> usize {
        count.max(1) * size_of::<AtomicI32>()
    }

    fn cell(&self, index: usize) -> &AtomicI32 {
        assert!(index < self.count, "attempt {index} of {}", self.count);
        // SAFETY: inside the mapping, which is page-aligned and lives as long as `self`.
        unsafe { self.base.add(index).as_ref() }
    }

    fn at(&self, index: usize) -> i32 {
        self.cell(index).load(Ordering::Acquire)
    }

    fn attempt(&self, index: usize, attempt: impl Fn(usize) -> io::Result<()>) {
        self.cell(index).store(BEGUN, Ordering::Release);
        let came = match catch_unwind(AssertUnwindSafe(|| attempt(index))) {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => error.raw_os_error().filter(|&errno| errno > 0).unwrap_or(libc::EIO),
            Err(_) => PANICKED,
        };
        self.cell(index).store(came, Ordering::Release);
    }

    fn result(&self, index: usize, ended: &[(usize, Option<i32>)]) -> Result<(), TrialError> {
        let signal = ended.iter().find(|(at, _)| *at == index).and_then(|(_, signal)| *signal);
        match (self.at(index), signal) {
            (0, _) => Ok(()),
            (errno @ 1.., _) => Err(TrialError::Failed(Errno::from_raw_os_error(errno))),
            (_, Some(signal)) => Err(TrialError::Killed(signal)),
            (_, None) => Err(TrialError::Silent),
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and no reference outlives it.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), Self::bytes(self.count)) };
    }
}

/// Runs `work` in a forked child and gives the signal that ended it, if one did.
fn child(work: impl FnOnce()) -> Result<Option<i32>, Errno> {
    // SAFETY: the child only makes system calls and small allocations before it ends; the C library
    // keeps its allocator usable across a fork.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(last_errno()),
        0 => {
            work();
            // SAFETY: ends the process without running what the caller had registered for its exit.
            unsafe { libc::_exit(0) }
        }
        pid => Pid::from_raw(pid).ok_or(Errno::SRCH)?,
    };
    loop {
        match waitpid(Some(pid), WaitOptions::UNTRACED) {
            Err(Errno::INTR) => {}
            Ok(Some((_, status))) if status.stopped() => end(pid),
            Ok(ended) => return Ok(ended.and_then(|(_, status)| status.terminating_signal())),
            // Somebody else collected it: the caller ignores SIGCHLD.
            Err(Errno::CHILD) => return Ok(None),
            Err(_) => return other_wait(pid),
        }
    }
}

/// Ends a child that somebody has stopped, who could have its parent wait for ever.
fn end(child: Pid) {
    let _ = kill_process(child, Signal::KILL);
}

/// The same where `wait4` is forbidden.
fn other_wait(pid: Pid) -> Result<Option<i32>, Errno> {
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::STOPPED) {
            Err(Errno::INTR) => {}
            Ok(Some(status)) if status.stopped() => end(pid),
            Ok(ended) => return Ok(ended.and_then(|status| status.terminating_signal())),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_child_is_told_apart_from_what_comes_before_and_behind() {
        let results = series(6, |index| match index {
            0 | 5 => Ok(()),
            1 => Err(io::Error::from_raw_os_error(libc::EXDEV)),
            2 | 3 => {
                // SAFETY: sends a signal to the calling process.
                unsafe { libc::raise(libc::SIGSYS) };
                Ok(())
            }
            _ => panic!("in a child"),
        });
        let killed = Err(TrialError::Killed(libc::SIGSYS));
        let failed = Err(TrialError::Failed(Errno::XDEV));
        assert_eq!(results, [Ok(()), failed, killed, killed, Err(TrialError::Silent), Ok(())]);
        assert!(series(0, |_| Ok(())).is_empty());
    }

    /// Whoever may send it signals could have its parent wait for ever.
    #[test]
    fn a_child_that_is_stopped_is_ended() {
        let stop = |_| Ok(kill_process(rustix::process::getpid(), Signal::STOP)?);
        assert!(matches!(series(1, stop)[..], [Err(TrialError::Killed(libc::SIGKILL))]));
        assert!(matches!(other_wait(stopped_child()), Ok(Some(libc::SIGKILL))));
    }

    fn stopped_child() -> Pid {
        // SAFETY: a child that makes system calls only.
        match unsafe { libc::fork() } {
            0 => {
                let _ = kill_process(rustix::process::getpid(), Signal::STOP);
                // SAFETY: ends it.
                unsafe { libc::_exit(0) }
            }
            pid => Pid::from_raw(pid).expect("a child"),
        }
    }
}
