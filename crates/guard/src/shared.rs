//! What the threads that serve notifications share with the main thread, which watches over them.

use crate::leases::Leases;
use crate::registered::RegisteredRings;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clones share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// Rings that are held because threads use them by index.
    pub(crate) registered: RegisteredRings,
    /// Descriptors of busy rings.
    pub(crate) leases: Leases,
    traced: Arc<Mutex<Traced>>,
    /// Readable when there is something to [`tidy`](Self::tidy) again.
    untidy: Arc<OwnedFd>,
}

/// Threads that are being traced: whoever reaps children must not meet their stops.
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

impl Shared {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self {
            registered: RegisteredRings::new()?,
            leases: Leases::default(),
            traced: Arc::default(),
            untidy: Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?),
        })
    }

    /// Has the main thread tidy up at every tick from now on.
    pub(crate) fn call_main_thread(&self) {
        // Fails only when it is readable already.
        let _ = rustix::io::write(&self.untidy, &1u64.to_ne_bytes());
    }

    /// What [`call_main_thread`](Self::call_main_thread) makes readable.
    pub(crate) fn untidy(&self) -> BorrowedFd<'_> {
        self.untidy.as_fd()
    }

    /// The main thread has heard.
    pub(crate) fn hear(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.untidy, &mut count);
    }

    /// The calling thread traces `tid` for as long as the result lives, to follow it to a child or not.
    pub(crate) fn trace(&self, tid: Pid, follow: bool) -> Tracing<'_> {
        let mut traced = self.traced();
        *traced.threads.entry(tid).or_default() += 1;
        if follow {
            *traced.followed.entry(tid).or_default() += 1;
        }
        Tracing { shared: self, tid, follow }
    }

    /// Whether `tid` is being followed on its way through the call that it has just made.
    pub(crate) fn follows(&self, tid: Pid) -> bool {
        self.traced().followed.contains_key(&tid)
    }

    /// Who is traced, and nobody else while the result lives.
    pub(crate) fn traced(&self) -> MutexGuard<'_, Traced> {
        self.traced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Shared::trace`].
pub(crate) struct Tracing<'a> {
    shared: &'a Shared,
    tid: Pid,
    follow: bool,
}

impl Drop for Tracing<'_> {
    fn drop(&mut self) {
        let mut traced = self.shared.traced();
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
        let shared = Shared::new().expect("descriptors");
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
