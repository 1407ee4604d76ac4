//! [`Means`]: what there is to confine a process with.

use ringwarden::kernel::Confinement;
use ringwarden::uapi::KernelModel;
use ringwarden::uapi::ring::{Params, SetupFlags};

/// What an enforcement can confine the caller with.
#[derive(Debug)]
pub(crate) enum Means {
    /// Everything is ready.
    Ready(Box<Confinement>),
    /// The policies say something of rings, which no filter sees: a rule that does.
    Setup(String),
    /// It is compiled for a kernel that somebody has named, not for the one that runs and has passed the self-test.
    OtherKernel(KernelModel),
}

impl Means {
    /// Of policies that are compiled for the kernel that runs.
    pub(crate) fn of(enforcement: &ringwarden::Enforcement) -> Self {
        let calls = enforcement.calls();
        if calls.setup.allow_everything() {
            return Self::Ready(Box::new(Confinement::new(enforcement.filters(), calls.register)));
        }
        // Whatever they refuse of rings, they refuse one of these: CLAMP makes a ring smaller that is too large.
        let rings = [SetupFlags::all(), SetupFlags::all() - SetupFlags::CLAMP];
        let rule = rings.into_iter().find_map(|flags| {
            let params = Params { flags: flags.bits(), cq_entries: u32::MAX, ..Params::default() };
            enforcement.setup_origin(u32::MAX, &params).map(|origin| origin.rule)
        });
        let rule = rule.map(|rule| format!(": `{}` at {}:{}", rule.key, rule.file, rule.line));
        Self::Setup(rule.unwrap_or_default())
    }
}
