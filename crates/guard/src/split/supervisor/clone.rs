//! `clone`, `fork` and `vfork`: the children of threads that have limited themselves.

use super::{Call, Supervisor};
use crate::program::inject::Injection;
use rustix::io::Errno;
use rustix::process::{Signal, kill_process};

impl Supervisor {
    /// Lets the call go on; where the caller is limited, not without knowing the child.
    pub(super) fn clone(&self, call: Call<'_>) {
        if self.shared.traced.follows(call.tid) {
            // The same call once more, on its way to the child.
            return self.proceed(call);
        }
        let limited = self.state().limits.is_limited(call.tid);
        let notification = call.notification;
        match limited {
            // It stays so: only a thread's own call can limit it, and it is making this one.
            Ok(false) => self.proceed(call),
            Ok(true) if notification.is_native() && i64::from(notification.number) != libc::SYS_clone3 => {
                self.follow(call);
            }
            // The flags are in memory, and one of them hides the child. Libraries fall back to `clone`.
            Ok(true) => self.fail(call, Errno::NOSYS),
            Err(error) => self.fail(call, error),
        }
    }

    fn follow(&self, call: Call<'_>) {
        call.turn.pass_on();
        let _reapers_wait = self.shared.traced.trace(call.tid, true);
        let begun = Injection::begin(&self.listener, call.id(), call.tid, call.args()[0], || Ok(()));
        // Otherwise the thread has its answer, or comes again.
        let Ok(mut followed) = begun.and_then(|(injection, ())| injection.follow()) else { return };
        if let Ok(Some(child)) = followed.child()
            && self.state().limits.inherit(call.tid, child).is_err()
        {
            let _ = kill_process(child, Signal::KILL);
        }
    }
}
