//! Filters that several threads judge by while another adds to them.

use crate::FilterSet;
use arc_swap::{ArcSwap, Guard};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// A [`FilterSet`] that can be replaced under its readers' hands. Reading takes no lock and never
/// waits, for a writer neither; writers take turns.
pub struct SharedFilters {
    current: ArcSwap<FilterSet>,
    writer: Mutex<()>,
}

/// The set as it was when it was [loaded](SharedFilters::load). Later registrations are not seen
/// through it.
pub struct Snapshot(Guard<Arc<FilterSet>>);

impl SharedFilters {
    /// Shares a set.
    pub fn new(set: FilterSet) -> Self {
        Self { current: ArcSwap::from_pointee(set), writer: Mutex::new(()) }
    }

    /// The set as it is now. Short-lived: hold it for a batch of requests, not across a wait.
    pub fn load(&self) -> Snapshot {
        Snapshot(self.current.load())
    }

    /// Changes the set. Readers see the old one until `change` has succeeded, and after that no
    /// reader loads the old one any more; if it fails nothing changes.
    ///
    /// # Errors
    /// Whatever `change` fails with.
    pub fn update<E>(&self, change: impl FnOnce(&mut FilterSet) -> Result<(), E>) -> Result<(), E> {
        // A writer that panicked has stored nothing, so that there is nothing half done behind it.
        let _turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = FilterSet::clone(&self.current.load());
        change(&mut next)?;
        self.current.store(Arc::new(next));
        Ok(())
    }
}

impl Deref for Snapshot {
    type Target = FilterSet;

    fn deref(&self) -> &FilterSet {
        &self.0
    }
}

impl std::fmt::Debug for SharedFilters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedFilters").field(&*self.load()).finish()
    }
}
