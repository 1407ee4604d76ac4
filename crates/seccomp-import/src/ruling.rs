//! What the policy says of one operation, and why.

use crate::expression;
use crate::formula::Formula;
use crate::verdict::{self, Decided, Verdict};
use ringwarden_policy::{Code, Policy, StandsFor, SyscallEquivalent, compile, constant_outcome};
use ringwarden_profile::{Profile, Setting};
use ringwarden_uapi::{KernelModel, Opcode};

/// An operation in the policy.
#[derive(Debug)]
pub(crate) struct Ruling {
    pub(crate) row: &'static SyscallEquivalent,
    pub(crate) rule: Rule,
    /// What the reader should know of it.
    pub(crate) notes: Vec<String>,
}

/// What a policy says of an operation.
#[derive(Debug)]
pub(crate) enum Rule {
    Allow,
    /// Where this holds of the arguments of the call; the expression that says so.
    When(&'static str, Formula, String),
    /// The call that is denied, and why.
    Deny(&'static str, String),
    /// It stands for no call, and was not asked for.
    Unasked,
}

impl Ruling {
    /// What the profile has a policy say of the operation of a row. `is_asked_for` matters where that stands for no
    /// call.
    pub(crate) fn new(
        row: &'static SyscallEquivalent,
        profile: &Profile,
        setting: Setting<'_>,
        is_asked_for: bool,
    ) -> Self {
        let mut ruling = Self { row, rule: Rule::Allow, notes: Vec::new() };
        if row.stands_for == StandsFor::Unlike && !is_asked_for {
            ruling.rule = Rule::Unasked;
        }
        for &call in row.calls() {
            let Decided { verdict, notes } = verdict::decide(profile, setting, row.operation, call);
            ruling.rule = match verdict {
                Verdict::Allowed => continue,
                Verdict::Denied(why) => {
                    ruling.rule = Rule::Deny(call, why);
                    break;
                }
                Verdict::Depends(formula) => {
                    let text = expression::of(&formula, row.operation, call);
                    match usable(row.operation, &text) {
                        Usable::Yes => Rule::When(call, formula, text),
                        Usable::Always => continue,
                        Usable::No(why) => Rule::Deny(call, why.to_owned()),
                    }
                }
            };
            ruling.notes = notes;
        }
        ruling
    }
}

/// Whether a policy can say an expression.
enum Usable {
    Yes,
    /// Every request meets it.
    Always,
    /// Why not.
    No(&'static str),
}

/// Whether an expression is a rule, and one that kernels can hold.
fn usable(operation: Opcode, expression: &str) -> Usable {
    let text = format!("version = 1\ndefault = \"deny\"\n[ops]\n{operation} = \"{expression}\"\n");
    let errors = match Policy::parse(&text, "").and_then(|policy| compile(&[policy], KernelModel::default()))
    {
        Ok(_) => return Usable::Yes,
        Err(errors) => errors,
    };
    if errors.iter().all(|error| error.code() != Code::Constant) {
        return Usable::No("its conditions are too long for a filter");
    }
    match constant_outcome(operation, expression) {
        Some(true) => Usable::Always,
        Some(false) => Usable::No("no call meets its conditions"),
        None => Usable::No("part of its conditions always comes out the same, which no policy says"),
    }
}
