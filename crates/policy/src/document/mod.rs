//! The policy file: TOML to a [`Policy`].
//!
//! Whatever this version does not know is an error: a policy never means less than it says.

mod all;
mod assertions;
mod calls;
mod define;
mod extends;
pub mod file;
mod ops;
mod ring;
pub(crate) mod schema;
mod tests;

use crate::check::definition::Names;
use crate::data::group::Group;
use crate::diagnostic::origin::RuleOrigin;
use crate::diagnostic::source::{Excerpt, Source, Span};
use crate::diagnostic::suggest;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::lint::{self, Entry};
use crate::policy::assertion::Assertion;
use crate::policy::calls::Calls;
use crate::policy::request::Request;
use crate::policy::{Decision, Policy};
use crate::syntax::ast::Expr;
use crate::syntax::parse;
pub use extends::Base;
use extends::Library;
use ringwarden_uapi::{OPCODES, Opcode};
use std::collections::BTreeSet;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys of a policy, as suggestions name them.
const KEYS: &[&str] = &[
    "version", "name", "default", "extends", "within", "loosens", "define", "all", "ops", "setup",
    "register", "never", "always", "test",
];

/// The keys of a file that only gives names, to be extended by others.
const DEFINING: &[&str] = &["version", "name", "define"];

impl Policy {
    /// Reads a policy file's text; `file_name` is what diagnostics and origins call it.
    ///
    /// # Errors
    /// Everything that is wrong with the file. One that extends other files is wrong here:
    /// [`from_file`](Self::from_file) and [`parse_with`](Self::parse_with) read those.
    pub fn parse(source: &str, file_name: &str) -> Result<Self, Diagnostics> {
        Self::parse_with(source, file_name, |_, _| Err("there is no folder to find it in".to_owned()))
    }

    /// The same for a policy that may extend others. `read` gives the policy of a name, and is told
    /// the name of the file that the name is written in; or says why there is none. It is not asked for
    /// [presets](crate::PRESETS), whose names begin with `@`.
    ///
    /// # Errors
    /// Everything that is wrong with the file and with those that it extends.
    pub fn parse_with(
        source: &str,
        file_name: &str,
        mut read: impl FnMut(&str, &str) -> Result<Base, String>,
    ) -> Result<Self, Diagnostics> {
        let mut library = Library { read: &mut read, count: 0, open: Vec::new() };
        policy(&Arc::new(Source::new(file_name, source)), &mut library)
    }
}

/// Reads a policy.
fn policy(source: &Arc<Source>, library: &mut Library<'_>) -> Result<Policy, Diagnostics> {
    let (table, faults) = DeTable::parse_recoverable(&source.text);
    let faults: Vec<_> = faults.iter().map(|fault| not_toml(source, fault)).collect();
    let mut document = Document::new(source);
    let policy = document.read(table.get_ref(), library);
    if !faults.is_empty() {
        let mut errors = document.errors;
        // What is missing may be where the fault is, and what seems out of place follows from it.
        errors.retain(|error| {
            let line = error.place().0;
            let follows = error.primary.span.is_empty() || error.code == Code::UnknownKey;
            !follows && faults.iter().all(|fault| fault.place().0 != line)
        });
        return Err(Diagnostics::new(faults.into_iter().chain(errors).collect()));
    }
    match policy {
        Some(mut policy) if document.errors.is_empty() => {
            policy.warnings = document.warnings;
            // What a file defines that is extended here may be used here only.
            policy.warnings.retain(|warning| {
                let defined = warning.primary.source.slice(&warning.primary.span);
                warning.code != Code::Unused || !document.used.contains(defined)
            });
            policy.warnings.extend(lint::rules(&policy, &document.entries));
            Ok(policy)
        }
        _ => Err(Diagnostics::new(document.errors)),
    }
}

/// Looks at the form of a policy alone: other files are not read, and what names mean is not asked.
pub(crate) fn form(source: &Arc<Source>) -> Result<(), Diagnostics> {
    let mut read = |_: &str, _: &str| Err(String::new());
    let Err(errors) = policy(source, &mut Library { read: &mut read, count: 0, open: Vec::new() }) else {
        return Ok(());
    };
    let of_form = errors.iter().filter(|error| error.code.is_about_form()).cloned().collect();
    Diagnostics::of(of_form).map_or(Ok(()), Err)
}

