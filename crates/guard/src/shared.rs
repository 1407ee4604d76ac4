//! What the thread that serves notifications shares with the main thread, which watches over it.

use crate::deadline::Deadline;
use crate::leases::Leases;
use crate::registered::RegisteredRings;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Clones share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// For how long the current notification has been served.
    pub(crate) deadline: Arc<Deadline>,
    /// Rings that are held because threads use them by index.
    pub(crate) registered: RegisteredRings,
    /// Descriptors of busy rings.
    pub(crate) leases: Leases,
    tracing: Arc<Mutex<()>>,
    /// Readable when there is something to [`tidy`](Self::tidy) again.
    untidy: Arc<OwnedFd>,
}

impl Shared {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self {
            deadline: Arc::new(Deadline::new()),
            registered: RegisteredRings::default(),
            leases: Leases::default(),
            tracing: Arc::default(),
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

    /// Lets go of what is no longer needed; whether to come back at the next tick.
    pub(crate) fn tidy(&self) -> bool {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.untidy, &mut count);
        // Both, whatever the first says.
        self.registered.sweep() | self.leases.expire()
    }

    /// Excludes tracing and reaping from each other: whoever waits for any dead child must not meet
    /// the stops of one that is traced.
    pub(crate) fn children(&self) -> MutexGuard<'_, ()> {
        self.tracing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for the main thread, which must not wait: an injection can take long.
    pub(crate) fn try_children(&self) -> Option<MutexGuard<'_, ()>> {
        match self.tracing.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
