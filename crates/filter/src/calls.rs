//! Which rings a program may make, and what it may register: the part of a policy that is about
//! calls, which no filter sees.

use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::register::REGISTER_OPS;
use ringwarden_uapi::ring::{MAX_ENTRIES, Params, SetupFlags};

/// What `io_uring_setup` and `io_uring_register` may be asked for. The default is everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallRules {
    /// Which rings may be made.
    pub setup: SetupRules,
    /// Which register calls may be made.
    pub register: RegisterRules,
}

/// Which rings `io_uring_setup` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetupRules {
    /// A ring with any of these flags is refused with `EPERM`, the kernel's answer to those who may
    /// not have one.
    pub denied: SetupFlags,
    /// The most SQEs of a ring, a power of two from 1 to 32768; twice that is the most CQEs. It takes
    /// the place of `IORING_MAX_ENTRIES`: a larger ring is refused with `EINVAL`, or made smaller
    /// where `IORING_SETUP_CLAMP` asks for that.
    pub max_entries: u32,
}

impl Default for SetupRules {
    fn default() -> Self {
        Self { denied: SetupFlags::empty(), max_entries: MAX_ENTRIES }
    }
}

impl SetupRules {
    /// Whether these rules have nothing against such a ring; what else may be wrong with it is the
    /// kernel's to say.
    pub fn allow(&self, entries: u32, params: &Params) -> bool {
        let flags = SetupFlags::from_bits_retain(params.flags);
        let cq_entries = if flags.contains(SetupFlags::CQSIZE) { params.cq_entries } else { 0 };
        // More than any kernel makes is not these rules' to refuse.
        let fits = self.max_entries >= MAX_ENTRIES
            || entries <= self.max_entries && cq_entries.div_ceil(2) <= self.max_entries;
        (fits || flags.contains(SetupFlags::CLAMP)) && !flags.intersects(self.denied)
    }

    /// Whether some sizes of rings are refused, or ways to ask for them.
    pub fn limits_sizes(&self) -> bool {
        self.max_entries < MAX_ENTRIES || self.denied.intersects(SetupFlags::CQSIZE | SetupFlags::CLAMP)
    }

    /// Whether they refuse nothing that kernels make.
    pub fn allow_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Adds other rules: both must allow.
    pub fn join(&mut self, other: Self) {
        self.denied |= other.denied;
        self.max_entries = self.max_entries.min(other.max_entries);
    }
}

/// Which `io_uring_register` calls pass. Others fail with `EACCES`, as under
/// `IORING_REGISTER_RESTRICTIONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterRules {
    /// Bit: opcode, of the known ones.
    allowed: u64,
    /// What becomes of those that no known kernel has.
    unknown: bool,
}

/// A bit for each known opcode.
const KNOWN: u64 = (1 << RegisterOp::LAST) - 1;

impl Default for RegisterRules {
    fn default() -> Self {
        Self::ALL
    }
}

impl RegisterRules {
    /// Every call passes.
    pub const ALL: Self = Self { allowed: KNOWN, unknown: true };

    /// No call passes.
    pub const NONE: Self = Self { allowed: 0, unknown: false };

    /// Whether calls with that opcode pass.
    pub fn allow(&self, op: RegisterOp) -> bool {
        if op.0 < RegisterOp::LAST { self.allowed >> op.0 & 1 != 0 } else { self.unknown }
    }

    /// Decides one opcode; nothing where it is not a known one.
    pub fn set(&mut self, op: RegisterOp, allowed: bool) {
        if op.0 < RegisterOp::LAST {
            self.allowed = self.allowed & !(1 << op.0) | u64::from(allowed) << op.0;
        }
    }

    /// Decides the opcodes that no known kernel has.
    pub fn set_unknown(&mut self, allowed: bool) {
        self.unknown = allowed;
    }

    /// Whether opcodes that no known kernel has pass.
    pub fn allow_unknown(&self) -> bool {
        self.unknown
    }

    /// Adds other rules: both must allow.
    pub fn join(&mut self, other: Self) {
        self.allowed &= other.allowed;
        self.unknown &= other.unknown;
    }

    /// The known opcodes for which the answer is `allowed`, in numeric order.
    pub fn known(&self, allowed: bool) -> impl Iterator<Item = RegisterOp> {
        REGISTER_OPS.iter().map(|&(op, _)| op).filter(move |&op| self.allow(op) == allowed)
    }
}

impl CallRules {
    /// Adds other rules: both must allow.
    pub fn join(&mut self, other: Self) {
        self.setup.join(other.setup);
        self.register.join(other.register);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_limited_by_number_and_by_flag() {
        let everything = SetupRules::default();
        assert!(!everything.limits_sizes());
        assert!(!SetupRules { denied: SetupFlags::SQPOLL, ..everything }.limits_sizes());
        assert!(SetupRules { denied: SetupFlags::CQSIZE, ..everything }.limits_sizes());
        assert!(SetupRules { max_entries: MAX_ENTRIES / 2, ..everything }.limits_sizes());
    }

    #[test]
    fn both_of_two_rules_must_allow() {
        let mut rules = CallRules::default();
        let params =
            |flags: SetupFlags, cq_entries| Params { flags: flags.bits(), cq_entries, ..Params::default() };
        assert!(rules.setup.allow(MAX_ENTRIES, &params(SetupFlags::all(), 2 * MAX_ENTRIES)));
        assert!(rules.register.allow(RegisterOp(1000)) && rules.register.known(false).count() == 0);
        let mut register = RegisterRules::NONE;
        register.set(RegisterOp::REGISTER_PROBE, true);
        register.set(RegisterOp::REGISTER_BPF_FILTER, true);
        rules.join(CallRules {
            setup: SetupRules { denied: SetupFlags::SQPOLL, ..SetupRules::default() },
            register,
        });
        rules.join(CallRules {
            setup: SetupRules { denied: SetupFlags::IOPOLL, max_entries: 64 },
            ..CallRules::default()
        });
        for (entries, flags, cq_entries, allowed) in [
            (64, SetupFlags::CQSIZE, 128, true),
            (64, SetupFlags::CQSIZE, 129, false),
            (64, SetupFlags::empty(), 129, true),
            (64, SetupFlags::SQPOLL, 0, false),
            (1, SetupFlags::IOPOLL | SetupFlags::CLAMP, 0, false),
            (65, SetupFlags::empty(), 0, false),
            (65, SetupFlags::CLAMP, 0, true),
        ] {
            let params = params(flags, cq_entries);
            assert_eq!(rules.setup.allow(entries, &params), allowed, "{entries} {flags:?} {cq_entries}");
        }
        let allowed: Vec<_> = rules.register.known(true).collect();
        assert_eq!(allowed, [RegisterOp::REGISTER_PROBE, RegisterOp::REGISTER_BPF_FILTER]);
        assert!(!rules.register.allow(RegisterOp(38)) && !rules.register.allow(RegisterOp(u32::MAX)));
    }
}