fn not_toml(source: &Arc<Source>, fault: &toml::de::Error) -> Diagnostic {
    let message = fault.message().replace('\n', ", ");
    let (message, expected) = match message.split_once(", expected ") {
        Some((message, expected)) => (message, Some(expected)),
        None => (message.as_str(), None),
    };
    let span = fault.span().unwrap_or_default();
    let line = source.text.get(span.start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let unquoted = line.split(['=', ' ']).next().filter(|word| word.starts_with('@'));
    let not_toml = Diagnostic::new(source, Code::Toml, span.clone(), format!("not valid TOML: {message}"));
    let not_toml = not_toml.label("here");
    let expected = expected.into_iter().filter(|expected| *expected != "nothing");
    let error = expected.fold(not_toml, Diagnostic::expected);
    match (unquoted, leading_zero(&source.text, span.start)) {
        (Some(group), _) => {
            error.help(format!("names that begin with `@` are written in quotes: `\"{group}\"`"))
        }
        (None, Some(number)) => error.help(number),
        (None, None) => error,
    }
}

/// What to say of a number at or around a byte that begins with 0, as in C: TOML has no such numbers.
fn leading_zero(text: &str, at: usize) -> Option<String> {
    let is_digit = |c: char| c.is_ascii_digit() || c == '_';
    let start = text.get(..at)?.trim_end_matches(is_digit).len();
    let number: String = text[start..].chars().take_while(|c| is_digit(*c)).collect();
    let digits = number.trim_start_matches(['0', '_']);
    if number.len() < 2 || !number.starts_with('0') || digits.is_empty() {
        return None;
    }
    Some(match digits.chars().all(|c| c == '_' || c.is_digit(8)) {
        true => format!("octal is written `0o{digits}`, decimal `{digits}`"),
        false => format!("numbers do not start with 0: `{digits}`"),
    })
}

impl Request {
    /// Reads a request from the values of its fields, each `field=value` as in a test: `port=443`,
    /// `flags=O_WRONLY|O_CREAT`. Diagnostics call them the file `request`, a value a line.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn parse(operation: Opcode, values: &[String]) -> Result<Self, Diagnostics> {
        let source = Arc::new(Source::new("request", &values.join("\n")));
        let mut document = Document::new(&source);
        document.question(operation).ok_or_else(|| Diagnostics::new(document.errors))
    }
}

struct Document<'s> {
    source: &'s Arc<Source>,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// The keys of `[ops]` that name something.
    entries: Vec<Entry>,
    /// What names stand for here.
    names: Names,
    /// The names that conditions and other definitions of this file use.
    used: BTreeSet<String>,
}

