//! `[setup]` and `[register]`: what a policy says of the calls themselves.

use crate::diagnostic::origin::RuleOrigin;
use crate::policy::{Decision, Policy, Rule};
use ringwarden_filter::{CallRules, RegisterRules, SetupRules};
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::register::REGISTER_OPS;
use ringwarden_uapi::ring::{Params, SetupFlags};

/// What a policy says of calls; the default is nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    /// `deny_flags` of `[setup]`.
    pub(crate) denied: Option<(SetupFlags, RuleOrigin)>,
    /// `max_entries` of `[setup]`.
    pub(crate) max_entries: Option<(u32, RuleOrigin)>,
    pub(crate) register: Option<Register>,
}

/// `[register]`.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    pub(crate) default: (Decision, RuleOrigin),
    /// Index: opcode. Those without an entry follow the default.
    pub(crate) rules: Vec<Option<(Decision, RuleOrigin)>>,
}

impl Register {
    pub(crate) fn new(default: (Decision, RuleOrigin)) -> Self {
        Self { default, rules: vec![None; REGISTER_OPS.len()] }
    }

    fn decide(&self, op: RegisterOp) -> &(Decision, RuleOrigin) {
        self.rules.get(op.0 as usize).and_then(Option::as_ref).unwrap_or(&self.default)
    }
}

impl Calls {
    /// Takes what a nearer policy says in place of one's own: key by key, and opcode by opcode.
    pub(crate) fn extend(&mut self, nearer: Self) {
        self.denied = nearer.denied.or(self.denied.take());
        self.max_entries = nearer.max_entries.or(self.max_entries.take());
        self.register = match (self.register.take(), nearer.register) {
            (Some(own), Some(nearer)) => {
                let rules = own.rules.into_iter().zip(nearer.rules).map(|(own, nearer)| nearer.or(own));
                Some(Register { default: nearer.default, rules: rules.collect() })
            }
            (own, nearer) => nearer.or(own),
        };
    }

    fn setup(&self) -> SetupRules {
        let mut rules = SetupRules::default();
        if let Some((flags, _)) = self.denied {
            rules.denied = flags;
        }
        if let Some((most, _)) = self.max_entries {
            rules.max_entries = most;
        }
        rules
    }

    fn register(&self) -> RegisterRules {
        let mut rules = RegisterRules::default();
        if let Some(register) = &self.register {
            rules.set_unknown(register.default.0 == Decision::Allow);
            for &(op, _) in REGISTER_OPS {
                rules.set(op, register.decide(op).0 == Decision::Allow);
            }
        }
        rules
    }
}

impl Policy {
    /// What the policy lets `io_uring_setup` and `io_uring_register` be asked for.
    pub fn calls(&self) -> CallRules {
        CallRules { setup: self.calls.setup(), register: self.calls.register() }
    }

    /// The rule of `[setup]` that refuses such a ring, if one does.
    pub fn setup_refusal(&self, entries: u32, params: &Params) -> Option<&RuleOrigin> {
        let rules = self.calls.setup();
        let by_flags = SetupRules { denied: rules.denied, ..SetupRules::default() };
        let refusing = if by_flags.allow(entries, params) {
            self.calls.max_entries.as_ref().map(|(_, origin)| origin)
        } else {
            self.calls.denied.as_ref().map(|(_, origin)| origin)
        };
        refusing.filter(|_| !rules.allow(entries, params))
    }

    /// The rule of `[register]` for an opcode: its own, its group's, or the table's default. `None`
    /// without that table, which allows everything.
    pub fn register_rule(&self, op: RegisterOp) -> Option<Rule<'_>> {
        let (decision, origin) = self.calls.register.as_ref()?.decide(op);
        Some(if *decision == Decision::Allow { Rule::Allow(origin) } else { Rule::Deny(origin) })
    }
}
