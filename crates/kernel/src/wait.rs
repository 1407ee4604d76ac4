//! Waiting for a program as its stand-in: signals go on to it, its status comes back.

use ringwarden_trial::last_errno;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid};
use std::mem::{MaybeUninit, zeroed};
use std::ptr::null_mut;

/// Signals that end a program that does not handle them, and the one that says how large a terminal
/// is. All are meant for the program when they are sent to whoever started it.
const FORWARDED: [libc::c_int; 15] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGSTKFLT,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGWINCH,
    libc::SIGIO,
    libc::SIGPWR,
];

/// While this exists, the calling thread gets [`FORWARDED`] signals only when it asks for them. To be
/// made before the program's process, so that none is lost.
pub(crate) struct Signals {
    wanted: libc::sigset_t,
    mask_before: libc::sigset_t,
    child_before: libc::sigaction,
}

impl Signals {
    pub(crate) fn hold() -> Self {
        // SAFETY: plain structures, initialised before they are read; FORWARDED are valid signals.
        unsafe {
            let mut wanted: libc::sigset_t = zeroed();
            let mut mask_before: libc::sigset_t = zeroed();
            let mut child_before: libc::sigaction = zeroed();
            libc::sigemptyset(&mut wanted);
            for signal in FORWARDED {
                libc::sigaddset(&mut wanted, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &wanted, &mut mask_before);
            // A caller who ignores it would have no children to wait for.
            let mut default: libc::sigaction = zeroed();
            default.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(libc::SIGCHLD, &default, &mut child_before);
            Self { wanted, mask_before, child_before }
        }
    }

    /// Undoes it, and what Rust's start-up did to SIGPIPE, in the program's process before it executes.
    pub(crate) fn release_in_child(&self) {
        self.release();
        // SAFETY: sets a disposition.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }

    fn release(&self) {
        // SAFETY: what `sigaction` and `pthread_sigmask` gave.
        unsafe {
            libc::sigaction(libc::SIGCHLD, &self.child_before, null_mut());
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask_before, null_mut());
        }
    }

    /// Waits for the end of `program`, a child that nobody else waits for, and gives its exit status, or
    /// 128 + the signal that ended it.
    ///
    /// # Errors
    /// Descriptors cannot be made, or somebody else has waited for it.
    pub(crate) fn wait_for(&self, program: Pid) -> Result<i32, Errno> {
        // Not SIGCHLD: another thread might take it.
        let end = pidfd_open(program, PidfdFlags::empty())?;
        let signals = self.descriptor()?;
        loop {
            let mut fds = [PollFd::new(&end, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            let [ended, signalled] = [0, 1].map(|index: usize| !fds[index].revents().is_empty());
            if signalled {
                forward(&signals, &end);
            }
            if ended {
                // Whoever traces it may hold its status back.
                let status = retry_on_intr(|| waitid(WaitId::Pid(program), WaitIdOptions::EXITED))?;
                return Ok(status.as_ref().map_or(0, exit_status));
            }
        }
    }

    fn descriptor(&self) -> Result<OwnedFd, Errno> {
        // SAFETY: the set was initialised.
        let fd = unsafe { libc::signalfd(-1, &self.wanted, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        // SAFETY: the kernel has just made this descriptor for us alone.
        if fd < 0 { Err(last_errno()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd) }) }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.release();
    }
}

/// Sends on the next signal, if a process sent it. What a terminal sends goes to the whole group: the
/// program has it already.
fn forward(signals: &OwnedFd, program: &OwnedFd) {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: `info` has room for `size` bytes.
    if unsafe { libc::read(signals.as_raw_fd(), info.as_mut_ptr().cast(), size) } != size as isize {
        return;
    }
    // SAFETY: filled in, since the call gave a whole structure.
    let info = unsafe { info.assume_init() };
    if info.ssi_code <= 0 {
        let no_info = null_mut::<libc::siginfo_t>();
        // SAFETY: a system call without an out pointer. By a pidfd no stranger is ever hit.
        unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, program.as_raw_fd(), info.ssi_signo, no_info, 0)
        };
    }
}

fn exit_status(status: &WaitIdStatus) -> i32 {
    status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(0)
}