/// A number of TOML, in whatever base it is written; `None` beyond 32 bits.
fn word(number: &toml::de::DeInteger<'_>) -> Option<u32> {
    u32::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

type Key<'t> = Spanned<toml::de::DeString<'t>>;

impl<'s> Document<'s> {
    fn new(source: &'s Arc<Source>) -> Self {
        let (errors, warnings, entries) = (Vec::new(), Vec::new(), Vec::new());
        Self { source, errors, warnings, entries, names: Names::new(), used: BTreeSet::new() }
    }
}

impl Document<'_> {
    fn error(&self, code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.source, code, span, message)
    }

    /// `None` after an error.
    fn read(&mut self, table: &DeTable<'_>, library: &mut Library<'_>) -> Option<Policy> {
        self.version(table)?;
        for (key, value) in table {
            self.known_key(key, value);
        }
        let name = table.get("name").and_then(|value| self.string(value, "a string").map(str::to_owned));
        let bases = table.get("extends").map(|value| self.policies(value, "extends", "extend", library));
        let bases: Vec<_> = bases.into_iter().flatten().map(|(base, _)| base).collect();
        let defines_alone = table.contains_key("define")
            && table.keys().all(|key| DEFINING.contains(&key.get_ref().as_ref()));
        let default = match bases.iter().rfind(|base| !base.defines_alone) {
            Some(base) if !table.contains_key("default") => Some((base.default, base.default_origin.clone())),
            None if defines_alone => {
                let (key, _) = table.get_key_value("define").expect("looked for before");
                Some((Decision::Deny, self.origin(key, "")))
            }
            // A base that is wrong might have said.
            None if table.contains_key("extends") && !self.errors.is_empty() => None,
            _ => self.default(table),
        };
        let mut rules = vec![None; OPCODES.len()];
        let mut requirement = None;
        let mut calls = Calls::default();
        let mut assertions: Vec<Assertion> = Vec::new();
        for base in &bases {
            for (rule, nearer) in rules.iter_mut().zip(&base.rules) {
                *rule = nearer.clone().or(rule.take());
            }
            requirement = base.requirement.clone().or(requirement);
            calls.extend(base.calls.clone());
            self.warnings.extend(base.warnings.iter().cloned());
            for assertion in &base.assertions {
                // A file can be extended in two ways.
                if !assertions.iter().any(|known| known.origin() == assertion.origin()) {
                    assertions.push(assertion.clone());
                }
            }
            self.take_names(base, &table["extends"].span());
        }
        if let Some(define) = table.get("define") {
            self.definitions(define);
        }
        requirement = table.get("all").and_then(|value| self.all(value)).or(requirement);
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
        if let Some(setup) = table.get("setup") {
            self.setup(setup, &mut calls);
        }
        if let Some(register) = table.get("register") {
            self.register(register, &mut calls);
        }
        let loosens = table.get("loosens").map(|value| self.loosens(value)).unwrap_or_default();
        let tests = table.get("test").map(|value| self.tests(value)).unwrap_or_default();
        assertions.extend(self.assertions(table, library));
        // A file that says nothing else is there to be extended.
        if ["all", "ops", "test", "never", "always"].into_iter().any(|key| table.contains_key(key)) {
            self.warnings.extend(self.unused());
        }
        let (default, default_origin) = default?;
        Some(Policy {
            source: Arc::clone(self.source),
            name,
            default,
            default_origin,
            rules,
            defines_alone,
            loosens,
            requirement,
            calls,
            tests,
            assertions,
            warnings: Vec::new(),
            names: std::mem::take(&mut self.names),
            bases,
        })
    }

    /// Files of another version are not read any further.
    fn version(&mut self, table: &DeTable<'_>) -> Option<()> {
        let (error, go_on) = match table.get("version") {
            None => (self.error(Code::Version, 0..0, "`version` is missing").label("in this file"), Some(())),
            Some(value) => match value.get_ref() {
                DeValue::Integer(number) if number.to_string() == "1" => return Some(()),
                DeValue::Integer(number) => {
                    let message = format!("version {number} of the policy language is not known");
                    let error = self.error(Code::Version, value.span(), message).label("another version");
                    (error.note("a newer release may read it"), None)
                }
                _ => {
                    let error = self.error(Code::Version, value.span(), "`version` is a number");
                    (error.label("not a number"), Some(()))
                }
            },
        };
        self.errors.push(error.expected("`version = 1` in the first line"));
        go_on
    }

    fn known_key(&mut self, key: &Key<'_>, value: &Spanned<DeValue<'_>>) {
        let name = key.get_ref().as_ref();
        if KEYS.contains(&name) {
            return;
        }
        let what = if matches!(value.get_ref(), DeValue::Table(_)) { "table" } else { "key" };
        let error = self.error(Code::UnknownKey, key.span(), format!("unknown {what} `{name}`"));
        let error = error.label("not part of the policy language");
        let is_rule = Opcode::from_name(name).is_some() || Group::named(name).is_some();
        self.errors.push(match suggest::closest(name, KEYS.iter().copied()) {
            _ if is_rule => error.help("rules stand below `[ops]`"),
            Some(closest) => error.help(format!("did you mean `{closest}`?")),
            None => error.expected("`version`, `name`, `extends`, `within`, `loosens`, `default`, `[define]`, `[all]`, `[ops]`, `[setup]`, `[register]`, `[[never]]`, `[[always]]` or `[[test]]`"),
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
                let error = self.error(Code::Default, value.span(), format!("`{text}` is not a default"));
                let error = error.label("neither allow nor deny").expected(EXPECTED);
                self.errors.push(
                    match ops::verdict(text).or_else(|| suggest::closest(text, ["allow", "deny"])) {
                        Some(closest) => error.help(format!("did you mean `\"{closest}\"`?")),
                        None => error,
                    },
                );
                return None;
            }
        };
        Some((decision, self.origin(key, text)))
    }

    /// Reads a condition or a value: as much of it as there is, and whether that is all of it.
    fn expression(&mut self, excerpt: &Excerpt<'_>) -> (Option<Expr>, bool) {
        let (expr, errors) = parse::expression(self.source, excerpt);
        let is_whole = errors.is_empty();
        self.errors.extend(errors);
        let mut names = Vec::new();
        expr.iter().for_each(|expr| expr.names(&mut names));
        self.used.extend(names.into_iter().map(str::to_owned));
        (expr, is_whole)
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
        match help.filter(|_| expected.contains("`\"allow\"`")) {
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
