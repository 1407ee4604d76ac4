//! A companion: a process beside the program's, which works for the process that runs the program.

use crate::tree::{self, Children};
use crate::{descriptors, last_errno, leave_signals_to_others};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, pidfd_open, set_dumpable_behavior, setsid};
use std::io;
use std::os::unix::net::UnixStream;

/// A child that outlives what it belongs to for as long as it wants: it takes no signals, is in a session of its own,
/// and ends by itself.
#[derive(Debug)]
pub struct Companion {
    pid: Pid,
    pidfd: OwnedFd,
    stream: UnixStream,
}

impl Companion {
    /// Forks a process for `work`, which gives an exit status. The calling process
    /// must have a single thread. The companion's descriptors that are not close-on-exec are closed, but for the
    /// standard ones: they are for the program.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn start(work: impl FnOnce(UnixStream) -> u8) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        // SAFETY: this process has a single thread, so the child can go on in ordinary code.
        match unsafe { libc::fork() } {
            -1 => Err(last_errno().into()),
            0 => {
                drop(ours);
                leave_signals_to_others();
                // What signals the program's group is not meant for it; and who may trace the program's user's
                // processes may not trace it.
                let _ = setsid();
                let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
                descriptors::close_for_own_part();
                let status = work(theirs);
                // SAFETY: ends the process without running what the caller, whose copy it is, had registered for its
                // own exit.
                unsafe { libc::_exit(status.into()) }
            }
            pid => {
                let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
                Ok(Self { pid, pidfd: pidfd_open(pid, PidfdFlags::empty())?, stream: ours })
            }
        }
    }

    /// Its number, by which it is to be [collected](crate::wait::end) where it ends first.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Where it is talked to.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// From here on no program is to run without it: see [`Bond`]. To be called by the main thread, before it starts
    /// the program.
    ///
    /// # Errors
    /// Those of [`Children::open`].
    pub fn bond(&self) -> io::Result<Bond> {
        let children = Children::open()?;
        tree::adopt_orphans();
        Ok(Bond { companion: self.pid, pidfd: self.pidfd.try_clone()?, children })
    }
}

/// What keeps a program and its descendants from running on without a [`Companion`]. The calling process inherits
/// their orphans, and has to [collect](Self::reap) them.
#[derive(Debug)]
pub struct Bond {
    companion: Pid,
    pidfd: OwnedFd,
    children: Children,
}

impl Bond {
    /// Readable when the companion has ended.
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.pidfd, PollFlags::IN)
    }

    /// Kills every descendant but the companion.
    pub fn kill_the_others(&self) {
        self.children.kill_all_but(&[self.companion]);
    }

    /// Collects the dead but for `program`, whose status is still to be read, and those that `may` not be looked at;
    /// whether there were none of them.
    pub fn reap(&self, program: Pid, may: impl Fn(Pid) -> bool) -> bool {
        self.children.reap_all_but(|child| child == program || child == self.companion, may)
    }

    /// Whether the companion is the only child.
    pub fn nobody_else_is_left(&self) -> bool {
        self.children.list().is_ok_and(|children| children.iter().all(|&child| child == self.companion))
    }
}
