//! `[all]`: what every request must meet, whatever its operation.

use super::Document;
use crate::check;
use crate::check::cond::Cond;
use crate::diagnostic::source::{Excerpt, Span};
use crate::diagnostic::suggest;
use crate::diagnostic::{Code, Diagnostic};
use crate::policy::Requirement;
use ringwarden_uapi::Opcode;
use std::sync::Arc;
use toml::Spanned;
use toml::de::DeValue;

/// An operation that has the fields of every operation and no other.
const PLAIN: Opcode = Opcode::NOP;

impl Document<'_> {
    /// `None` where nothing is required, and after an error.
    pub(super) fn all(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Requirement> {
        let DeValue::Table(all) = value.get_ref() else {
            let error = self.wrong_type(value, "a table", "`[all]`, with `require` below it");
            self.errors.push(error);
            return None;
        };
        for key in all.keys().filter(|key| *key.get_ref() != "require") {
            let name = key.get_ref();
            let error = self.error(Code::UnknownKey, key.span(), format!("unknown key `{name}`"));
            let error = error.label("not part of `[all]`");
            self.errors.push(match suggest::closest(name, ["require"]) {
                Some(closest) => error.help(format!("did you mean `{closest}`?")),
                None => error.expected("`require`, with a condition in quotes"),
            });
        }
        let (key, value) = all.get_key_value("require")?;
        let text = self.string(value, "a condition in quotes")?;
        if matches!(text, "allow" | "deny") {
            let error = self.error(Code::Syntax, value.span(), "`require` takes a condition");
            let error =
                error.label("decides every request alike").help("`default` and `[ops]` allow and deny");
            self.errors.push(error);
            return None;
        }
        let cond = self.of_every_operation(text, value.span())?;
        let origin = self.origin(key, text);
        Some(Requirement { cond, origin, source: Arc::clone(self.source), span: value.span() })
    }

    /// A condition that can be asked of every operation's requests; `None` after an error.
    pub(super) fn of_every_operation(&mut self, text: &str, span: Span) -> Option<Cond> {
        let excerpt = Excerpt::new(self.source, text, span);
        let (expr, is_whole) = self.expression(&excerpt);
        match check::rule(self.source, &excerpt, &self.names, PLAIN, &expr?) {
            Ok(_) if !is_whole => None,
            Ok((cond, warnings)) => {
                self.warnings.extend(warnings);
                Some(cond)
            }
            Err(errors) => {
                self.errors.extend(errors.into_iter().map(of_every_operation));
                None
            }
        }
    }
}

/// The error that names [`PLAIN`], as one that speaks of every operation.
fn of_every_operation(mut error: Diagnostic) -> Diagnostic {
    let plain = format!("of {PLAIN}");
    if error.code() == Code::OtherOperation {
        error.primary.text = "not every operation has it".to_owned();
    }
    for text in error.notes.iter_mut().map(|(_, text)| text).chain([&mut error.message]) {
        *text = text.replace(&plain, "of every operation");
    }
    error
}
