//! From a command line to a process under a seccomp filter, about to execute the program.

#[allow(unsafe_code)] // fork and exec
pub(crate) mod child;

use crate::seccomp::{Listener, listener_of};
use crate::start::child::{Child, read_i32};
use libc::sock_filter;
use ringwarden_launch::{Argv, FAILED, HeldSignals, Status, descriptors, wait};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The program's process, confined and about to exec.
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    /// It executes when a byte is written here.
    handshake: OwnedFd,
    exec_failure: OwnedFd,
}

impl Started {
    /// Has it execute the program.
    ///
    /// # Errors
    /// `EPIPE` when it has died.
    pub(crate) fn go(&self) -> Result<(), Errno> {
        rustix::io::write(&self.handshake, b"x").map(drop)
    }

    /// Ready when the program was executed or never will be: see [`was_executed`](Self::was_executed).
    pub(crate) fn exec_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.exec_failure, PollFlags::IN)
    }

    /// Whether [`exec_fd`](Self::exec_fd) is ready because of the exec: that closes the pipe, into which nothing was
    /// written.
    pub(crate) fn was_executed(ready: PollFlags) -> bool {
        ready.contains(PollFlags::HUP) && !ready.contains(PollFlags::IN)
    }

    /// The status of the program, whose pidfd says that it has ended. `None` while a descendant that traces it
    /// holds it back.
    ///
    /// # Errors
    /// `-errno` of a failed exec, or that of the call.
    pub(crate) fn status(&self) -> Result<Option<Status>, i32> {
        let Some(status) = wait::ended(self.pid).map_err(Errno::raw_os_error)? else { return Ok(None) };
        // The other end was closed by the exec or by the end.
        match read_i32(self.exec_failure.as_fd()) {
            Some(errno) => Err(-errno),
            None => Ok(Some(status)),
        }
    }
}

/// Forks the program's process, under a seccomp filter, and takes its listener. The calling process must have
/// a single thread.
///
/// # Errors
/// The exit status that is to tell of it, and why.
pub(crate) fn start(
    argv: &Argv,
    signals: &HeldSignals,
    filter: &[sock_filter],
) -> Result<(Started, Listener), (u8, Errno)> {
    let failed = |error| (FAILED, error);
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(failed)?;
    let (failure_out, failure_in) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let parent = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: this process has a single thread, so the child can go on in ordinary code.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(failed(Errno::AGAIN)),
        0 => {
            drop(ours);
            drop(failure_out);
            let (handshake, exec_failure) = (theirs.as_fd(), failure_in.as_fd());
            Child { argv, signals, handshake, exec_failure, parent, filter }.run()
        }
        pid => Pid::from_raw(pid).ok_or(failed(Errno::SRCH))?,
    };
    drop(theirs);
    drop(failure_in);
    descriptors::close_for_own_part();
    let Some(number) = read_i32(ours.as_fd()) else {
        let errno = read_i32(failure_out.as_fd()).map_or(Errno::SRCH, Errno::from_raw_os_error);
        return Err(failed(errno));
    };
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
    let listener = listener_of(pidfd.as_fd(), number).map_err(failed)?;
    Ok((Started { pid, pidfd, handshake: ours, exec_failure: failure_out }, Listener::new(listener)))
}
