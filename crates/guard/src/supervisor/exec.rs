//! `execve` and `execveat`: the address space is about to change.

use super::Supervisor;
use crate::seccomp::Notification;
use rustix::process::Pid;

impl Supervisor {
    /// Lets the exec go on, and remembers it: argument pages and
    /// registered rings do not survive it.
    pub(super) fn exec(&mut self, call: &Notification, tid: Pid) {
        self.tasks.note_exec(tid);
        self.shared.registered.forget(tid);
        self.listener.proceed(call.id);
    }
}
