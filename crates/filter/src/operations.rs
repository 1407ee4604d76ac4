//! Rules about whole operations: what the kernel holds a ring to by its own restrictions, since Linux 5.10.

use crate::RegisterRules;
use ringwarden_uapi::restriction::{REGISTER_OP, Restriction, SQE_FLAGS_ALLOWED, SQE_FLAGS_REQUIRED, SQE_OP};
use ringwarden_uapi::ring::SqeFlags;
use ringwarden_uapi::{Opcode, RegisterOp};

/// Which operations requests may ask for, and with which flags; nothing else of a request counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationRules {
    /// Bit: opcode, of the known ones.
    allowed: u128,
    /// What becomes of those that no known kernel has.
    unknown: bool,
    /// The `sqe.flags` that a request may have.
    pub flags_allowed: SqeFlags,
    /// Those that it must have.
    pub flags_required: SqeFlags,
}

impl Default for OperationRules {
    /// Everything.
    fn default() -> Self {
        Self {
            allowed: (1 << Opcode::LAST) - 1,
            unknown: true,
            flags_allowed: SqeFlags::all(),
            flags_required: SqeFlags::empty(),
        }
    }
}

impl OperationRules {
    /// Whether requests for that operation are allowed, if their flags are.
    pub fn allow(&self, operation: Opcode) -> bool {
        if operation.0 < Opcode::LAST { self.allowed >> operation.0 & 1 != 0 } else { self.unknown }
    }

    /// Decides one operation; nothing where it is not a known one.
    pub fn set(&mut self, operation: Opcode, allowed: bool) {
        if operation.0 < Opcode::LAST {
            self.allowed = self.allowed & !(1 << operation.0) | u128::from(allowed) << operation.0;
        }
    }

    /// Decides the operations that no known kernel has.
    pub fn set_unknown(&mut self, allowed: bool) {
        self.unknown = allowed;
    }

    /// The entries by which a kernel with so many operations and register calls holds a ring to these rules and
    /// to `register`.
    ///
    /// There is always one about requests and one about register calls: where one kind is missing, Linux 7.0 and
    /// later leave that kind open (`io_parse_restrictions`), older kernels allow none of it.
    pub fn entries(&self, register: &RegisterRules, operations: u8, registers: u8) -> Vec<Restriction> {
        let entry = |kind, value| Restriction { kind, value, ..Restriction::default() };
        let ops = (0..operations).filter(|&op| self.allow(Opcode(op))).map(|op| entry(SQE_OP, op));
        let mut calls: Vec<_> = (0..registers)
            .filter(|&op| register.allow(RegisterOp(op.into())))
            .map(|op| entry(REGISTER_OP, op))
            .collect();
        if calls.is_empty() {
            // Does nothing to a ring that is enabled.
            calls.push(entry(REGISTER_OP, RegisterOp::REGISTER_ENABLE_RINGS.0 as u8));
        }
        let mut flags = vec![entry(SQE_FLAGS_ALLOWED, self.flags_allowed.bits())];
        if !self.flags_required.is_empty() {
            flags.push(entry(SQE_FLAGS_REQUIRED, self.flags_required.bits()));
        }
        ops.chain(calls).chain(flags).collect()
    }

