//! From the filters to what happens to an SQE, settled per opcode before the first request.

use crate::kernel_ring::KernelRing;
use ringwarden_filter::FilterSet;
use ringwarden_uapi::ring::{Sqe, SqeFlags};
use ringwarden_uapi::{OPCODES, Opcode};

/// An opcode that no kernel has and none will soon: the kernel answers EINVAL.
const NO_OPCODE: u8 = 255;

/// What happens to requests of one opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Published as they are.
    Pass,
    /// Published as an opcode that does not exist: EINVAL, as from a kernel that lacks it.
    PassAsUnknown,
    /// Refused whatever they ask for.
    Refuse,
    /// Shown to the filters.
    Weigh,
    /// Shown to the filters together with a copy of the argument in memory.
    WeighArgument,
}

/// The filters of a guard with what follows from them for each opcode.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) filters: FilterSet,
    rules: [Rule; 256],
    sacrifice: u8,
}

impl Rules {
    /// Settles the rules. One opcode is always sacrificed, since refusals and empty slots need one
    /// that the real ring's restrictions refuse: one that the filters deny outright, else RECV_ZC,
    /// which without a registered hardware queue can only fail (`io_recvzc_prep`), else TEE.
    pub(crate) fn new(filters: FilterSet, kernel: &KernelRing) -> Self {
        let known = kernel.opcodes.min(filters.model().facts().opcodes);
        let denied = |op: Opcode| filters.outright(op) == Some(false);
        let sacrifice = OPCODES
            .iter()
            .map(|info| info.opcode)
            .filter(|op| op.0 < known)
            .find(|&op| denied(op))
            .unwrap_or(if Opcode::RECV_ZC.0 < known { Opcode::RECV_ZC } else { Opcode::TEE })
            .0;
        let mut rules = [Rule::Pass; 256];
        for (number, rule) in rules.iter_mut().enumerate().take(usize::from(known)) {
            let opcode = Opcode(number as u8);
            *rule = match filters.outright(opcode) {
                Some(false) => Rule::Refuse,
                _ if opcode.0 == sacrifice => Rule::PassAsUnknown,
                Some(true) => Rule::Pass,
                None if filters.reads_payload(opcode) => Rule::WeighArgument,
                None => Rule::Weigh,
            };
        }
        Self { filters, rules, sacrifice }
    }

    /// What happens to requests of that opcode. One that this kernel or the filters' model lacks
    /// passes: the kernel refuses it, by itself or by the ring's restrictions.
    pub(crate) fn of(&self, opcode: u8) -> Rule {
        self.rules[usize::from(opcode)]
    }

    /// The opcode of poisoned and refused slots.
    pub(crate) fn sacrifice(&self) -> u8 {
        self.sacrifice
    }

    /// Whether the real ring is to refuse that opcode.
    pub(crate) fn confines(&self, opcode: Opcode) -> bool {
        opcode.0 == self.sacrifice || self.of(opcode.0) == Rule::Refuse
    }

    /// The SQE that the kernel fails with EACCES where it would have failed `sqe`: the flags that
    /// decide about its neighbours stay, and the unknown ones, which the kernel looks at first.
    pub(crate) fn refusal(&self, sqe: &Sqe) -> Sqe {
        let dropped = SqeFlags::FIXED_FILE | SqeFlags::BUFFER_SELECT;
        Sqe {
            opcode: self.sacrifice,
            flags: sqe.flags & !dropped.bits(),
            user_data: sqe.user_data,
            ..Sqe::default()
        }
    }

    /// The SQE that the kernel fails with EINVAL, as one whose opcode it lacks.
    pub(crate) fn unknown(&self, sqe: &Sqe) -> Sqe {
        Sqe { opcode: NO_OPCODE, ..*sqe }
    }
}
