//! [`Guard`]: what is to be enforced on one program in the split lane, and who is told of it.

use crate::audit::{Audit, SharedAudit};
use crate::needs::When;
use crate::observe::Observe;
use ringwarden_filter::{CallRules, FilterSet};
use ringwarden_uapi::OPCODES;
use std::sync::Arc;

/// A guard for one program and everything it starts.
pub struct Guard {
    pub(crate) filters: FilterSet,
    pub(crate) calls: CallRules,
    pub(crate) audit: SharedAudit,
    pub(crate) observer: Option<Arc<dyn Observe>>,
    pub(crate) own_filters: bool,
    pub(crate) permissive: bool,
    pub(crate) executed: Option<Box<dyn FnOnce() + Send>>,
}

impl Guard {
    /// A guard that lets through what `filters` allow.
    #[must_use]
    pub fn new(filters: FilterSet) -> Self {
        Self {
            filters,
            calls: CallRules::default(),
            audit: SharedAudit::new(Box::new(())),
            observer: None,
            own_filters: false,
            permissive: false,
            executed: None,
        }
    }

    /// Lets the program make those rings and register calls only.
    #[must_use]
    pub fn with_calls(mut self, calls: CallRules) -> Self {
        self.calls = calls;
        self
    }

    /// Reports every refusal to `audit`.
    #[must_use]
    pub fn with_audit(mut self, audit: impl Audit + 'static) -> Self {
        self.audit = SharedAudit::new(Box::new(audit));
        self
    }

    /// Tells `observer` of everything that is allowed, which takes a look at every request.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observe>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Lets programs put filters and restrictions of their own on tasks, and filters on rings, as on the
    /// kernel whose model the filters follow. Each clone and exec then stops at the guard, since children
    /// inherit those; a signal that comes at that moment can make it fail with `EINTR`.
    ///
    /// Without it such calls get the running kernel's answer; only where that has them they are always
    /// taken.
    #[must_use]
    pub fn with_own_filters(mut self) -> Self {
        self.own_filters = true;
        self
    }

    /// Refuses nothing that filters and calls refuse: it passes, and the audit is told of it
    /// ([`Refusal::permitted`](crate::Refusal::permitted)). What programs forbid themselves is held as ever, and
    /// so is what the guard itself cannot do. Arguments in memory stay within the program's reach: one that it
    /// changes at the right moment may pass untold.
    #[must_use]
    pub fn with_permission(mut self) -> Self {
        self.permissive = true;
        self
    }

    /// Calls `executed`, in the calling process, when the program was executed, and never where that failed.
    #[must_use]
    pub fn told_of_exec(mut self, executed: impl FnOnce() + Send + 'static) -> Self {
        self.executed = Some(Box::new(executed));
        self
    }

    /// Which of the [needs](crate::needs) this guard has.
    pub fn when(&self) -> When {
        if self.holds_arguments() { When::Arguments } else { When::Split }
    }

    /// Whether arguments in memory have to be put out of the program's reach.
    pub(crate) fn holds_arguments(&self) -> bool {
        reads_pointers(&self.filters) && !self.permissive || self.observer.is_some()
    }
}

/// Whether filters look at arguments that requests point at.
pub(crate) fn reads_pointers(filters: &FilterSet) -> bool {
    OPCODES.iter().any(|info| filters.reads_payload(info.opcode))
}
