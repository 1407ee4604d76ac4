//! Stopping as the program was stopped.

use crate::mask::{Mask, default_action, disposition};

/// Stops the calling process by `signal`, as the program was stopped, so that a shell which waits for it
/// sees that; returns when it is continued. It does not stop where the program would not have been, in the
/// program's place: as the first process of a pid namespace, say. SIGCONT that has come already is not lost:
/// it would be by stopping, so that it keeps the process from stopping.
pub fn stop_like(signal: i32) {
    if Mask::pending().contains(libc::SIGCONT) {
        return;
    }
    // SIGSTOP has none.
    let before = disposition(signal, Some(&default_action()));
    // SAFETY: no pointers.
    unsafe { libc::kill(libc::getpid(), signal) };
    let blocked = Mask::only(signal).unblock();
    // Stopped and continued by now.
    blocked.set();
    if before.is_some() {
        disposition(signal, before.as_ref());
    }
}
