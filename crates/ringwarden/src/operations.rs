//! Which policies a ring's own restrictions can hold, decided by what the filters mean.

use crate::rule::at;
use crate::{Enforcement, Origin};
use ringwarden_cbpf::asm::assemble;
use ringwarden_diff::{Difference, Effort, Relation, common, compare};
use ringwarden_filter::{FilterSet, OperationRules, Registration};
use ringwarden_uapi::ring::SqeFlags;
use ringwarden_uapi::{OPCODES, Opcode};

/// The flags that filters see as requests have them. The others the kernel sets by itself, too, after restrictions
/// were looked at (`io_prep_async_work`, `io_queue_deferred`).
const RAW: [SqeFlags; 5] = [
    SqeFlags::FIXED_FILE,
    SqeFlags::IO_LINK,
    SqeFlags::IO_HARDLINK,
    SqeFlags::BUFFER_SELECT,
    SqeFlags::CQE_SKIP_SUCCESS,
];

/// Why rules are more than restrictions can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Beyond {
    /// Whether requests for an operation are allowed depends on more than their flags.
    Condition {
        /// The operation.
        operation: Opcode,
        /// The rule that makes it so, if it is one.
        origin: Option<Origin>,
    },
    /// Two operations are allowed with different flags, of which a ring has one mask for all.
    Flags {
        /// The two.
        operations: [Opcode; 2],
        /// The second's rule.
        origin: Option<Origin>,
    },
}

impl Beyond {
    /// The operation whose rule is too much.
    pub fn operation(&self) -> Opcode {
        match self {
            Self::Condition { operation, .. } | Self::Flags { operations: [operation, _], .. } => *operation,
        }
    }
}

impl std::fmt::Display for Beyond {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let origin = match self {
            Self::Condition { operation, origin } => {
                write!(f, "whether `{operation}` is allowed depends on the request")?;
                origin
            }
            Self::Flags { operations: [first, second], origin } => {
                write!(f, "`{first}` and `{second}` are allowed with different flags")?;
                origin
            }
        };
        match origin {
            Some(Origin { rule, .. }) => write!(f, ": {}", at(rule)),
            None => Ok(()),
        }
    }
}

/// What is required of the flags of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mask {
    forbidden: SqeFlags,
    required: SqeFlags,
}

impl Mask {
    const NONE: Self = Self { forbidden: SqeFlags::empty(), required: SqeFlags::empty() };

    /// What some operation asks for: some flags make no difference to some others, which refuse them by themselves.
    fn all(allowed: &[(Judged<'_>, Self)]) -> Self {
        allowed.iter().fold(Self::NONE, |all, (_, mask)| Self {
            forbidden: all.forbidden | mask.forbidden,
            required: all.required | mask.required,
        })
    }

    /// A program that allows what has such flags.
    fn program(self) -> String {
        // The second byte of the third word (`struct io_uring_bpf_ctx`).
        let Self { forbidden, required } = self;
        let [looked_at, required] =
            [forbidden | required, required].map(|flags| u32::from(flags.bits()) << 8);
        format!("ld [8]\n and #{looked_at:#x}\n jeq #{required:#x}, yes\n ret #0\n yes: ret #1")
    }
}

impl Enforcement {
    /// What the rules say of whole operations: which are refused whatever a request asks for. Operations that the
    /// model does not have are denied.
    pub fn outright(&self) -> OperationRules {
        let mut rules = OperationRules::default();
        rules.set_unknown(false);
        for operation in OPCODES.iter().map(|info| info.opcode) {
            rules.set(operation, self.filters().outright(operation) != Some(false));
        }
        rules
    }

    /// The same rules, as restrictions of rings can hold them: exactly, or not at all. Operations that the model
    /// does not have are denied.
    ///
    /// # Errors
    /// The first operation, by number, whose rule they cannot hold.
    pub fn operations(&self) -> Result<OperationRules, Beyond> {
        let (mut rules, allowed) = self.judged();
        let all = Mask::all(&allowed);
        if let Some(beyond) = self.beyond_of(&allowed, all).next() {
            return Err(beyond);
        }
        (rules.flags_allowed, rules.flags_required) = (!all.forbidden, all.required);
        Ok(rules)
    }

    /// Every operation, by number, whose rule restrictions of rings cannot hold, and why.
    pub fn beyond_restrictions(&self) -> Vec<Beyond> {
        let (_, allowed) = self.judged();
        self.beyond_of(&allowed, Mask::all(&allowed)).collect()
    }

    /// Which operations are allowed, and the flags of requests that each of those asks for.
    fn judged(&self) -> (OperationRules, Vec<(Judged<'_>, Mask)>) {
        let filters = self.filters();
        let mut rules = OperationRules::default();
        rules.set_unknown(false);
        let mut allowed = Vec::new();
        for operation in OPCODES.iter().map(|info| info.opcode) {
            let judged = Judged { filters, operation };
            match filters.outright(operation).or_else(|| judged.is_denied().then_some(false)) {
                Some(false) => rules.set(operation, false),
                Some(true) => allowed.push((judged, Mask::NONE)),
                None => allowed.push((judged, judged.mask())),
            }
        }
        (rules, allowed)
    }

    /// Those that one mask for all does not hold.
    fn beyond_of<'s>(
        &'s self,
        allowed: &'s [(Judged<'_>, Mask)],
        all: Mask,
    ) -> impl Iterator<Item = Beyond> + use<'s> {
        allowed.iter().filter(move |(judged, _)| !judged.is_same_as(all)).map(|(judged, mask)| {
            let operation = judged.operation;
            let origin = self.rules(operation).next().cloned();
            let other = allowed.iter().find(|(_, other)| other != mask);
            match other {
                Some((other, _)) if judged.is_same_as(*mask) => {
                    Beyond::Flags { operations: [operation, other.operation], origin }
                }
                _ => Beyond::Condition { operation, origin },
            }
        })
    }
}

