//! From policies to restrictions: what they mean decides, not how they are written.

use super::{Action, Family, Flag, IoUring, Op};
use crate::rule::at;
use crate::{Enforcement, Origin};
use ringwarden_cbpf::asm::assemble;
use ringwarden_diff::{Effort, Relation, compare};
use ringwarden_filter::{Context, FilterSet, Payload, Registration, Verdict};
use ringwarden_policy::{CONSTANTS, Constant, Decision, Kind, Policy, Rule, RuleOrigin};
use ringwarden_uapi::register::REGISTER_OPS;
use ringwarden_uapi::ring::{MAX_ENTRIES, Params, Sqe};
use ringwarden_uapi::{OPCODES, Opcode, RegisterOp};
use std::collections::BTreeSet;
use std::fmt::{self, Display};

/// Why the shape cannot hold policies: the rule that is more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Excess {
    /// Whether an operation is allowed depends on more than families of sockets, and flags that are the same for all.
    Operation {
        /// The operation.
        operation: Opcode,
        /// Its rule.
        origin: Option<Origin>,
    },
    /// `[setup]`.
    Setup {
        /// Its rule.
        origin: Option<Origin>,
    },
    /// `[register]`.
    Register {
        /// Its rule.
        origin: Option<Origin>,
    },
}

impl Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (origin, what) = match self {
            Self::Operation { operation, origin } => (
                origin,
                format!(
                    "whether `{operation}` is allowed depends on more than an address family, or than flags that are denied to all"
                ),
            ),
            Self::Setup { origin } => (origin, "it says which rings may be made".to_owned()),
            Self::Register { origin } => (origin, "it says which register calls may be made".to_owned()),
        };
        f.write_str(&what)?;
        origin.iter().try_for_each(|origin| write!(f, ": {}", at(&origin.rule)))
    }
}

impl Enforcement {
    /// The same rules, as restrictions of a container have them: exactly, or not at all. Operations that the model does
    /// not have follow the policies' defaults.
    ///
    /// # Errors
    /// The first rule that is more than they hold.
    pub fn io_uring(&self) -> Result<IoUring, Excess> {
        self.no_calls()?;
        let filters = self.filters();
        let is_denied =
            |op| filters.outright(op) == Some(false) || self.is_same(&self.with(op, "ret #0"), op);
        let ops = OPCODES.iter().map(|info| info.opcode);
        let (denied, allowed): (Vec<_>, Vec<_>) = ops.partition(|&op| is_denied(op));
        let is_open = self.layers().iter().all(|policy| policy.default_action() == Decision::Allow);
        let mut guess = IoUring {
            default_action: if is_open { Action::Allow } else { Action::Deny },
            ops: if is_open { &denied } else { &allowed }.iter().copied().map(Op).collect(),
            socket_families: None,
            denied_sqe_flags: self.flags_denied_to_all(&allowed),
        };
        let differs = |guess: &IoUring, op| {
            restated(guess, filters).is_none_or(|restated| !self.is_same(&restated, op))
        };
        if allowed.contains(&Opcode::SOCKET) && differs(&guess, Opcode::SOCKET) {
            guess.socket_families = Some(self.families());
        }
        // What it means decides.
        if let Some(operation) = self.difference(&guess) {
            return Err(Excess::Operation { operation, origin: self.responsible(operation) });
        }
        // Flags without which it means the same: those that others bring along, or that none of it can have.
        for flag in guess.denied_sqe_flags.clone() {
            guess.denied_sqe_flags.remove(&flag);
            if self.difference(&guess).is_some() {
                guess.denied_sqe_flags.insert(flag);
            }
        }
        Ok(guess)
    }

    /// The first operation of which restrictions allow something else.
    fn difference(&self, restrictions: &IoUring) -> Option<Opcode> {
        let restated = restated(restrictions, self.filters());
        let is_same = |op| restated.as_ref().is_some_and(|restated| self.is_same(restated, op));
        OPCODES.iter().map(|info| info.opcode).find(|&op| !is_same(op))
    }

