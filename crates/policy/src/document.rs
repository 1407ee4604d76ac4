//! The policy file: TOML to a [`Policy`].
//!
//! Whatever this version does not know is an error: a policy never means less than it says.

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::group::{GROUPS, Group};
use crate::policy::{Decision, Effect, OperationRule, Policy, RuleOrigin};
use crate::source::{Excerpt, Source, Span};
use crate::{check, parse, suggest};
use ringwarden_uapi::{OPCODES, Opcode};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys of a policy, as suggestions name them.
const KEYS: &[&str] = &["version", "name", "default", "ops"];

/// Tables and keys that the language reserves, with how they are written.
const LATER: &[(&str, &str)] = &[
    ("all", "[all]"),
    ("setup", "[setup]"),
    ("register", "[register]"),
    ("test", "[[test]]"),
    ("extends", "extends"),
];

/// Reads a policy.
pub(crate) fn policy(source: &Arc<Source>) -> Result<Policy, Diagnostics> {
    let (table, faults) = DeTable::parse_recoverable(&source.text);
    if !faults.is_empty() {
        // What the rest of the file says depends on its structure.
        let errors = faults.iter().map(|fault| {
            let message = fault.message().replace('\n', ", ");
            let (message, expected) = match message.split_once(", expected ") {
                Some((message, expected)) => (message, Some(expected)),
                None => (message.as_str(), None),
            };
            let span = fault.span().unwrap_or_default();
            let error = Diagnostic::new(source, Code::Toml, span, format!("not valid TOML: {message}"));
            let error = error.label("here");
            expected.into_iter().fold(error, Diagnostic::expected)
        });
        return Err(Diagnostics::new(errors.collect()));
    }
    let mut document = Document { source, errors: Vec::new() };
    match document.read(table.get_ref()) {
        Some(policy) if document.errors.is_empty() => Ok(policy),
        _ => Err(Diagnostics::new(document.errors)),
    }
}

struct Document<'s> {
    source: &'s Arc<Source>,
    errors: Vec<Diagnostic>,
}

type Key<'t> = Spanned<toml::de::DeString<'t>>;

