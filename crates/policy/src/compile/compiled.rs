//! [`Compiled`]: what policies are compiled to.

use crate::diagnostic::origin::RuleOrigin;
use ringwarden_cbpf::Insn;
use ringwarden_filter::{CallRules, FilterSet, RegisterError, Registration};
use ringwarden_uapi::bpf::FilterFlags;
use ringwarden_uapi::{KernelModel, Opcode};

/// The filters that enforce some policies, in the order in which they are to be registered on a
/// task or ring that has none.
///
/// `DENY_REST` denies the operations that have no filter at that moment: where an outer sandbox has
/// registered filters before, it leaves those operations to them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compiled {
    /// The filters. Empty where every layer allows everything.
    pub filters: Vec<CompiledFilter>,
    /// The rules behind them; a filter's tag is an index into this list.
    pub origins: Vec<RuleOrigin>,
    /// The rule behind what DENY_REST refuses, as an index into `origins`: the `default` of the
    /// first layer that denies by default. Later ones find no slot empty.
    pub rest: Option<u32>,
    /// What no filter sees: the rings and register calls that every layer allows.
    pub calls: CallRules,
    /// The operations for which it was not proved within a fixed effort that the filters say what the policies
    /// mean: none that compare fields with constants, whatever else they do.
    pub unproved: Vec<Opcode>,
}

impl Compiled {
    /// The filters as a task or ring of that kernel has them, all registered in order.
    ///
    /// # Errors
    /// The operation whose program is not accepted, and why; for the kernel that it was compiled for there
    /// is none.
    pub fn register(&self, model: KernelModel) -> Result<FilterSet, (Opcode, RegisterError)> {
        let mut filters = FilterSet::new(model);
        for filter in &self.filters {
            let mut registration = Registration::new(filter.opcode, &filter.insns);
            registration.tag = filter.tag;
            registration.pdu_size = filter.pdu_size;
            registration.flags.set(FilterFlags::DENY_REST, filter.deny_rest);
            registration.flags.set(FilterFlags::SZ_STRICT, filter.strict_size);
            filters.register(registration).map_err(|error| (filter.opcode, error))?;
        }
        Ok(filters)
    }
}

/// One filter to register, `struct io_uring_bpf_filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompiledFilter {
    /// The operation whose requests it judges.
    pub opcode: Opcode,
    /// The program: 1 to 4096 instructions; it returns 0 or 1.
    pub insns: Vec<Insn>,
    /// Register with `DENY_REST`: from here on, operations without a filter are refused.
    pub deny_rest: bool,
    /// Register with `SZ_STRICT`: the program reads the payload, so a kernel whose payload differs
    /// is not the one that this was compiled for.
    pub strict_size: bool,
    /// The size of the operation's payload on the kernel model, in bytes.
    pub pdu_size: u8,
    /// The rule that this program is, as an index into [`Compiled::origins`].
    pub tag: u32,
    /// The layer that it belongs to, from 0.
    pub layer: usize,
}
