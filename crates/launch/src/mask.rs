//! Sets of blocked signals, all 64 of them.
//!
//! By system calls, since libc leaves out of every set the two or three real-time signals that it keeps for
//! its own threads. They end a process like any other if a process sends them.

use std::ptr::{null, null_mut};

/// A set of signals as the kernel has it: signal N is bit N - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mask(u64);

/// The size that the kernel insists on.
pub(crate) const SIZE: usize = size_of::<u64>();

impl Mask {
    pub(crate) const ALL: Self = Self(!0);
    /// 1 to 31, below the real-time signals of the kernel.
    pub(crate) const STANDARD: Self = Self((1 << 31) - 1);

    pub(crate) fn only(signal: i32) -> Self {
        Self(1 << (signal - 1))
    }

    pub(crate) fn without(self, signal: i32) -> Self {
        Self(self.0 & !Self::only(signal).0)
    }

    pub(crate) fn contains(self, signal: i32) -> bool {
        self.0 & Self::only(signal).0 != 0
    }

    pub(crate) fn as_ptr(&self) -> *const u64 {
        &raw const self.0
    }

    /// Blocks exactly these for the calling thread, and gives what was blocked before.
    pub(crate) fn set(self) -> Self {
        self.change(libc::SIG_SETMASK)
    }

    /// Unblocks these for the calling thread, and gives what was blocked before.
    pub(crate) fn unblock(self) -> Self {
        self.change(libc::SIG_UNBLOCK)
    }

    fn change(self, how: libc::c_int) -> Self {
        let mut before = Self(0);
        // SAFETY: both sets are valid and of the given size. The call cannot fail with a valid `how`.
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, self.as_ptr(), &raw mut before.0, SIZE) };
        before
    }

    /// The blocked signals that wait for the calling thread or its process.
    pub(crate) fn pending() -> Self {
        let mut pending = Self(0);
        // SAFETY: a valid set of the given size.
        unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending.0, SIZE) };
        pending
    }

    /// Takes away those of these, which are blocked, that wait.
    pub(crate) fn discard(self) {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            // SAFETY: a valid set of the given size, no place for information, a valid time.
            let signal = unsafe {
                let info = null_mut::<libc::siginfo_t>();
                libc::syscall(libc::SYS_rt_sigtimedwait, self.as_ptr(), info, &raw const now, SIZE)
            };
            if signal <= 0 {
                return;
            }
        }
    }
}

/// Sets the disposition of a signal, and gives that before; `None` only asks. A signal that has none
/// (SIGKILL, SIGSTOP, those of libc) gives nothing.
pub(crate) fn disposition(signal: i32, new: Option<&libc::sigaction>) -> Option<libc::sigaction> {
    // SAFETY: zero is a value of all its fields; `new` is one that the kernel gave, or a default.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        let new = new.map_or(null(), std::ptr::from_ref);
        (libc::sigaction(signal, new, &mut old) == 0).then_some(old)
    }
}

/// What a signal does by default.
pub(crate) fn default_action() -> libc::sigaction {
    // SAFETY: zero is a value of all its fields.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = libc::SIG_DFL;
    action
}
