//! Filters that several threads judge by while another adds to them.

use crate::FilterSet;
use crate::versions::{Cell, Turn, Versions};
use arc_swap::{ArcSwap, Guard};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// A [`FilterSet`] that can be replaced under its readers' hands. Reading takes no lock and never
/// waits, for a writer neither; writers take turns.
pub struct SharedFilters(Versions<FilterSet, ArcSwap<FilterSet>, Mutex<()>>);

/// The set as it was when it was [loaded](SharedFilters::load). Later registrations are not seen
/// through it.
pub struct Snapshot(Guard<Arc<FilterSet>>);

impl SharedFilters {
    /// Shares a set.
    pub fn new(set: FilterSet) -> Self {
        Self(Versions::new(ArcSwap::from_pointee(set), Mutex::new(())))
    }

    /// The set as it is now. Short-lived: hold it for a batch of requests, not across a wait.
    pub fn load(&self) -> Snapshot {
        Snapshot(self.0.load())
    }

    /// Changes the set. Readers see the old one until `change` has succeeded, and after that no
    /// reader loads the old one any more; if it fails nothing changes.
    ///
    /// # Errors
    /// Whatever `change` fails with.
    pub fn update<E>(&self, change: impl FnOnce(&mut FilterSet) -> Result<(), E>) -> Result<(), E> {
        self.0.update(change)
    }

    /// A changed copy, of which nobody else knows.
    pub(crate) fn changed<E>(
        &self,
        change: impl FnOnce(&mut FilterSet) -> Result<(), E>,
    ) -> Result<FilterSet, E> {
        self.0.changed(change)
    }
}

impl<T> Cell<T> for ArcSwap<T> {
    type Guard = Guard<Arc<T>>;

    fn load(&self) -> Guard<Arc<T>> {
        ArcSwap::load(self)
    }

    fn store(&self, next: Arc<T>) {
        ArcSwap::store(self, next);
    }
}

impl Turn for Mutex<()> {
    fn take<R>(&self, act: impl FnOnce() -> R) -> R {
        // A writer that panicked has stored nothing, so that there is nothing half done behind it.
        let _turn = self.lock().unwrap_or_else(PoisonError::into_inner);
        act()
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
