//! Signals as they arrive, and how they go on.

use crate::last_errno;
use crate::mask::{Mask, SIZE, disposition};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::mem::{MaybeUninit, zeroed};

/// Those signals of the calling thread that are [held](crate::HeldSignals), one by one.
#[derive(Debug)]
pub struct Arrivals(OwnedFd);

impl Arrivals {
    /// All of them.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn all() -> Result<Self, Errno> {
        Self::of(Mask::ALL)
    }

    /// Changes of children alone.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn of_children() -> Result<Self, Errno> {
        Self::of(Mask::only(libc::SIGCHLD))
    }

    /// Every signal that is there at most once, and so needs no place in a queue.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn of_standard() -> Result<Self, Errno> {
        Self::of(Mask::STANDARD)
    }

    fn of(mask: Mask) -> Result<Self, Errno> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: a valid set of the given size.
        let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, mask.as_ptr(), SIZE, flags) };
        // SAFETY: the kernel has just made this descriptor for us alone.
        if fd < 0 { Err(last_errno()) } else { Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) })) }
    }

    /// The next one, without waiting.
    pub fn next(&self) -> Option<Signal> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        loop {
            // SAFETY: `info` has room for `size` bytes.
            match unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) } {
                // SAFETY: filled in, since the call gave a whole structure.
                read if read == size as isize => return Some(Signal(unsafe { info.assume_init() })),
                -1 if last_errno() == Errno::INTR => {}
                _ => return None,
            }
        }
    }
}

impl AsFd for Arrivals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One signal that has arrived.
#[derive(Clone, Copy)]
pub struct Signal(libc::signalfd_siginfo);

/// `siginfo_t` of a signal with a value.
#[repr(C)]
struct Queued {
    signo: i32,
    errno: i32,
    code: i32,
    padding: i32,
    pid: i32,
    uid: u32,
    value: u64,
    rest: [u64; 12],
}

const _: () = assert!(size_of::<Queued>() == size_of::<libc::siginfo_t>());

impl Signal {
    /// Its number.
    pub fn number(&self) -> i32 {
        self.0.ssi_signo as i32
    }

    /// Whether that process sent it.
    pub fn is_from(&self, pid: Pid) -> bool {
        self.is_sent() && self.0.ssi_pid as i32 == pid.as_raw_nonzero().get()
    }

    /// Whether a process sent it, and not the kernel.
    fn is_sent(&self) -> bool {
        self.0.ssi_code <= 0
    }

    /// Whether the kernel says by it that a child has changed, other than by a stop that tracing makes.
    pub fn tells_of_a_child(&self) -> bool {
        self.number() == libc::SIGCHLD && !self.is_sent() && self.0.ssi_code != libc::CLD_TRAPPED
    }

    /// Whether it was sent to the calling process as the one that stands for the program.
    ///
    /// That is what other processes send, but not what the kernel does: keys of a terminal signal the whole
    /// group, and the program has that already; faults and closed pipes are our own. Two of its signals would
    /// have reached the program alone, had it been executed in our place: those of timers that the caller
    /// set before (`alarm`, then exec), and the end of a terminal, which goes to the leader of the session.
    pub fn is_for_program(&self) -> bool {
        let own = rustix::process::getpid();
        match self.number() {
            // They look as if the writer had sent them. Others of our own the caller sent before its exec.
            libc::SIGPIPE | libc::SIGXFSZ if self.0.ssi_code == libc::SI_USER => !self.is_from(own),
            _ if self.is_sent() => true,
            libc::SIGALRM | libc::SIGVTALRM | libc::SIGPROF => true,
            // To the owner of a descriptor (`F_SETOWN`, `F_SETSIG`), by its number.
            libc::SIGIO | libc::SIGURG | 32.. => true,
            libc::SIGHUP | libc::SIGCONT => rustix::process::getsid(None) == Ok(own),
            _ => false,
        }
    }

    /// Whether it ends a process that does as the caller of this one had set.
    pub fn ends(&self) -> bool {
        let harmless = [
            libc::SIGCHLD,
            libc::SIGCONT,
            libc::SIGURG,
            libc::SIGWINCH,
            libc::SIGTSTP,
            libc::SIGTTIN,
            libc::SIGTTOU,
        ];
        let ignored =
            || disposition(self.number(), None).is_some_and(|old| old.sa_sigaction == libc::SIG_IGN);
        !harmless.contains(&self.number()) && !ignored()
    }

    /// Whether a key of the terminal, or its end, sent it to the group.
    pub fn is_from_terminal(&self) -> bool {
        !self.is_sent() && [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT].contains(&self.number())
    }

    /// Whether it would have ended the program, which has ended by itself: then it is meant for what is left.
    pub fn ends_the_rest(&self) -> bool {
        self.ends() && (self.is_for_program() || self.is_from_terminal())
    }

    /// Whether it is one of the signals by which shells and terminals stop a job.
    pub fn stops(&self) -> bool {
        [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&self.number())
    }

    /// Sends it on to the process of a pidfd, with the value that `sigqueue` gave it and the sender who did;
    /// the kernel lets nobody send a plain one in another sender's name. By a pidfd no stranger is ever hit.
    ///
    /// # Errors
    /// `EAGAIN` when that process (its user) has as many signals waiting as it may; `ESRCH`, `EPERM`.
    pub fn send_to(&self, program: BorrowedFd<'_>) -> Result<(), Errno> {
        // The kernel lets nobody pass on the others (`do_pidfd_send_signal`).
        let code = self.0.ssi_code;
        let has_value = code < 0 && code != libc::SI_TKILL && code != libc::SI_TIMER;
        let queued = has_value.then(|| Queued {
            signo: self.number(),
            errno: self.0.ssi_errno,
            code,
            pid: self.0.ssi_pid as i32,
            uid: self.0.ssi_uid,
            value: self.0.ssi_ptr,
            // SAFETY: integers.
            ..unsafe { zeroed() }
        });
        let info = queued.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let number = libc::SYS_pidfd_send_signal;
        // SAFETY: `info` is null or a whole `siginfo_t`.
        let sent = unsafe { libc::syscall(number, program.as_raw_fd(), self.number(), info, 0u32) };
        if sent == 0 { Ok(()) } else { Err(last_errno()) }
    }
}