impl Document<'_> {
    fn error(&self, code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.source, code, span, message)
    }

    /// `None` after an error.
    fn read(&mut self, table: &DeTable<'_>) -> Option<Policy> {
        self.version(table)?;
        for (key, value) in table {
            self.known_key(key, value);
        }
        let name = table.get("name").and_then(|value| self.string(value, "a string").map(str::to_owned));
        let default = self.default(table);
        let mut rules = vec![None; OPCODES.len()];
        match table.get("ops").map(Spanned::get_ref) {
            Some(DeValue::Table(ops)) => self.operations(ops, &mut rules),
            Some(_) => {
                let value = &table["ops"];
                let error =
                    self.wrong_type(value, "a table", "`[ops]`, with operations and their rules below it");
                self.errors.push(error);
            }
            None => {}
        }
        let (default, default_origin) = default?;
        Some(Policy { source: Arc::clone(self.source), name, default, default_origin, rules })
    }

    /// Only files of this version are read any further.
    fn version(&mut self, table: &DeTable<'_>) -> Option<()> {
        let error = match table.get("version") {
            None => self.error(Code::Version, 0..0, "`version` is missing").label("in this file"),
            Some(value) => match value.get_ref() {
                DeValue::Integer(number) if number.to_string() == "1" => return Some(()),
                DeValue::Integer(number) => self
                    .error(
                        Code::Version,
                        value.span(),
                        format!("version {number} of the policy language is not known"),
                    )
                    .label("another version")
                    .note("a newer release may read it"),
                _ => self.error(Code::Version, value.span(), "`version` is a number").label("not a number"),
            },
        };
        self.errors.push(error.expected("`version = 1` in the first line"));
        None
    }

    fn known_key(&mut self, key: &Key<'_>, value: &Spanned<DeValue<'_>>) {
        let name = key.get_ref().as_ref();
        if KEYS.contains(&name) {
            return;
        }
        if let Some((_, written)) = LATER.iter().find(|(later, _)| *later == name) {
            let message = format!("`{written}` is not supported by this version");
            let error = self.error(Code::NotSupported, key.span(), message).label("would have no effect");
            self.errors.push(error.note("a policy is refused rather than enforced in part"));
            return;
        }
        let what = if matches!(value.get_ref(), DeValue::Table(_)) { "table" } else { "key" };
        let error = self.error(Code::UnknownKey, key.span(), format!("unknown {what} `{name}`"));
        let error = error.label("not part of the policy language");
        let is_rule = Opcode::from_name(name).is_some() || Group::named(name).is_some();
        self.errors.push(match suggest::closest(name, KEYS.iter().copied()) {
            _ if is_rule => error.help("rules stand below `[ops]`"),
            Some(closest) => error.help(format!("did you mean `{closest}`?")),
            None => error.expected("`version`, `name`, `default` or `[ops]`"),
        });
    }

    fn default(&mut self, table: &DeTable<'_>) -> Option<(Decision, RuleOrigin)> {
        const EXPECTED: &str = "`default = \"allow\"` or `default = \"deny\"`";
        let Some((key, value)) = table.get_key_value("default") else {
            let error = self.error(Code::Default, 0..0, "`default` is missing").label("in this file");
            self.errors.push(error.expected(EXPECTED).note("it decides the operations that no rule names"));
            return None;
        };
        let text = self.string(value, "`\"allow\"` or `\"deny\"`")?;
        let decision = match text {
            "allow" => Decision::Allow,
            "deny" => Decision::Deny,
            _ => {
                let error = self.error(Code::Default, value.span(), format!("`{text}` is no default"));
                let error = error.label("neither allow nor deny").expected(EXPECTED);
                self.errors.push(match suggest::closest(text, ["allow", "deny"]) {
                    Some(closest) => error.help(format!("did you mean `\"{closest}\"`?")),
                    None => error,
                });
                return None;
            }
        };
        Some((decision, self.origin(key, text)))
    }

    fn operations(&mut self, ops: &DeTable<'_>, rules: &mut [Option<OperationRule>]) {
        // Groups first: an operation's own rule takes its group's place.
        let (groups, single): (Vec<_>, Vec<_>) =
            ops.iter().partition(|(key, _)| key.get_ref().starts_with('@'));
        for (key, value) in groups.into_iter().chain(single) {
            let members = self.members(key);
            let Some(text) = self.string(value, "`\"allow\"`, `\"deny\"` or a condition in quotes") else {
                continue;
            };
            let Some(members) = members else { continue };
            for (operation, effect) in self.effects(key, &members, text, value.span()) {
                let origin = self.origin(key, text);
                rules[usize::from(operation.0)] = Some(OperationRule { effect, origin, span: value.span() });
            }
        }
    }

    /// The operations that a key of `[ops]` names.
    fn members(&mut self, key: &Key<'_>) -> Option<Vec<Opcode>> {
        let name = key.get_ref().as_ref();
        if let Some(group) = Group::named(name) {
            return Some(group.members.to_vec());
        }
        if let Some(operation) = Opcode::from_name(name) {
            return Some(vec![operation]);
        }
        let is_group = name.starts_with('@');
        let what = if is_group { "group" } else { "operation" };
        let error = self.error(Code::UnknownOperation, key.span(), format!("unknown {what} `{name}`"));
        let plain = name.to_ascii_lowercase();
        let plain = plain.strip_prefix("ioring_op_").unwrap_or(&plain);
        let names: Vec<_> = OPCODES.iter().map(|info| info.name).filter(|_| !is_group).collect();
        let groups = GROUPS.iter().map(|group| group.name);
        // A group without its @ comes before an operation of similar name.
        let unmarked = groups.clone().find(|group| group[1..] == *plain);
        let closest = unmarked.or_else(|| suggest::closest(plain, names.into_iter().chain(groups)));
        self.errors.push(match closest {
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
        let excerpt = Excerpt::new(self.source, text, span.clone());
        if text.trim().is_empty() {
            let error = self.error(Code::Syntax, span, "this rule is empty").label("says nothing");
            self.errors.push(error.expected("`\"allow\"`, `\"deny\"` or a condition in quotes"));
            return Vec::new();
        }
        let expr = match parse::expression(self.source, &excerpt) {
            Ok(expr) => expr,
            Err(errors) => {
                self.errors.extend(errors);
                return Vec::new();
            }
        };
        let mut effects = Vec::new();
        for &operation in members {
            match check::rule(self.source, &excerpt, operation, &expr) {
                Ok(cond) => effects.push((operation, Effect::When(cond))),
                Err(errors) => {
                    // One member is enough to show what is wrong with the expression.
                    let errors =
                        errors.into_iter().map(|error| of_group(key.get_ref(), members.len(), error));
                    self.errors.extend(errors);
                    break;
                }
            }
        }
        effects
    }

    fn string<'v>(&mut self, value: &'v Spanned<DeValue<'_>>, expected: &str) -> Option<&'v str> {
        match value.get_ref() {
            DeValue::String(text) => Some(text),
            _ => {
                let error = self.wrong_type(value, "a string", expected);
                self.errors.push(error);
                None
            }
        }
    }

    fn wrong_type(&self, value: &Spanned<DeValue<'_>>, wanted: &str, expected: &str) -> Diagnostic {
        let (found, help) = match value.get_ref() {
            DeValue::String(_) => ("a string", None),
            DeValue::Integer(_) => ("a number", None),
            DeValue::Float(_) => ("a floating-point number", None),
            DeValue::Boolean(true) => ("a boolean", Some("`\"allow\"`")),
            DeValue::Boolean(false) => ("a boolean", Some("`\"deny\"`")),
            DeValue::Datetime(_) => ("a date", None),
            DeValue::Array(_) => ("an array", None),
            DeValue::Table(_) => ("a table", None),
        };
        let error = self.error(Code::WrongType, value.span(), format!("{found} where {wanted} belongs"));
        let error = error.label(found).expected(expected);
        match help.filter(|_| expected.contains("allow")) {
            Some(help) => error.help(format!("write {help}")),
            None => error,
        }
    }

    fn origin(&self, key: &Key<'_>, text: &str) -> RuleOrigin {
        let (line, column) = self.source.place(key.span().start);
        RuleOrigin {
            file: self.source.name.clone(),
            line,
            column,
            key: key.get_ref().to_string(),
            text: text.to_owned(),
        }
    }
}

/// The error of one operation in the rule of a key that names several.
fn of_group(key: &str, members: usize, error: Diagnostic) -> Diagnostic {
    match error.code() {
        _ if members == 1 => error,
        Code::OtherOperation => error
            .note(format!("`{key}` is {members} operations, and a rule must make sense for each of them"))
            .help("a rule for a single operation has that operation as its key, and beats its group"),
        _ => error,
    }
}
