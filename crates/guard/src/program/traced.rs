//! Threads that are being traced by threads of the guard. They may be children of its process: whoever waits for
//! children must not meet their stops.

use rustix::process::Pid;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct TracedThreads(Mutex<Traced>);

/// The same, for as long as nothing changes.
#[derive(Debug, Default)]
pub(crate) struct Traced {
    /// How often: who has let go of a thread may not have said so when another has it already.
    threads: HashMap<Pid, usize>,
    /// Those that are followed to a child, whose number is not known before it stops.
    followed: HashMap<Pid, usize>,
}

impl Traced {
    /// Whether that child may be waited for, should it be dead.
    pub(crate) fn spares(&self, child: Pid) -> bool {
        self.followed.is_empty() && !self.threads.contains_key(&child)
    }
}

impl TracedThreads {
    /// The calling thread traces `tid` for as long as the result lives, to follow it to a child or not.
    pub(crate) fn trace(&self, tid: Pid, follow: bool) -> Tracing<'_> {
        let mut traced = self.traced();
        *traced.threads.entry(tid).or_default() += 1;
        if follow {
            *traced.followed.entry(tid).or_default() += 1;
        }
        Tracing { all: self, tid, follow }
    }

    /// Whether `tid` is being followed on its way through the call that it has just made.
    pub(crate) fn follows(&self, tid: Pid) -> bool {
        self.traced().followed.contains_key(&tid)
    }

    /// Who is traced, and nobody else while the result lives.
    pub(crate) fn traced(&self) -> MutexGuard<'_, Traced> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`TracedThreads::trace`].
pub(crate) struct Tracing<'a> {
    all: &'a TracedThreads,
    tid: Pid,
    follow: bool,
}

impl Drop for Tracing<'_> {
    fn drop(&mut self) {
        let mut traced = self.all.traced();
        one_less(&mut traced.threads, self.tid);
        if self.follow {
            one_less(&mut traced.followed, self.tid);
        }
    }
}

fn one_less(counts: &mut HashMap<Pid, usize>, tid: Pid) {
    if let Entry::Occupied(mut count) = counts.entry(tid) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_traced_until_the_last_tracer_has_let_go() {
        let shared = TracedThreads::default();
        let tid = rustix::thread::gettid();
        let spares = || shared.traced().spares(tid);
        let first = shared.trace(tid, false);
        let second = shared.trace(tid, false);
        drop(first);
        assert!(!spares(), "the second has it");
        drop(second);
        assert!(spares());
        let following = shared.trace(rustix::process::getppid().unwrap_or(tid), true);
        assert!(!spares(), "its child may be anybody");
        drop(following);
        assert!(spares());
    }
}
