//! What the threads that serve notifications share with the main thread, which watches over them.

use crate::leases::Leases;
use crate::registered::RegisteredRings;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::HashSet;
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
    threads: HashSet<Pid>,
    /// Those that are followed to a child, whose number is not known before it stops.
    followed: HashSet<Pid>,
}

impl Traced {
    /// Whether that child may be waited for, should it be dead.
    pub(crate) fn spares(&self, child: Pid) -> bool {
        self.followed.is_empty() && !self.threads.contains(&child)
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
        traced.threads.insert(tid);
        if follow {
            traced.followed.insert(tid);
        }
        Tracing { shared: self, tid }
    }

    /// Whether `tid` is being followed on its way through the call that it has just made.
    pub(crate) fn follows(&self, tid: Pid) -> bool {
        self.traced().followed.contains(&tid)
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
}

impl Drop for Tracing<'_> {
    fn drop(&mut self) {
        let mut traced = self.shared.traced();
        traced.threads.remove(&self.tid);
        traced.followed.remove(&self.tid);
    }
}
