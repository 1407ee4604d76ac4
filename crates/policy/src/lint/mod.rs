//! Warnings about a policy as a whole: valid rules that probably do not do what was intended.

pub(crate) mod loosening;
mod opening;

use crate::data::equivalent::Equivalent;
use crate::data::group::Group;
use crate::diagnostic::origin::RuleOrigin;
use crate::diagnostic::source::Span;
use crate::diagnostic::{Code, Diagnostic};
use crate::policy::{Decision, Effect, OperationRule, Policy};
use ringwarden_uapi::Opcode;

/// A key of `[ops]` and where it stands.
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) span: Span,
}

/// Warnings about rules that others make pointless. `entries` are the keys of `[ops]`.
pub(crate) fn rules(policy: &Policy, entries: &[Entry]) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    for entry in entries {
        match Group::named(&entry.key) {
            Some(group) => warnings.extend(shadowed(policy, entry, group)),
            None => warnings.extend(Opcode::from_name(&entry.key).and_then(|op| bypassed(policy, entry, op))),
        }
    }
    warnings.extend(opening::rules(policy));
    warnings
}

/// A group each of whose members has a rule of its own.
fn shadowed(policy: &Policy, entry: &Entry, group: &Group) -> Option<Diagnostic> {
    let decides = |rule: Option<&OperationRule>| rule.is_some_and(|rule| rule.origin.key == entry.key);
    if group.members.iter().any(|&member| decides(policy.operation(member))) {
        return None;
    }
    let message = format!("the rule of `{}` decides nothing", entry.key);
    let warning = Diagnostic::new(&policy.source, Code::Shadowed, entry.span.clone(), message);
    Some(warning.label("each member has a rule of its own"))
}

/// An operation that is restricted, while another one does the same and is not.
fn bypassed(policy: &Policy, entry: &Entry, operation: Opcode) -> Option<Diagnostic> {
    let what = match policy.operation(operation)?.effect {
        Effect::Allow => return None,
        Effect::Deny => "denied",
        Effect::When(_) => "restricted",
    };
    let is_open = |other: &&Opcode| match policy.operation(**other) {
        Some(rule) => matches!(rule.effect, Effect::Allow),
        None => policy.default == Decision::Allow,
    };
    let Equivalent { others, does, .. } = Equivalent::of(operation).filter(|row| !row.in_part)?;
    let other = *others.iter().find(is_open)?;
    let message = format!("`{operation}` is {what}, but `{other}` is allowed and {does}");
    let warning = Diagnostic::new(&policy.source, Code::Bypassed, entry.span.clone(), message)
        .label("a program can go around this rule");
    Some(match policy.operation(other) {
        Some(rule) => warning.also_in(&rule.source, rule.span.clone(), format!("allows `{other}`")),
        None => {
            let RuleOrigin { file, line, key, text, .. } = &policy.default_origin;
            let place = match *file == policy.source.name {
                true => format!("in line {line}"),
                false => format!("at {file}:{line}"),
            };
            warning.note(format!("`{other}` is allowed by `{key} = {text}` {place}"))
        }
    })
}
