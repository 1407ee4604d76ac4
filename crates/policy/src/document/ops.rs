//! `[ops]`: operations and groups with their rules.

use super::{Document, KEYS, Key};
use crate::check;
use crate::data::group::{GROUPS, Group};
use crate::data::syscall_equivalent::SYSCALL_EQUIVALENTS;
use crate::diagnostic::source::{Excerpt, Span};
use crate::diagnostic::suggest;
use crate::diagnostic::{Code, Diagnostic};
use crate::lint::Entry;
use crate::policy::{Effect, OperationRule};
use ringwarden_uapi::{OPCODES, Opcode};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What helps where a group's rule makes no sense for a member.
const SINGLE: &str = "a rule for a single operation has that operation as its key, and beats its group";

/// What other tools call what is allow and deny here.
const VERDICTS: &[(&str, &str)] = &[
    ("allow", "allow"),
    ("allowed", "allow"),
    ("accept", "allow"),
    ("permit", "allow"),
    ("pass", "allow"),
    ("ok", "allow"),
    ("yes", "allow"),
    ("true", "allow"),
    ("on", "allow"),
    ("*", "allow"),
    ("any", "allow"),
    ("deny", "deny"),
    ("denied", "deny"),
    ("block", "deny"),
    ("blocked", "deny"),
    ("drop", "deny"),
    ("reject", "deny"),
    ("refuse", "deny"),
    ("forbid", "deny"),
    ("none", "deny"),
    ("no", "deny"),
    ("false", "deny"),
    ("off", "deny"),
    ("kill", "deny"),
    ("errno", "deny"),
    ("disallow", "deny"),
];

/// The word of this language for one of another.
pub(super) fn verdict(word: &str) -> Option<&'static str> {
    VERDICTS.iter().find(|(other, _)| word.trim().eq_ignore_ascii_case(other)).map(|(_, word)| *word)
}

