//! From the filters to what happens to an SQE, settled per opcode before the first request.

use ringwarden_filter::{CallRules, FilterSet, SetupRules};
use ringwarden_uapi::ring::{SetupFlags, Sqe, SqeFlags};
use ringwarden_uapi::{OPCODES, OpTraits, Opcode, RegisterOp};
use std::hash::{BuildHasher, RandomState};
use zerocopy::IntoBytes;

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
    pub(crate) calls: CallRules,
    /// Nothing is refused: what would be passes, and is told of.
    pub(crate) permissive: bool,
    rules: [Rule; 256],
    sacrifice: u8,
    /// The first opcode that this kernel or the filters' model lacks.
    known: u8,
    /// Tells refused requests apart, by a key that programs do not know.
    fingerprint: RandomState,
}

impl Rules {
    /// Settles the rules on a kernel that has the first `opcodes` operations. One opcode is always sacrificed, since refusals and empty slots need one
    /// that the real ring's restrictions refuse: one that the filters deny outright, else RECV_ZC,
    /// which without a registered hardware queue can only fail (`io_recvzc_prep`), else TEE. Best is
    /// one that has no use for BUFFER_SELECT, see [`Rules::refusal`].
    pub(crate) fn new(filters: FilterSet, mut calls: CallRules, permissive: bool, opcodes: u8) -> Self {
        // A call that enables a ring could be marked as the guard's own, which no filter tells from it.
        if !calls.register.allow(RegisterOp::REGISTER_ENABLE_RINGS) {
            calls.setup.denied |= SetupFlags::R_DISABLED;
        }
        let known = opcodes.min(filters.model().facts().opcodes);
        let denied = |op: Opcode| !permissive && filters.outright(op) == Some(false);
        let sacrifice = OPCODES
            .iter()
            .map(|info| info.opcode)
            .filter(|op| op.0 < known)
            .filter(|&op| denied(op))
            .min_by_key(|&op| takes_buffers(op))
            .unwrap_or(if Opcode::RECV_ZC.0 < known { Opcode::RECV_ZC } else { Opcode::TEE })
            .0;
        let mut rules = [Rule::Pass; 256];
        for (number, rule) in rules.iter_mut().enumerate().take(usize::from(known)) {
            let opcode = Opcode(number as u8);
            *rule = match filters.outright(opcode) {
                Some(false) if !permissive => Rule::Refuse,
                _ if opcode.0 == sacrifice => Rule::PassAsUnknown,
                Some(true) => Rule::Pass,
                None if filters.reads_payload(opcode) => Rule::WeighArgument,
                _ => Rule::Weigh,
            };
        }
        Self { filters, calls, permissive, rules, sacrifice, known, fingerprint: RandomState::new() }
    }

    /// Shows every request of an operation that exists to the filters, with its argument in memory where
    /// some kernel's filters see that: none just passes.
    pub(crate) fn show_all(&mut self) {
        let model = self.filters.model();
        for (number, rule) in self.rules.iter_mut().enumerate().take(usize::from(self.known)) {
            let opcode = Opcode(number as u8);
            *rule = match *rule {
                Rule::Pass | Rule::Weigh
                    if opcode.argument().is_some() && model.payload_size(opcode) != 0 =>
                {
                    Rule::WeighArgument
                }
                Rule::Pass => Rule::Weigh,
                rule => rule,
            };
        }
    }

    /// What happens to requests of that opcode. One that this kernel or the filters' model lacks
    /// passes: the kernel refuses it, by itself or by the ring's restrictions.
    pub(crate) fn of(&self, opcode: u8) -> Rule {
        self.rules[usize::from(opcode)]
    }

    /// Whether that opcode exists.
    pub(crate) fn knows(&self, opcode: Opcode) -> bool {
        opcode.0 < self.known
    }

    /// The opcode of poisoned and refused slots.
    pub(crate) fn sacrifice(&self) -> u8 {
        self.sacrifice
    }

    /// Whether the real ring is to refuse that opcode.
    pub(crate) fn confines(&self, opcode: Opcode) -> bool {
        opcode.0 == self.sacrifice || self.of(opcode.0) == Rule::Refuse
    }

    /// Whether some rule depends on arguments in memory: where nothing is refused, only what is told does.
    pub(crate) fn hold_arguments(&self) -> bool {
        !self.permissive && self.rules.contains(&Rule::WeighArgument)
    }

    /// Which rings are made.
    pub(crate) fn setup(&self) -> SetupRules {
        if self.permissive { SetupRules::default() } else { self.calls.setup }
    }

    /// The SQE that the kernel fails with EACCES where it would have failed `sqe`: the flags that
    /// decide about its neighbours stay, and those that the kernel refuses before anything else:
    /// unknown ones, and BUFFER_SELECT where the operation has no use for it. Refusals of different
    /// requests differ, `seen` being what filters saw beside the SQE: in a word that the kernel does not
    /// look at before its restrictions. So a slot that holds one already shows whether it was told of.
    pub(crate) fn refusal(&self, sqe: &Sqe, seen: &[u32]) -> Sqe {
        let selects = takes_buffers(Opcode(sqe.opcode)) || takes_buffers(Opcode(self.sacrifice));
        let mut dropped = SqeFlags::FIXED_FILE;
        dropped.set(SqeFlags::BUFFER_SELECT, selects);
        Sqe {
            opcode: self.sacrifice,
            flags: sqe.flags & !dropped.bits(),
            user_data: sqe.user_data,
            off: self.fingerprint.hash_one((sqe.as_bytes(), seen)),
            ..Sqe::default()
        }
    }

    /// The SQE that the kernel fails with EINVAL, as one whose opcode it lacks.
    pub(crate) fn unknown(&self, sqe: &Sqe) -> Sqe {
        Sqe { opcode: NO_OPCODE, ..*sqe }
    }
}

/// Whether BUFFER_SELECT means something to that operation.
fn takes_buffers(opcode: Opcode) -> bool {
    opcode.traits().contains(OpTraits::BUFFER_SELECT)
}
