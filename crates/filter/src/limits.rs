//! [`Limits`]: the filters and restrictions of a task or a ring, and which of them share theirs.

use crate::{FilterSet, KernelModel, Machine, Restrictions, SharedFilters, Snapshot};
use std::sync::Arc;

/// `struct io_restriction`: the allow lists and filters of one task or one ring.
///
/// Filters are inherited by reference. The heir's hold is marked as shared, so that its first own
/// filter goes into a copy. Whether the one it inherits from is marked too is what tells kernels
/// apart: up to 7.2 it was not, and its next filter reached every heir that still held the same set
/// (`io_bpf_filter_clone`, `io_uring/bpf_filter.c`; conformance/tasks.toml).
#[derive(Debug)]
pub struct Limits {
    model: KernelModel,
    pub(crate) restrictions: Restrictions,
    filters: Option<Arc<SharedFilters>>,
    copy_on_write: bool,
    pub(crate) machine: Machine,
}

impl Limits {
    /// None.
    pub fn new(model: KernelModel) -> Self {
        Self {
            model,
            restrictions: Restrictions::default(),
            filters: None,
            copy_on_write: false,
            machine: Machine::default(),
        }
    }

    /// The same, whose filters are run by that machine, from the first that is registered on.
    #[must_use]
    pub fn with_machine(self, machine: Machine) -> Self {
        Self { machine, ..self }
    }

    /// The filters of that set and nothing else.
    pub fn with_filters(set: FilterSet) -> Self {
        Self { filters: Some(Arc::new(SharedFilters::new(set.clone()))), ..Self::new(set.model()) }
    }

    /// The kernel whose rules these follow.
    pub fn model(&self) -> KernelModel {
        self.model
    }

    /// The allow lists.
    pub fn restrictions(&self) -> &Restrictions {
        &self.restrictions
    }

    /// The filters as they are now, if there are any.
    pub fn filters(&self) -> Option<Snapshot> {
        self.filters.as_deref().map(SharedFilters::load)
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.restrictions.is_empty() && self.filters.is_none()
    }

    /// What a new task or ring takes over.
    #[must_use]
    pub fn inherit(&mut self) -> Self {
        let shared = self.filters.is_some();
        if !self.model.facts().later_filters_leak {
            self.copy_on_write |= shared;
        }
        Self {
            model: self.model,
            restrictions: self.restrictions,
            filters: self.filters.clone(),
            copy_on_write: shared,
            machine: self.machine,
        }
    }

    /// Changes the filters: in place, for all that share them, or in a copy if this hold on them is
    /// marked as shared.
    ///
    /// # Errors
    /// Whatever `change` fails with; nothing has changed then.
    pub fn update<E>(&mut self, change: impl FnOnce(&mut FilterSet) -> Result<(), E>) -> Result<(), E> {
        if let Some(own) = self.filters.as_ref().filter(|_| !self.copy_on_write) {
            return own.update(change);
        }
        let set = match &self.filters {
            Some(shared) => shared.changed(change)?,
            None => {
                let mut set = FilterSet::new(self.model).with_machine(self.machine);
                change(&mut set)?;
                set
            }
        };
        self.filters = Some(Arc::new(SharedFilters::new(set)));
        self.copy_on_write = false;
        Ok(())
    }
}