    fn no_calls(&self) -> Result<(), Excess> {
        let calls = self.calls();
        if !calls.setup.allow_everything() {
            let params = Params { flags: calls.setup.denied.bits(), ..Params::default() };
            return Err(Excess::Setup { origin: self.setup_origin(MAX_ENTRIES, &params) });
        }
        let known = REGISTER_OPS.iter().map(|&(op, _)| op);
        let refused = known.chain([RegisterOp(RegisterOp::LAST)]).find(|&op| !calls.register.allow(op));
        match refused {
            Some(op) => Err(Excess::Register { origin: self.register_origin(op) }),
            None => Ok(()),
        }
    }

    /// Flags with which nothing is allowed.
    fn flags_denied_to_all(&self, allowed: &[Opcode]) -> BTreeSet<Flag> {
        let flags = CONSTANTS.iter().filter(|constant| constant.kind == Kind::SqeFlags);
        let is_denied = |flag: &&Constant| {
            // The second byte of the third word (`struct io_uring_bpf_ctx`).
            let program = format!("ld [8]\n jset #{:#x}, no\n ret #1\n no: ret #0", flag.value << 8);
            allowed.iter().all(|&op| self.is_same(&self.with(op, &program), op))
        };
        flags.filter(is_denied).map(|flag| Flag(flag.value)).collect()
    }

    /// The families of which sockets of the usual type can be made.
    fn families(&self) -> BTreeSet<Family> {
        let families = CONSTANTS.iter().filter(|constant| constant.kind == Kind::Family);
        let is_allowed = |family: &&Constant| {
            const SOCK_STREAM: u64 = 1;
            let sqe =
                Sqe { opcode: Opcode::SOCKET.0, fd: family.value as i32, off: SOCK_STREAM, ..Sqe::default() };
            let context = Context::new(self.filters().model(), &sqe, Payload::None);
            context.is_ok_and(|context| self.filters().verdict(&context) == Verdict::Allow)
        };
        families.filter(is_allowed).map(|family| Family(family.value)).collect()
    }

    /// The rule to blame for an operation that is not as it is elsewhere.
    fn responsible(&self, operation: Opcode) -> Option<Origin> {
        let origin = |layer: usize, rule: &RuleOrigin| Origin { rule: rule.clone(), layer };
        let mut layers = self.layers().iter().enumerate();
        let conditional = layers.find_map(|(layer, policy)| match policy.rule(operation) {
            Rule::Expr(rule) => Some(origin(layer, rule)),
            _ => policy.requirement().map(|rule| origin(layer, rule)),
        });
        conditional.or_else(|| self.rules(operation).next().cloned())
    }

    /// The filters, with a program in front.
    fn with(&self, operation: Opcode, program: &str) -> FilterSet {
        let mut set = self.filters().clone();
        let insns = assemble(program).expect("a program");
        // A model that lacks the operation allows none of it.
        let _ = set.register(Registration::new(operation, &insns));
        set
    }

    fn is_same(&self, other: &FilterSet, operation: Opcode) -> bool {
        is_equal(self.filters(), other, operation)
    }
}

/// What cannot be found out is no.
fn is_equal(one: &FilterSet, other: &FilterSet, operation: Opcode) -> bool {
    let outright = one.outright(operation).zip(other.outright(operation));
    match outright {
        Some((one, other)) => one == other,
        None => compare(one, other, operation, Effort::default())
            .is_ok_and(|comparison| comparison.relation() == Relation::Equal),
    }
}

/// The filters of restrictions, for the same kernel; `None` where that lacks what they ask for.
fn restated(restrictions: &IoUring, filters: &FilterSet) -> Option<FilterSet> {
    let policy = Policy::parse(&restrictions.policy("restated", ""), "").ok()?;
    Some(Enforcement::new(&[policy], filters.model()).ok()?.filters().clone())
}
