//! `clone`, `fork` and `vfork`: the children of threads that have limited themselves.

use super::Supervisor;
use crate::inject::Injection;
use crate::seccomp::Notification;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

/// How often a thread that does not come to its notification is looked at.
const TICK: Duration = Duration::from_millis(1);

impl Supervisor {
    /// Lets the call go on; where the caller is limited, not without knowing the child.
    pub(super) fn clone(&mut self, call: &Notification, tid: Pid) {
        match self.limits.is_limited(tid) {
            // It stays so: only a thread's own call can limit it, and it is making this one.
            Ok(false) => self.listener.proceed(call.id),
            Ok(true) if call.is_native() && i64::from(call.number) != libc::SYS_clone3 => {
                self.follow(call, tid);
            }
            // The flags are in memory, and one of them hides the child. Libraries fall back to `clone`.
            Ok(true) => self.listener.fail(call.id, Errno::NOSYS),
            Err(error) => self.listener.fail(call.id, error),
        }
    }

    fn follow(&mut self, call: &Notification, tid: Pid) {
        let shared = self.shared.clone();
        let _reapers_wait = shared.children();
        let begun = Injection::begin(&self.listener, call.id, tid, || Ok(()));
        // Otherwise the thread has its answer, or comes again.
        let Ok(mut followed) = begun.and_then(|(injection, ())| injection.follow()) else { return };
        // A filter of its own may stand before the notification.
        while !followed.is_over() {
            match self.listener.receive_within(TICK) {
                Ok(Some(next)) if next.tid == call.tid => {
                    self.listener.proceed(next.id);
                    break;
                }
                Ok(Some(other)) => self.waiting.push_back(other),
                Ok(None) => {}
                Err(_) => break,
            }
        }
        if let Ok(Some(child)) = followed.child()
            && self.limits.inherit(tid, child).is_err()
        {
            let _ = kill_process(child, Signal::KILL);
        }
    }
}
