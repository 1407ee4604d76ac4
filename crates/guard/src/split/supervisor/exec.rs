//! `execve` and `execveat`: the address space is about to change.

use super::{Call, Supervisor};

impl Supervisor {
    /// Lets the exec go on, and remembers it: the arena and registered rings do not survive it.
    pub(super) fn exec(&self, call: Call<'_>) {
        let noted = {
            let state = &mut *self.state();
            state.tasks.note_exec(call.tid).and_then(|tgid| state.limits.note_exec(call.tid, tgid))
        };
        match noted {
            Ok(()) => {
                self.shared.registered.forget(call.tid);
                self.proceed(call);
            }
            Err(error) => self.fail(call, error),
        }
    }
}
