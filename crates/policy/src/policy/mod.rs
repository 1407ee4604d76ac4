//! A policy: a default and one rule per operation.

pub(crate) mod assertion;
pub(crate) mod call;
pub(crate) mod calls;
pub(crate) mod eval;
pub(crate) mod request;

use crate::check::cond::Cond;
use crate::check::definition::Names;
use crate::data::field::{FIELDS, Field};
use crate::diagnostic::origin::RuleOrigin;
use crate::diagnostic::source::{Source, Span};
use crate::diagnostic::{Diagnostic, Diagnostics};
use assertion::Assertion;
use call::Question;
use calls::Calls;
use ringwarden_uapi::{KernelModel, Opcode};
use std::sync::Arc;

/// What a policy says of a request, or of every request that no rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The kernel may act on it.
    Allow,
    /// It fails with `EACCES`.
    Deny,
}

/// A policy file, read and checked.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) source: Arc<Source>,
    pub(crate) name: Option<String>,
    pub(crate) default: Decision,
    /// It only gives names, to be extended by others: what it refuses is not refused on purpose.
    pub(crate) defines_alone: bool,
    pub(crate) default_origin: RuleOrigin,
    /// Index: opcode. Operations without an entry follow the default.
    /// The keys of rules that allow more than what is extended, on purpose.
    pub(crate) loosens: Vec<String>,
    pub(crate) rules: Vec<Option<OperationRule>>,
    pub(crate) requirement: Option<Requirement>,
    pub(crate) calls: Calls,
    pub(crate) tests: Vec<Test>,
    /// Its own, and those of all that it extends.
    pub(crate) assertions: Vec<Assertion>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// The names that it gives to constants and sets, and those of all that it extends.
    pub(crate) names: Names,
    /// What it extends, in the order of `extends`.
    pub(crate) bases: Vec<Policy>,
}

/// What a policy says of itself: a `[[test]]`, with the decision that its author expects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Test {
    /// What it calls itself.
    pub name: Option<String>,
    /// What is asked for: one request or call, or the same of each member of a group.
    pub questions: Vec<Question>,
    /// What is to become of each.
    pub expect: Decision,
    /// The line of the file, from 1.
    pub line: usize,
}

/// The rule of one operation.
#[derive(Clone, Debug)]
pub(crate) struct OperationRule {
    pub(crate) effect: Effect,
    pub(crate) origin: RuleOrigin,
    /// The file that it is in: the policy's, or one that the policy extends.
    pub(crate) source: Arc<Source>,
    /// The value, with its quotes.
    pub(crate) span: Span,
}

/// What every request must meet besides its rule.
#[derive(Clone, Debug)]
pub(crate) struct Requirement {
    pub(crate) cond: Cond,
    pub(crate) origin: RuleOrigin,
    /// The file that it is in.
    pub(crate) source: Arc<Source>,
    pub(crate) span: Span,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Allow,
    Deny,
    /// Allow where the condition holds.
    When(Cond),
}

