//! Allow lists: `IORING_REGISTER_RESTRICTIONS`.
//!
//! Older than filters and asked before them, before even the operation's own preparation. A ring
//! can be given one while it is disabled, a task once in its life
//! (`io_parse_restrictions`, `io_uring/register.c`; conformance/restrictions.toml).

use crate::{Errno, KernelModel, UserMemory};
use ringwarden_uapi::restriction::{
    KIND_LAST, REGISTER_OP, Restriction, SQE_FLAGS_ALLOWED, SQE_FLAGS_REQUIRED, SQE_OP,
};
use ringwarden_uapi::{Opcode, RegisterOp};
use zerocopy::{FromZeros, IntoBytes};

/// What a ring may be asked, if that is limited at all; the default is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    requests: Option<Requests>,
    registers: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Requests {
    opcodes: u128,
    flags_allowed: u8,
    flags_required: u8,
}

impl Restrictions {
    /// The most entries that this kernel takes in one call.
    pub fn max_entries(model: KernelModel) -> usize {
        usize::from(KIND_LAST) + model.facts().register_ops as usize + usize::from(model.facts().opcodes)
    }

    /// The lists that entries make. One entry about requests limits requests, one about register
    /// calls limits those; no entry at all allows nothing of either.
    ///
    /// # Errors
    /// EINVAL for too many entries, an unknown kind, or an opcode that the kernel does not have.
    pub fn parse(model: KernelModel, entries: &[Restriction]) -> Result<Self, Errno> {
        if entries.len() > Self::max_entries(model) {
            return Err(Errno::EINVAL);
        }
        if entries.is_empty() {
            return Ok(Self { requests: Some(Requests::default()), registers: Some(0) });
        }
        let mut lists = Self::default();
        for entry in entries {
            match entry.kind {
                REGISTER_OP if u32::from(entry.value) < model.facts().register_ops => {
                    *lists.registers.get_or_insert_default() |= 1 << entry.value;
                }
                SQE_OP if model.has_opcode(Opcode(entry.value)) => {
                    lists.requests.get_or_insert_default().opcodes |= 1 << entry.value;
                }
                SQE_FLAGS_ALLOWED => lists.requests.get_or_insert_default().flags_allowed = entry.value,
                SQE_FLAGS_REQUIRED => lists.requests.get_or_insert_default().flags_required = entry.value,
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(lists)
    }

    /// The lists that the entries at `address` make.
    ///
    /// # Errors
    /// EINVAL for too many, EFAULT if they cannot be read, then as for [`parse`](Self::parse).
    pub(crate) fn read(
        model: KernelModel,
        memory: &impl UserMemory,
        address: u64,
        count: u32,
    ) -> Result<Self, Errno> {
        let count = count as usize;
        if count > Self::max_entries(model) {
            return Err(Errno::EINVAL);
        }
        let mut entries = vec![Restriction::new_zeroed(); count];
        memory.read(address, entries.as_mut_bytes())?;
        Self::parse(model, &entries)
    }

    /// Whether a request with that opcode and those `sqe.flags`, as the program wrote them, is
    /// allowed.
    pub fn allow(&self, opcode: Opcode, sqe_flags: u8) -> bool {
        self.requests.is_none_or(|Requests { opcodes, flags_allowed, flags_required }| {
            opcodes.checked_shr(opcode.0.into()).unwrap_or(0) & 1 != 0
                && sqe_flags & flags_required == flags_required
                && sqe_flags & !(flags_allowed | flags_required) == 0
        })
    }

    /// Whether a register call is allowed.
    pub fn allow_register(&self, op: RegisterOp) -> bool {
        self.registers.is_none_or(|ops| ops.checked_shr(op.0).unwrap_or(0) & 1 != 0)
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
