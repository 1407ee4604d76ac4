//! `execve` and `execveat`: the address space is about to change.

use super::Supervisor;
use crate::seccomp::Notification;
use rustix::process::Pid;

impl Supervisor {
    /// Lets the exec go on, and remembers it: the arena and registered
    /// rings do not survive it.
    pub(super) fn exec(&mut self, call: &Notification, tid: Pid) {
        // Only the arena makes address spaces matter.
        if self.arena.is_some()
            && let Err(error) = self.tasks.note_exec(tid)
        {
            return self.listener.fail(call.id, error);
        }
        self.shared.registered.forget(tid);
        self.listener.proceed(call.id);
    }
}