    /// What is left where a list that the kernel takes has to allow a request, too, and of `register` where it has
    /// to allow a register call. Where the list says nothing about one of the two, Linux 7.0 and later leave that
    /// `open`, older kernels allow none of it.
    #[must_use]
    pub fn joined(self, register: RegisterRules, list: &[Restriction], open: bool) -> (Self, RegisterRules) {
        let values = |kind| list.iter().filter(move |entry| entry.kind == kind).map(|entry| entry.value);
        let flags = |kind| SqeFlags::from_bits_truncate(values(kind).next_back().unwrap_or(0));
        let (mut rules, mut calls) = (self, register);
        if !open || values(REGISTER_OP).next().is_some() || list.is_empty() {
            calls = RegisterRules::NONE;
            values(REGISTER_OP)
                .map(|op| RegisterOp(op.into()))
                .for_each(|op| calls.set(op, register.allow(op)));
        }
        let requests = [SQE_OP, SQE_FLAGS_ALLOWED, SQE_FLAGS_REQUIRED];
        if !open || list.is_empty() || list.iter().any(|entry| requests.contains(&entry.kind)) {
            let (allowed, required) = (flags(SQE_FLAGS_ALLOWED), flags(SQE_FLAGS_REQUIRED));
            let both = (allowed | required) & (self.flags_allowed | self.flags_required);
            rules.flags_allowed = both;
            rules.flags_required = self.flags_required | required;
            // A flag that one list requires and the other does not allow: the kernel would take it for allowed.
            let possible = both.contains(rules.flags_required);
            rules.allowed = 0;
            rules.unknown = false;
            values(SQE_OP).map(Opcode).for_each(|op| rules.set(op, possible && self.allow(op)));
        }
        (rules, calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KernelModel, Restrictions};

    /// What the entries make of requests and calls, by the engine's reading of them.
    fn read(rules: &OperationRules, register: &RegisterRules) -> Restrictions {
        let facts = KernelModel::default().facts();
        let entries = rules.entries(register, facts.opcodes, facts.register_ops as u8);
        Restrictions::parse(KernelModel::default(), &entries).expect("entries that the kernel takes")
    }

    #[test]
    fn entries_say_the_same() {
        let mut rules = OperationRules::default();
        rules.set(Opcode::OPENAT, false);
        rules.set(Opcode(200), false);
        rules.flags_allowed.remove(SqeFlags::IO_DRAIN);
        rules.flags_required = SqeFlags::ASYNC;
        let mut register = RegisterRules::default();
        register.set(RegisterOp::REGISTER_BUFFERS, false);
        let list = read(&rules, &register);
        for opcode in (0..Opcode::LAST).map(Opcode) {
            for flags in 0..1 << 7 {
                let expected = rules.allow(opcode) && flags & 0x10 != 0 && flags & 0x02 == 0;
                assert_eq!(list.allow(opcode, flags), expected, "{opcode} {flags:#x}");
            }
        }
        for op in (0..RegisterOp::LAST).map(RegisterOp) {
            assert_eq!(list.allow_register(op), register.allow(op), "{op}");
        }
    }

    /// The engine's reading of two lists, one after the other, against that of the joined one.
    #[test]
    fn two_lists_in_one_allow_what_both_do() {
        let entry = |kind, value| Restriction { kind, value, ..Restriction::default() };
        let mut rules = OperationRules::default();
        rules.set(Opcode::READ, false);
        rules.flags_allowed.remove(SqeFlags::IO_LINK);
        let mut register = RegisterRules::default();
        register.set(RegisterOp::REGISTER_BUFFERS, false);
        let own = [
            vec![],
            vec![entry(SQE_OP, Opcode::READ.0), entry(SQE_OP, Opcode::WRITE.0)],
            vec![entry(SQE_OP, Opcode::WRITE.0), entry(SQE_FLAGS_ALLOWED, 0x05)],
            vec![entry(SQE_OP, Opcode::WRITE.0), entry(SQE_FLAGS_REQUIRED, SqeFlags::IO_LINK.bits())],
            vec![entry(SQE_OP, Opcode::WRITE.0), entry(SQE_FLAGS_REQUIRED, SqeFlags::ASYNC.bits())],
            vec![entry(REGISTER_OP, 0), entry(REGISTER_OP, 2)],
        ];
        for list in own {
            let theirs = Restrictions::parse(KernelModel::default(), &list).expect("a list");
            let (joined, calls) = rules.joined(register, &list, true);
            let (ours, both) = (read(&rules, &register), read(&joined, &calls));
            for opcode in (0..Opcode::LAST).map(Opcode) {
                for flags in 0..1 << 7 {
                    let expected = ours.allow(opcode, flags) && theirs.allow(opcode, flags);
                    assert_eq!(both.allow(opcode, flags), expected, "{opcode} {flags:#x} {list:?}");
                }
            }
            for op in
                (0..RegisterOp::LAST).map(RegisterOp).filter(|&op| op != RegisterOp::REGISTER_ENABLE_RINGS)
            {
                let expected = ours.allow_register(op) && theirs.allow_register(op);
                assert_eq!(both.allow_register(op), expected, "{op} {list:?}");
            }
        }
        let calls_alone = [entry(REGISTER_OP, 0)];
        let (closed, _) = rules.joined(register, &calls_alone, false);
        assert!((0..=u8::MAX).all(|op| !closed.allow(Opcode(op))));
    }

    #[test]
    fn nothing_is_left_open_where_nothing_is_allowed() {
        let mut rules = OperationRules::default();
        (0..Opcode::LAST).for_each(|op| rules.set(Opcode(op), false));
        rules.set_unknown(false);
        let list = read(&rules, &RegisterRules::NONE);
        assert!((0..=u8::MAX).all(|op| !list.allow(Opcode(op), 0)));
        let open: Vec<_> =
            (0..RegisterOp::LAST).map(RegisterOp).filter(|&op| list.allow_register(op)).collect();
        assert_eq!(open, [RegisterOp::REGISTER_ENABLE_RINGS]);
    }
}
