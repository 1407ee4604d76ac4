//! What the threads that serve notifications share with the main thread, which watches over them.

use crate::program::traced::TracedThreads;
use crate::split::threads::leases::Leases;
use crate::split::threads::registered::RegisteredRings;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::sync::Arc;

/// Clones share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// Rings that are held because threads use them by index.
    pub(crate) registered: RegisteredRings,
    /// Descriptors of busy rings.
    pub(crate) leases: Leases,
    pub(crate) traced: Arc<TracedThreads>,
    /// Readable when there is something to [`tidy`](Self::tidy) again.
    untidy: Arc<OwnedFd>,
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
}