/// The rule that decides an operation's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule<'p> {
    /// Every request is allowed.
    Allow(&'p RuleOrigin),
    /// Every request is refused.
    Deny(&'p RuleOrigin),
    /// A request is allowed where the expression, [`RuleOrigin::text`], holds.
    Expr(&'p RuleOrigin),
}

impl<'p> Rule<'p> {
    /// Where the rule is written.
    pub fn origin(self) -> &'p RuleOrigin {
        match self {
            Self::Allow(origin) | Self::Deny(origin) | Self::Expr(origin) => origin,
        }
    }
}

impl Policy {
    /// The policy's `name`, if it gives itself one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The file, as it was named to [`parse`](Self::parse).
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// Whether it only gives names, to be extended by other policies. By itself it refuses everything.
    pub fn defines_alone(&self) -> bool {
        self.defines_alone
    }

    /// Every file that it takes to know what the policy says, each once, with its text: its own, those that it
    /// extends, and those that it names by `within`.
    pub fn files(&self) -> Vec<(&str, &str)> {
        let mut files = vec![(self.file(), self.source.text.as_str())];
        let ceilings = self.assertions.iter().map(Assertion::requests);
        // The requests of a `[[never]]` are a policy of the same file.
        for other in self.bases.iter().chain(ceilings) {
            let others = if other.file() == self.file() { Vec::new() } else { other.files() };
            for (name, text) in others {
                if !files.iter().any(|(known, _)| *known == name) {
                    files.push((name, text));
                }
            }
        }
        files
    }

    /// What happens to requests of operations that no rule names, those of future kernels included.
    pub fn default_action(&self) -> Decision {
        self.default
    }

    /// The rule for an operation's requests: its own, its group's, or the default.
    pub fn rule(&self, operation: Opcode) -> Rule<'_> {
        match self.operation(operation) {
            Some(OperationRule { effect: Effect::Allow, origin, .. }) => Rule::Allow(origin),
            Some(OperationRule { effect: Effect::Deny, origin, .. }) => Rule::Deny(origin),
            Some(OperationRule { effect: Effect::When(_), origin, .. }) => Rule::Expr(origin),
            None if self.default == Decision::Allow => Rule::Allow(&self.default_origin),
            None => Rule::Deny(&self.default_origin),
        }
    }

    /// The fields that an operation's own rule looks at, in the order of [`FIELDS`](crate::FIELDS) at most once.
    pub fn fields_read(&self, operation: Opcode) -> Vec<&'static Field> {
        let Some(OperationRule { effect: Effect::When(cond), .. }) = self.operation(operation) else {
            return Vec::new();
        };
        let read = cond.fields();
        FIELDS.iter().filter(|field| read.contains(field)).collect()
    }

    /// The rules on fields that no kernel shows, each with the first of them.
    pub fn rules_of_the_guard(&self) -> impl Iterator<Item = (&RuleOrigin, &'static Field)> {
        let rules = self.rules.iter().flatten().filter_map(|rule| match &rule.effect {
            Effect::When(cond) => Some((&rule.origin, cond)),
            Effect::Allow | Effect::Deny => None,
        });
        let all = rules.chain(self.requirement.as_ref().map(|require| (&require.origin, &require.cond)));
        all.filter_map(|(origin, cond)| {
            Some((origin, cond.fields().into_iter().find(|field| field.is_guards_own())?))
        })
    }

    /// The model whose filters see all that the rules look at: the newest kernel's wherever that will do.
    pub fn needs(&self) -> KernelModel {
        match self.rules_of_the_guard().next() {
            Some(_) => KernelModel::Guard,
            None => KernelModel::default(),
        }
    }

    /// The same for all that is said of the policy: assertions, and what it extends.
    pub fn needs_in_all(&self) -> KernelModel {
        let bases = self.bases().iter().map(Self::needs_in_all);
        let asserted = self.assertions.iter().map(|assertion| assertion.requests().needs_in_all());
        bases.chain(asserted).fold(self.needs(), KernelModel::max)
    }

    /// Decides a request by the meaning of the policy, without any program: `words` is the context
    /// as a kernel gives it to filters, in 32-bit words (`struct io_uring_bpf_ctx`, 10 words since
    /// Linux 7.0). A context too short for what the rule reads is refused.
    pub fn evaluate(&self, words: &[u32]) -> Decision {
        self.decide(words).0
    }

    /// As [`evaluate`](Self::evaluate), with the rule that decides: where a request is refused the one that refuses it,
    /// which may be `require` of `[all]`, and else the operation's.
    pub fn decide(&self, words: &[u32]) -> (Decision, &RuleOrigin) {
        // The opcode is byte 8. Without one, what is left is what happens to unknown operations.
        let operation = words.get(2).map(|word| Opcode(word.to_ne_bytes()[0]));
        let known = operation.filter(|operation| usize::from(operation.0) < self.rules.len());
        let (allowed, origin) = match known.and_then(|operation| self.operation(operation)) {
            Some(OperationRule { effect: Effect::When(cond), origin, .. }) => {
                (eval::holds(cond, words), origin)
            }
            Some(OperationRule { effect: Effect::Allow, origin, .. }) => (true, origin),
            Some(OperationRule { effect: Effect::Deny, origin, .. }) => (false, origin),
            None => (self.default == Decision::Allow && operation.is_some(), &self.default_origin),
        };
        match &self.requirement {
            _ if !allowed => (Decision::Deny, origin),
            // Nothing can be required of operations that no filter can be registered for.
            Some(require) if known.is_none() || !eval::holds(&require.cond, words) => {
                (Decision::Deny, &require.origin)
            }
            _ => (Decision::Allow, origin),
        }
    }

    /// The condition that every request must meet besides its operation's rule: `require` of
    /// `[all]`.
    pub fn requirement(&self) -> Option<&RuleOrigin> {
        self.requirement.as_ref().map(|require| &require.origin)
    }

    /// Warnings about valid rules that probably do not do what was intended; `None` where there are none.
    pub fn warnings(&self) -> Option<Diagnostics> {
        (!self.warnings.is_empty()).then(|| Diagnostics::new(self.warnings.clone()))
    }

    /// The policy's tests, in the order of the file.
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// What the policy says of all requests at once, and what those say that it extends: it is said of all
    /// that is merged.
    pub fn assertions(&self) -> &[Assertion] {
        &self.assertions
    }

    pub(crate) fn operation(&self, operation: Opcode) -> Option<&OperationRule> {
        self.rules.get(usize::from(operation.0))?.as_ref()
    }
}
