//! What this kernel lets a supervisor do that checks requests in place of filters.

use rustix::thread::{CapabilitySet, capabilities};
use std::fs;

/// Whether descendants can be traced. The rest of what such a supervisor stands on, it tries itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Supervision {
    /// `kernel.yama.ptrace_scope`; `None` without Yama. 0 and 1 let a process trace its descendants.
    pub ptrace_scope: Option<u32>,
    /// Whether this process has CAP_SYS_PTRACE, which a scope of 2 asks for.
    pub may_trace: bool,
}

impl Supervision {
    /// Finds out.
    pub fn find() -> Self {
        let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
        let effective = |sets: rustix::thread::CapabilitySets| sets.effective;
        Self {
            ptrace_scope: scope.ok().and_then(|scope| scope.trim().parse().ok()),
            may_trace: capabilities(None)
                .map(effective)
                .is_ok_and(|sets| sets.contains(CapabilitySet::SYS_PTRACE)),
        }
    }

    /// Whether Yama lets this process trace its descendants.
    pub fn tracing_allowed(&self) -> bool {
        match self.ptrace_scope {
            None | Some(0 | 1) => true,
            Some(2) => self.may_trace,
            Some(_) => false,
        }
    }
}
