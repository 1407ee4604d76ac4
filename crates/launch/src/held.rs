//! Signals while a program is started and stood in for.

use crate::mask::{Mask, default_action, disposition};
use crate::sigpipe;

/// Leaves every signal to other threads. To be a new thread's first act: libc lets it take the two that it uses
/// itself, whatever its maker blocks, which would end the process if somebody sent them.
pub fn leave_signals_to_others() {
    Mask::ALL.set();
}

/// While this exists, the calling thread gets signals only when it asks for them ([`Arrivals`]); other
/// threads must block them if they are not to take them away. To be made before the program's process, so
/// that none is lost.
///
/// Faults of the calling thread itself, which the kernel signals, end it as ever.
///
/// [`Arrivals`]: crate::Arrivals
pub struct HeldSignals {
    before: Mask,
    child_before: Option<libc::sigaction>,
}

impl HeldSignals {
    /// Holds them all back.
    #[must_use]
    pub fn hold() -> Self {
        // Those that libc sends to threads go on to reach the threads of a process that has some.
        let single = std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1);
        let held = if single { Mask::ALL } else { Mask::ALL.without(32).without(33) };
        // A caller who ignores it would have no children to wait for; and their stops are to be told.
        let child_before = disposition(libc::SIGCHLD, Some(&default_action()));
        Self { before: held.set(), child_before }
    }

    /// Holds them again after the process's first further thread was made: libc then lets the two go that it uses
    /// itself.
    pub fn hold_again(&self) {
        Mask::ALL.set();
    }

    /// Gives the calling process what the caller had set: to be called by the program's process as the last
    /// thing before its exec. Makes system calls only.
    pub fn restore_for_program(&self) {
        disposition(libc::SIGCHLD, self.child_before.as_ref());
        sigpipe::restore();
        self.before.set();
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // What has come since the program's end was meant for the program. The caller's own children are
        // the caller's business.
        Mask::ALL.without(libc::SIGCHLD).discard();
        disposition(libc::SIGCHLD, self.child_before.as_ref());
        self.before.set();
    }
}