impl Document<'_> {
    pub(super) fn operations(&mut self, ops: &DeTable<'_>, rules: &mut [Option<OperationRule>]) {
        // Groups first: an operation's own rule takes its group's place.
        let (groups, single): (Vec<_>, Vec<_>) =
            ops.iter().partition(|(key, _)| key.get_ref().starts_with('@'));
        for (key, value) in groups.into_iter().chain(single) {
            let members = self.members(key.get_ref(), key.span());
            let Some(text) = self.string(value, "`\"allow\"`, `\"deny\"` or a condition in quotes") else {
                continue;
            };
            let Some(members) = members else { continue };
            self.entries.push(Entry { key: key.get_ref().to_string(), span: key.span() });
            for (operation, effect) in self.effects(key, &members, text, value.span()) {
                let origin = self.origin(key, text);
                rules[usize::from(operation.0)] = Some(OperationRule {
                    effect,
                    origin,
                    source: Arc::clone(self.source),
                    span: value.span(),
                });
            }
        }
    }

    /// Operations and groups with their members: one in a string, or several in an array.
    pub(super) fn named<'v>(
        &mut self,
        value: &'v Spanned<DeValue<'v>>,
        expected: &str,
    ) -> Option<Vec<(&'v str, Vec<Opcode>)>> {
        let names = match value.get_ref() {
            DeValue::Array(list) if list.is_empty() => {
                let error = self.error(Code::IncompleteTest, value.span(), "no operation is named");
                return self.refuse(error.label("nothing in here").expected(expected));
            }
            DeValue::Array(_) => self.names(value, expected),
            _ => vec![(self.string(value, expected)?, value.span())],
        };
        let named: Vec<_> =
            names.into_iter().map(|(name, span)| Some((name, self.members(name, span)?))).collect();
        named.into_iter().collect()
    }

    /// The operations that a key of `[ops]`, or a test, names.
    pub(super) fn members(&mut self, name: &str, span: Span) -> Option<Vec<Opcode>> {
        if let Some(group) = Group::named(name) {
            return Some(group.members.to_vec());
        }
        if let Some(operation) = Opcode::from_name(name) {
            return Some(vec![operation]);
        }
        let is_group = name.starts_with('@');
        let what = if is_group { "group" } else { "operation" };
        let error = self.error(Code::UnknownOperation, span, format!("unknown {what} `{name}`"));
        let plain = name.to_ascii_lowercase();
        let plain = plain.strip_prefix("ioring_op_").unwrap_or(&plain);
        let names: Vec<_> = OPCODES.iter().map(|info| info.name).filter(|_| !is_group).collect();
        let groups = GROUPS.iter().map(|group| group.name);
        // A group without its @ comes before an operation of similar name.
        let unmarked = groups.clone().find(|group| group[1..] == *plain);
        let closest = unmarked.or_else(|| suggest::closest(plain, names.into_iter().chain(groups)));
        // A system call of another name than its operation.
        let is_call = Opcode::from_name(plain).is_none();
        let stand_for: Vec<_> =
            SYSCALL_EQUIVALENTS.iter().filter(|row| is_call && row.calls().contains(&plain)).collect();
        self.errors.push(match closest {
            _ if !stand_for.is_empty() => {
                let names: Vec<_> = stand_for.iter().map(|row| format!("`{}`", row.operation)).collect();
                error.label("a system call").help(format!("what does its work: {}", names.join(", ")))
            }
            _ if KEYS.contains(&name) => {
                error.label("not an operation").help(format!("`{name}` stands above `[ops]`"))
            }
            Some(closest) => error.label("no such name").help(format!("did you mean `{closest}`?")),
            None if is_group => {
                let names: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
                error.label("no such group").expected(names.join(", "))
            }
            None => error.label("no such name").expected(
                "an operation, IORING_OP_* in lower case without the prefix, or a group that begins with `@`",
            ),
        });
        None
    }

    /// What a value means for each of the operations.
    fn effects(
        &mut self,
        key: &Key<'_>,
        members: &[Opcode],
        text: &str,
        span: Span,
    ) -> Vec<(Opcode, Effect)> {
        let same = |effect: Effect| members.iter().map(|&operation| (operation, effect.clone())).collect();
        match text {
            "allow" => return same(Effect::Allow),
            "deny" => return same(Effect::Deny),
            _ => {}
        }
        if let Some(word) = verdict(text) {
            let error = self.error(Code::UnknownName, span, format!("`{text}` is not a rule"));
            self.errors.push(
                error
                    .label("not a word of the language")
                    .expected("`\"allow\"`, `\"deny\"` or a condition in quotes")
                    .help(format!("write `\"{word}\"`")),
            );
            return Vec::new();
        }
        if text.trim().is_empty() {
            let error = self.error(Code::Syntax, span, "this rule is empty").label("says nothing");
            self.errors.push(error.expected("`\"allow\"`, `\"deny\"` or a condition in quotes"));
            return Vec::new();
        }
        self.conditions(key.get_ref(), members, text, span, SINGLE)
    }

    /// What a condition means for each of the operations that `key` names; `single` is what helps where it
    /// makes no sense for some of a group.
    pub(super) fn conditions(
        &mut self,
        key: &str,
        members: &[Opcode],
        text: &str,
        span: Span,
        single: &str,
    ) -> Vec<(Opcode, Effect)> {
        let excerpt = Excerpt::new(self.source, text, span);
        let (expr, is_whole) = self.expression(&excerpt);
        let Some(expr) = expr else { return Vec::new() };
        let mut effects = Vec::new();
        for &operation in members {
            match check::rule(self.source, &excerpt, &self.names, operation, &expr) {
                Ok((cond, warnings)) => {
                    if effects.is_empty() && is_whole {
                        self.warnings.extend(warnings);
                    }
                    effects.push((operation, Effect::When(cond)));
                }
                Err(errors) => {
                    // One member is enough to show what is wrong with the expression.
                    let errors = errors.into_iter().map(|error| of_group(key, members.len(), error, single));
                    self.errors.extend(errors);
                    break;
                }
            }
        }
        effects
    }
}

/// The error of one operation in the rule of a key that names several.
fn of_group(key: &str, members: usize, error: Diagnostic, single: &str) -> Diagnostic {
    match error.code() {
        _ if members == 1 => error,
        Code::OtherOperation => error
            .note(format!("`{key}` is {members} operations, and a rule must make sense for each of them"))
            .help(single),
        _ => error,
    }
}
