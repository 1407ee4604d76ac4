//! `execve` and `execveat`: the address space is about to change.

use super::Supervisor;
use crate::seccomp::Notification;
use rustix::process::Pid;

impl Supervisor {
    /// Lets the exec go on, and remembers it: the arena and registered rings do not survive it.
    pub(super) fn exec(&mut self, call: &Notification, tid: Pid) {
        let noted = self.tasks.note_exec(tid).and_then(|tgid| self.limits.note_exec(tid, tgid));
        if let Err(error) = noted {
            return self.listener.fail(call.id, error);
        }
        self.shared.registered.forget(tid);
        self.listener.proceed(call.id);
    }
}
