//! What the thread that serves notifications shares with the main thread, which watches over it.

use crate::deadline::Deadline;
use crate::registered::RegisteredRings;
use rustix::io::Errno;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clones share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// The end of the injection that is under way.
    pub(crate) deadline: Arc<Deadline>,
    /// Rings that are held because threads use them by index.
    pub(crate) registered: RegisteredRings,
    tracing: Arc<Mutex<()>>,
}

impl Shared {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self {
            deadline: Arc::new(Deadline::new()?),
            registered: RegisteredRings::new()?,
            tracing: Arc::default(),
        })
    }

    /// Excludes tracing and reaping from each other: whoever waits for any dead child must not meet
    /// the stops of one that is traced.
    pub(crate) fn children(&self) -> MutexGuard<'_, ()> {
        self.tracing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