/// The filters of one operation, compared with others by what they mean.
#[derive(Clone, Copy)]
struct Judged<'a> {
    filters: &'a FilterSet,
    operation: Opcode,
}

impl Judged<'_> {
    fn is_denied(&self) -> bool {
        self.equals(self.nothing(), "ret #0")
    }

    fn is_same_as(&self, mask: Mask) -> bool {
        // Mostly so, and seen at once: a comparison takes a tenth of a millisecond, of each operation.
        let nothing_is_asked = mask == Mask::NONE && self.filters.outright(self.operation) == Some(true);
        nothing_is_asked || self.equals(self.nothing(), &mask.program())
    }

    /// The flags without or with which alone requests are allowed.
    fn mask(&self) -> Mask {
        let mut mask = Mask::NONE;
        for flag in RAW {
            let without = Mask { forbidden: flag, ..Mask::NONE };
            let with = Mask { required: flag, ..Mask::NONE };
            // A flag that no request can have is not forbidden by these filters.
            if self.is_apart_from(&with.program()) {
                mask.forbidden.set(flag, !self.nothing_equals(&without.program()));
            } else if self.is_apart_from(&without.program()) {
                mask.required.insert(flag);
            }
        }
        mask
    }

    fn nothing(&self) -> FilterSet {
        FilterSet::new(self.filters.model())
    }

    /// Whether no request that there is would be refused by `program`.
    fn nothing_equals(&self, program: &str) -> bool {
        Judged { filters: &self.nothing(), operation: self.operation }.equals(self.nothing(), program)
    }

    /// Whether no request is allowed that `program` allows, too. What cannot be found out is no.
    fn is_apart_from(&self, program: &str) -> bool {
        let (Ok(insns), mut set) = (assemble(program), self.nothing()) else { return false };
        set.register(Registration::new(self.operation, &insns)).is_ok()
            && common(self.filters, &set, self.operation, Effort::default()) == Ok(Difference::Never)
    }

    /// Whether the filters mean the same as `set` with `program` in front. What cannot be found out is no.
    fn equals(&self, mut set: FilterSet, program: &str) -> bool {
        let Ok(insns) = assemble(program) else { return false };
        set.register(Registration::new(self.operation, &insns)).is_ok()
            && compare(self.filters, &set, self.operation, Effort::default())
                .is_ok_and(|comparison| comparison.relation() == Relation::Equal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_filter::{Context, Verdict};
    use ringwarden_policy::{PRESETS, Policy};
    use ringwarden_uapi::KernelModel;
    use ringwarden_uapi::ring::Sqe;

    fn held(text: &str) -> Result<OperationRules, Beyond> {
        held_of(&Policy::parse(&format!("version = 1\n{text}"), "policy").expect("a policy"))
    }

    /// The rules, which must say of every operation and all flags what the filters say.
    fn held_of(policy: &Policy) -> Result<OperationRules, Beyond> {
        let enforcement = Enforcement::new(std::slice::from_ref(policy), KernelModel::default());
        let enforcement = enforcement.expect("enforceable");
        let rules = enforcement.operations()?;
        for (opcode, flags) in
            (0..Opcode::LAST).flat_map(|opcode| (0..1 << 7).map(move |flags| (opcode, flags)))
        {
            let sqe = Sqe { opcode, flags, ..Sqe::default() };
            let context = Context::header(KernelModel::default(), &sqe);
            let allowed = enforcement.filters().verdict(&context) == Verdict::Allow;
            let flags = SqeFlags::from_bits_truncate(flags);
            let expected = rules.allow(Opcode(opcode))
                && flags.contains(rules.flags_required)
                && (rules.flags_allowed | rules.flags_required).contains(flags);
            assert_eq!(allowed, expected, "{opcode} {flags:?} {:?}", policy.name());
        }
        assert!(!rules.allow(Opcode(200)));
        Ok(rules)
    }

    #[test]
    fn whole_operations_and_one_mask_fit() {
        for text in [
            "default = \"allow\"",
            "default = \"deny\"",
            "default = \"allow\"\n[ops]\nopenat2 = \"deny\"\nsocket = \"deny\"",
            "default = \"deny\"\n[ops]\nread = \"allow\"\nconnect = \"allow\"",
            "default = \"allow\"\n[all]\nrequire = \"!(sqe_flags & IOSQE_FIXED_FILE)\"",
            "default = \"deny\"\n[all]\nrequire = \"sqe_flags & IOSQE_FIXED_FILE\"\n[ops]\nread = \"allow\"",
        ] {
            held(text).expect(text);
        }
    }

    #[test]
    fn each_operation_that_does_not_fit_is_named() {
        let text = "version = 1\ndefault = \"allow\"\n[ops]\nsocket = \"family == AF_UNIX\"\nopenat = \"deny\"\n\
                    connect = \"family == AF_UNIX\"\n";
        let policy = Policy::parse(text, "policy").expect("a policy");
        let enforcement = Enforcement::new(&[policy], KernelModel::default()).expect("enforceable");
        let beyond: Vec<_> = enforcement.beyond_restrictions().iter().map(Beyond::operation).collect();
        assert_eq!(beyond, [Opcode::CONNECT, Opcode::SOCKET]);
        assert_eq!(enforcement.operations().map(drop), Err(enforcement.beyond_restrictions().remove(0)));
    }

    #[test]
    fn what_depends_on_more_names_its_rule() {
        for (text, operation) in [
            ("default = \"allow\"\n[ops]\nsocket = \"family == AF_UNIX\"", "socket"),
            ("default = \"allow\"\n[all]\nrequire = \"user_data == 7\"", "nop"),
            // Flags that the kernel sets, too.
            ("default = \"allow\"\n[all]\nrequire = \"!(sqe_flags & IOSQE_ASYNC)\"", "nop"),
            ("default = \"allow\"\n[ops]\nread = \"!(sqe_flags & IOSQE_IO_DRAIN)\"", "read"),
        ] {
            let beyond = held(text).expect_err(text);
            let text = beyond.to_string();
            assert!(text.contains(&format!("`{operation}`")), "{text}");
            assert!(text.contains(" at policy:"), "{text}");
        }
        let beyond = held("default = \"allow\"\n[ops]\nread = \"!(sqe_flags & IOSQE_FIXED_FILE)\"");
        assert!(matches!(beyond, Err(Beyond::Flags { .. })), "{beyond:?}");
    }

    /// Presets that are about conditions.
    const CONDITIONAL: [&str; 1] = ["@net-client"];

    #[test]
    fn presets_fit_unless_conditions_are_their_purpose() {
        for preset in PRESETS {
            let held = held_of(&Policy::parse(preset.text, preset.name).expect("a preset"));
            match held {
                Ok(_) => assert!(!CONDITIONAL.contains(&preset.name), "{} has no conditions", preset.name),
                Err(beyond) => assert!(CONDITIONAL.contains(&preset.name), "{}: {beyond}", preset.name),
            }
        }
    }
}
