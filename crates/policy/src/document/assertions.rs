//! `[[never]]`, `[[always]]` and `within`: what is said of all requests at once.

use super::{Document, Library};
use crate::diagnostic::Code;
use crate::diagnostic::origin::RuleOrigin;
use crate::diagnostic::source::Span;
use crate::diagnostic::suggest;
use crate::policy::assertion::{Assertion, Claim};
use crate::policy::calls::Calls;
use crate::policy::{Decision, Effect, OperationRule, Policy, Requirement};
use ringwarden_uapi::OPCODES;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys of an assertion, as suggestions name them.
const KEYS: &[&str] = &["name", "op", "when"];

impl Document<'_> {
    /// What the file says of itself.
    pub(super) fn assertions(&mut self, table: &DeTable<'_>, library: &mut Library<'_>) -> Vec<Assertion> {
        let mut assertions = Vec::new();
        for claim in [Claim::Never, Claim::Always] {
            let Some(value) = table.get(claim.as_str()) else { continue };
            let expected = format!("`[[{}]]`, with `op` and `when` below it", claim.as_str());
            match value.get_ref() {
                DeValue::Array(list) => {
                    assertions
                        .extend(list.iter().filter_map(|value| self.assertion(claim, value, &expected)));
                }
                _ => {
                    let error = self.wrong_type(value, "an array of tables", &expected);
                    self.errors.push(error);
                }
            }
        }
        if let Some(value) = table.get("within") {
            let ceilings = self.policies(value, "within", "be within", library);
            assertions.extend(ceilings.into_iter().map(|(policy, span)| {
                let text = policy.file().to_owned();
                self.claimed(Claim::Within, None, policy, text, (span, None))
            }));
        }
        assertions
    }

    /// `None` after an error.
    fn assertion(&mut self, claim: Claim, value: &Spanned<DeValue<'_>>, expected: &str) -> Option<Assertion> {
        let before = self.errors.len();
        let DeValue::Table(table) = value.get_ref() else {
            let error = self.wrong_type(value, "a table", expected);
            self.errors.push(error);
            return None;
        };
        for key in table.keys().filter(|key| !KEYS.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let error = self.error(Code::UnknownKey, key.span(), format!("unknown key `{name}`"));
            let error = error.label("not part of an assertion");
            self.errors.push(match suggest::closest(name, KEYS.iter().copied()) {
                Some(closest) => error.help(format!("did you mean `{closest}`?")),
                None if matches!(name.as_ref(), "if" | "with" | "require" | "condition" | "rule") => {
                    error.help("the condition is `when = \"port == 22\"`")
                }
                None if name == "setup" || name == "register" => {
                    error.help("rings and register calls are held by `within`, and tried by `[[test]]`")
                }
                None if name == "expect" => error.help("`[[never]]` and `[[always]]` say what is expected"),
                None => error.expected("`name`, `op` or `when`"),
            });
        }
        let name = table.get("name").and_then(|name| self.string(name, "a string").map(str::to_owned));
        let when = table.get("when").map(|value| (self.condition(value), value.span()));
        if matches!(when, Some((None, _))) {
            return None;
        }
        let when = when.and_then(|(text, span)| Some((text?, span)));
        let text = when.as_ref().map(|(text, _)| *text).unwrap_or_default().to_owned();
        let subject = table.get("when").or(table.get("op")).map(Spanned::span);
        let policy = match (table.get("op"), when) {
            (None, None) => {
                let error = self.error(Code::IncompleteTest, value.span(), "this is said of no request");
                let error = error.label("names neither operation nor condition");
                self.errors.push(
                    error.expected("`op`, `when` or both: `op = \"connect\"`, `when = \"port == 22\"`"),
                );
                return None;
            }
            (None, Some((text, span))) => {
                let cond = self.of_every_operation(text, span.clone())?;
                let origin = self.claim_origin(claim, text, &span);
                let source = Arc::clone(self.source);
                let requirement = Requirement { cond, origin: origin.clone(), source, span };
                let rules = vec![None; OPCODES.len()];
                Policy { requirement: Some(requirement), ..self.requests(Decision::Allow, origin, rules) }
            }
            (Some(op), when) => {
                let named = self.named(op, "the operation: `op = \"connect\"`")?;
                let span = when.as_ref().map_or(op.span(), |(_, span)| span.clone());
                let mut effects = Vec::new();
                for (key, members) in named {
                    match &when {
                        None => effects.extend(members.iter().map(|&operation| (operation, Effect::Allow))),
                        Some((text, span)) => effects.extend(self.conditions(
                            key,
                            &members,
                            text,
                            span.clone(),
                            "operations are named one by one, each in a table of its own",
                        )),
                    }
                }
                let origin = self.claim_origin(claim, &text, &span);
                let mut rules = vec![None; OPCODES.len()];
                for (operation, effect) in effects {
                    let (origin, source) = (origin.clone(), Arc::clone(self.source));
                    rules[usize::from(operation.0)] =
                        Some(OperationRule { effect, origin, source, span: span.clone() });
                }
                self.requests(Decision::Deny, origin, rules)
            }
        };
        let sound = self.errors.len() == before;
        sound.then(|| self.claimed(claim, name, policy, text, (value.span(), subject)))
    }

    /// A condition in quotes.
    fn condition<'v>(&mut self, value: &'v Spanned<DeValue<'_>>) -> Option<&'v str> {
        const EXPECTED: &str = "a condition in quotes: `when = \"port == 22\"`";
        let text = self.string(value, EXPECTED)?;
        if text.trim().is_empty() || matches!(text, "allow" | "deny") {
            let error = self.error(Code::Syntax, value.span(), format!("`{text}` is no condition"));
            let error = error.label("says nothing of a request").expected(EXPECTED);
            self.errors.push(error.help("without `when` all requests of the operation are meant"));
            return None;
        }
        Some(text)
    }

    fn claim_origin(&self, claim: Claim, text: &str, span: &Span) -> RuleOrigin {
        let (line, column) = self.source.place(span.start);
        let (file, key, text) = (self.source.name.clone(), claim.as_str().to_owned(), text.to_owned());
        RuleOrigin { file, line, column, key, text }
    }

    fn claimed(
        &self,
        claim: Claim,
        name: Option<String>,
        policy: Policy,
        text: String,
        (span, subject): (Span, Option<Span>),
    ) -> Assertion {
        let origin = self.claim_origin(claim, &text, &span);
        let source = Arc::clone(self.source);
        Assertion { claim, name, policy: Box::new(policy), origin, source, span, subject }
    }

    /// A policy that allows the requests that are spoken of.
    fn requests(&self, default: Decision, origin: RuleOrigin, rules: Vec<Option<OperationRule>>) -> Policy {
        Policy {
            source: Arc::clone(self.source),
            name: None,
            default,
            default_origin: origin,
            defines_alone: false,
            loosens: Vec::new(),
            rules,
            requirement: None,
            calls: Calls::default(),
            tests: Vec::new(),
            assertions: Vec::new(),
            warnings: Vec::new(),
            names: Default::default(),
            bases: Vec::new(),
        }
    }
}
