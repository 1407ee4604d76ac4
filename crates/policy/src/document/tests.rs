//! `[[test]]`: requests and calls, and what is expected to become of them.

use super::Document;
use super::ops::verdict;
use crate::check;
use crate::data::field::{FIELDS, Field};
use crate::data::value::FieldValue;
use crate::diagnostic::source::{Excerpt, Span};
use crate::diagnostic::suggest;
use crate::diagnostic::{Code, Diagnostic};
use crate::policy::call::{Call, Question};
use crate::policy::request::{Impossible, Request};
use crate::policy::{Decision, Test};
use ringwarden_uapi::Opcode;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys of a test, as suggestions name them.
const KEYS: &[&str] = &["name", "op", "with", "setup", "register", "expect"];

/// What a test can be about.
const SUBJECTS: [&str; 3] = ["op", "setup", "register"];

/// A field's value with the place of its key and its own.
type Given = (&'static Field, FieldValue, Span);

impl Document<'_> {
    pub(super) fn tests(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<Test> {
        let DeValue::Array(tests) = value.get_ref() else {
            let error =
                self.wrong_type(value, "an array of tables", "`[[test]]`, with `op` and `expect` below it");
            self.errors.push(error);
            return Vec::new();
        };
        tests.iter().filter_map(|test| self.test(test)).collect()
    }

    /// `None` after an error.
    fn test(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Test> {
        let before = self.errors.len();
        let DeValue::Table(test) = value.get_ref() else {
            let error = self.wrong_type(value, "a table", "`[[test]]`, with `op` and `expect` below it");
            return self.refuse(error);
        };
        for key in test.keys().filter(|key| !KEYS.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let error = self.error(Code::UnknownKey, key.span(), format!("unknown key `{name}`"));
            let error = error.label("not part of a test");
            self.errors.push(match suggest::closest(name, KEYS.iter().copied()) {
                Some(closest) => error.help(format!("did you mean `{closest}`?")),
                None if Field::of(Opcode::NOP, name).is_some() || FIELDS.iter().any(|f| f.name == *name) => {
                    error.help(format!("fields stand in `with = {{ {name} = ... }}`"))
                }
                None => error.expected("`name`, `op`, `with`, `setup`, `register` or `expect`"),
            });
        }
        let name = test.get("name").and_then(|name| self.string(name, "a string").map(str::to_owned));
        let questions = self.questions(test, value.span());
        let expect = self.expectation(test, value.span());
        let (line, questions, expect) = (self.source.place(value.span().start).0, questions?, expect?);
        (self.errors.len() == before).then_some(Test { name, questions, expect, line })
    }

    /// What a test is about: one request or call, or the same of each member of a group.
    fn questions(&mut self, test: &DeTable<'_>, whole: Span) -> Option<Vec<Question>> {
        let mut subjects: Vec<_> = SUBJECTS.iter().filter_map(|key| test.get_key_value(*key)).collect();
        subjects.sort_by_key(|(key, _)| key.span().start);
        if let [(first, _), (second, _), ..] = subjects[..] {
            let message = format!("a test of `{}` and of `{}` at once", first.get_ref(), second.get_ref());
            let error = self.error(Code::IncompleteTest, second.span(), message).label("another one");
            return self.refuse(error.also(first.span(), "the first").help("write two tests"));
        }
        let of = |call| vec![Question::Call(call)];
        if let Some((key, _)) =
            test.get_key_value("with").filter(|_| test.get("op").is_none() && !subjects.is_empty())
        {
            let error =
                self.error(Code::IncompleteTest, key.span(), "`with` is of requests").label("not of calls");
            return self.refuse(error);
        }
        if let Some(setup) = test.get("setup") {
            return self.ring(setup).map(|ring| of(Call::Setup(ring)));
        }
        if let Some(register) = test.get("register") {
            return Some(
                self.registered(register)?.into_iter().flat_map(|op| of(Call::Register(op))).collect(),
            );
        }
        let operations = self.tested(test, whole);
        let with = test.get("with").map(|with| self.table(with));
        let mut requests = Vec::new();
        for operation in operations? {
            let request = match with {
                Some(Some(with)) => self.request(operation, with),
                Some(None) => None,
                None => Request::new(operation, Vec::new()).ok(),
            };
            // One member of a group is enough to show what is wrong.
            requests.push(Question::Request(request?));
        }
        Some(requests)
    }

    pub(super) fn refuse<T>(&mut self, error: Diagnostic) -> Option<T> {
        self.errors.push(error);
        None
    }

    fn lacking<T>(&mut self, key: &str, span: Span, expected: &str) -> Option<T> {
        let error = self.error(Code::IncompleteTest, span, format!("`{key}` is missing"));
        self.refuse(error.label("in this test").expected(expected))
    }

    /// The operations that a test is about: one, or several, or the members of groups.
    fn tested(&mut self, test: &DeTable<'_>, whole: Span) -> Option<Vec<Opcode>> {
        const EXPECTED: &str =
            "an operation, `op = \"openat2\"`, or a call, `setup = { … }` or `register = …`";
        match test.get("op") {
            None => self.lacking("op", whole, EXPECTED),
            Some(value) => {
                let named = self.named(value, EXPECTED)?;
                Some(named.into_iter().flat_map(|(_, members)| members).collect())
            }
        }
    }

    fn expectation(&mut self, test: &DeTable<'_>, whole: Span) -> Option<Decision> {
        const EXPECTED: &str = "`expect = \"allow\"` or `expect = \"deny\"`";
        let Some(value) = test.get("expect") else { return self.lacking("expect", whole, EXPECTED) };
        match self.string(value, EXPECTED)? {
            "allow" => Some(Decision::Allow),
            "deny" => Some(Decision::Deny),
            text => {
                let message = format!("`{text}` is not an expectation");
                let error = self.error(Code::IncompleteTest, value.span(), message);
                let error = error.label("neither allow nor deny").expected(EXPECTED);
                self.refuse(match verdict(text).or_else(|| suggest::closest(text, ["allow", "deny"])) {
                    Some(word) => error.help(format!("write `\"{word}\"`")),
                    None => error,
                })
            }
        }
    }

    fn table<'v, 't>(&mut self, value: &'v Spanned<DeValue<'t>>) -> Option<&'v DeTable<'t>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                let error = self.wrong_type(value, "a table", "fields: `with = { port = 443 }`");
                self.refuse(error)
            }
        }
    }

    fn request(&mut self, operation: Opcode, with: &DeTable<'_>) -> Option<Request> {
        let mut fields: Vec<_> = with.iter().collect();
        fields.sort_by_key(|(key, _)| key.span().start);
        // Every field is looked at, so that every error in them is reported.
        let given: Vec<Option<Given>> = fields
            .into_iter()
            .map(|(key, value)| {
                let field = self.field(operation, key.get_ref(), key.span())?;
                Some((field, self.field_value(operation, field, value)?, key.span().start..value.span().end))
            })
            .collect();
        self.possible(operation, given.into_iter().collect::<Option<_>>()?)
    }

    /// The request that a source of `field=value` lines asks about.
    pub(super) fn question(&mut self, operation: Opcode) -> Option<Request> {
        let source = self.source;
        let mut given = Vec::new();
        for (line, span) in source.lines() {
            let Some((name, value)) = line.split_once('=') else {
                let error = self.error(Code::Syntax, span, format!("`{line}` gives no field a value"));
                self.errors.push(error.label("without `=`").expected("`field=value`, such as `port=443`"));
                given.push(None);
                continue;
            };
            let equals = span.start + name.len();
            let field = self.field(operation, name.trim(), span.start..equals);
            let value = field.and_then(|field| self.constant(operation, field, value, equals + 1..span.end));
            given.push(field.zip(value).map(|(field, value)| (field, value, span)));
        }
        self.possible(operation, given.into_iter().collect::<Option<_>>()?)
    }

    fn possible(&mut self, operation: Opcode, given: Vec<Given>) -> Option<Request> {
        let values = given.iter().map(|(field, value, _)| (*field, *value)).collect();
        match Request::new(operation, values) {
            Ok(request) => Some(request),
            Err(Impossible { at, reason }) => {
                let (field, _, span) = given.get(at)?;
                let message = format!("no request of {operation} has this `{}`", field.name);
                let error = self.error(Code::ImpossibleTest, span.clone(), message);
                self.refuse(error.label(reason))
            }
        }
    }

    fn field(&mut self, operation: Opcode, name: &str, span: Span) -> Option<&'static Field> {
        if let Some(field) = Field::of(operation, name) {
            return Some(field);
        }
        let names: Vec<_> = Field::all_of(operation).map(|field| field.name).collect();
        let elsewhere = FIELDS.iter().any(|field| field.name == name);
        let code = if elsewhere { Code::OtherOperation } else { Code::UnknownName };
        let error = self.error(code, span, format!("`{name}` is not a field of {operation}"));
        let error = error.label("no such field");
        self.refuse(match suggest::closest(name, names.iter().copied()) {
            Some(closest) => error.help(format!("did you mean `{closest}`?")),
            None => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                error.expected(names.join(", "))
            }
        })
    }

    fn field_value(
        &mut self,
        operation: Opcode,
        field: &'static Field,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<FieldValue> {
        let text = match value.get_ref() {
            DeValue::String(text) => text,
            // Numbers are written alike in both languages.
            DeValue::Integer(_) => self.source.slice(&value.span()),
            _ => {
                let error =
                    self.wrong_type(value, "a value", "a number, or a constant or an address in quotes");
                return self.refuse(error);
            }
        };
        self.constant(operation, field, text, value.span())
    }

    fn constant(
        &mut self,
        operation: Opcode,
        field: &'static Field,
        text: &str,
        span: Span,
    ) -> Option<FieldValue> {
        let excerpt = Excerpt::new(self.source, text, span);
        let (expr, is_whole) = self.expression(&excerpt);
        let value = check::value(self.source, &excerpt, &self.names, operation, field, &expr?);
        value.map_err(|errors| self.errors.extend(errors)).ok().filter(|_| is_whole)
    }
}
