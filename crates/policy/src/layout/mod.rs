//! Policy files as they are written: the one printer for all that Ringwarden writes, and for what people wrote.
//!
//! A [`File`] holds tables, keys, values, comments and blank lines. What makes policies builds one; [`read`] makes
//! one of a text, and loses nothing of it but its layout. [`order`] puts tables and keys where they belong,
//! [`print`] lays them out, conditions by [`condition`] and lists by [`rows`].

mod condition;
mod listing;
mod order;
mod print;
mod read;
mod rows;

use crate::data::field::Field;
use crate::data::value::FieldValue;
use crate::diagnostic::Diagnostics;
use crate::diagnostic::source::{Excerpt, Source};
use crate::document;
use crate::policy::call::SetupCall;
use crate::syntax::ast::Meaning;
use crate::syntax::parse;
use ringwarden_uapi::ring::SetupFlags;
use std::fmt::Display;
use std::sync::Arc;

/// The longest line, in characters, where there is a choice. Comments are left as they are.
const WIDTH: usize = 110;

/// The text of a policy file as `ringwarden fmt` writes it: it means the same and has the same comments.
///
/// # Errors
/// What is wrong with the form of the file: it is not TOML, has keys that policies do not have, or conditions that
/// cannot be read. What its names mean does not matter, and files that it names are not read.
pub fn format(text: &str, file_name: &str) -> Result<String, Diagnostics> {
    document::form(&Arc::new(Source::new(file_name, text)))?;
    Ok(read::file(text).to_string())
}

/// A policy file, to be printed by its `Display`.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// What stands before everything else: comments.
    head: Vec<Line>,
    /// The keys that are in no table.
    root: Vec<Line>,
    tables: Vec<Table>,
    /// What stands behind everything else: comments.
    tail: Vec<Line>,
}

/// A table of a policy file: `[ops]`, or one of several, such as a `[[test]]`.
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
    is_one_of_several: bool,
    /// Comments right before it.
    lead: Vec<String>,
    /// The comment behind its name.
    comment: Option<String>,
    lines: Vec<Line>,
}

/// A part of a table.
#[derive(Clone, Debug)]
enum Line {
    /// An empty line, between groups of others.
    Blank,
    /// Its text begins with `#`.
    Comment(String),
    Entry(Entry),
}

/// A key and its value.
#[derive(Clone, Debug)]
struct Entry {
    key: String,
    value: Value,
    /// The comment behind it, which begins with `#`.
    comment: Option<String>,
}

/// The value of a key.
#[derive(Clone, Debug)]
pub struct Value(Form);

#[derive(Clone, Debug)]
enum Form {
    /// A number or another word without quotes.
    Word(String),
    Text(String),
    Condition(Condition),
    List(Vec<Part>),
    /// `{ key = value }`.
    Fields(Vec<Line>),
}

/// A condition, or what a name of `[define]` stands for.
#[derive(Clone, Debug)]
struct Condition {
    /// The text that the places in `means` speak of.
    text: String,
    means: Meaning,
}

/// A part of a list.
#[derive(Clone, Debug)]
enum Part {
    Blank,
    Comment(String),
    Element {
        value: Value,
        /// It begins a line.
        is_first: bool,
        /// The comment behind it.
        comment: Option<String>,
    },
}

impl File {
    /// A file that begins with that comment, if it is one: a line of it for each of the text.
    pub fn new(comment: &str) -> Self {
        Self {
            head: comment.lines().map(|line| Line::Comment(comment_of(line))).collect(),
            ..Self::default()
        }
    }

    /// Adds an empty line to the comment that the file begins with.
    pub fn blank(&mut self) {
        self.head.push(Line::Blank);
    }

    /// Adds a key that is in no table.
    pub fn key(&mut self, key: &str, value: Value) {
        self.key_with(key, value, "");
    }

    /// Adds a comment behind it, unless that is empty.
    pub fn key_with(&mut self, key: &str, value: Value, comment: &str) {
        self.root.push(entry(key, value, comment));
    }

    /// Adds a table. What it has to say is in its lines: one without any is left out.
    pub fn table(&mut self, table: Table) {
        if !table.lines.is_empty() {
            self.tables.push(table);
        }
    }
}

impl Table {
    /// A table that a file has once.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_one_of_several: false,
            lead: Vec::new(),
            comment: None,
            lines: Vec::new(),
        }
    }

    /// One of several of that name.
    pub fn one_of(name: &str) -> Self {
        Self { is_one_of_several: true, ..Self::new(name) }
    }

    /// The comment behind its name.
    pub fn behind(mut self, comment: &str) -> Self {
        self.comment = Some(comment_of(comment));
        self
    }

    /// Adds a key.
    pub fn key(&mut self, key: &str, value: Value) {
        self.key_with(key, value, "");
    }

    /// Adds a comment behind it, unless that is empty.
    pub fn key_with(&mut self, key: &str, value: Value, comment: &str) {
        self.lines.push(entry(key, value, comment));
    }

    /// Adds a comment on lines of its own: a line of it for each of the text.
    pub fn comment(&mut self, text: &str) {
        self.lines.extend(text.lines().map(|line| Line::Comment(comment_of(line))));
    }

    /// Adds an empty line.
    pub fn blank(&mut self) {
        self.lines.push(Line::Blank);
    }

    /// Adds its keys as comments: what it might say as well.
    pub fn comment_out(&mut self, other: &Self) {
        let printed = print::lines(&other.lines);
        let lines = printed.iter().flat_map(|entry| entry.lines());
        self.lines.extend(lines.map(|line| Line::Comment(comment_of(line))));
    }
}

impl Value {
    /// A string.
    pub fn text(text: &str) -> Self {
        Self(Form::Text(text.to_owned()))
    }

    /// A number.
    pub fn number(number: impl Display) -> Self {
        Self(Form::Word(number.to_string()))
    }

    /// A condition, which brackets and spaces may be written in as is easiest; or `allow`, or `deny`.
    pub fn condition(text: &str) -> Self {
        let source = Arc::new(Source::new("", text));
        let (expr, errors) = parse::expression(&source, &Excerpt::new(&source, text, 0..text.len()));
        Self(match expr.filter(|_| errors.is_empty() && !matches!(text, "allow" | "deny")) {
            Some(expr) => Form::Condition(Condition { text: text.to_owned(), means: Meaning::One(expr) }),
            None => Form::Text(text.to_owned()),
        })
    }

    /// What a name of `[define]` stands for.
    pub fn definition(text: &str) -> Self {
        let source = Arc::new(Source::new("", text));
        Self(match parse::meaning(&source, &Excerpt::new(&source, text, 0..text.len())) {
            Ok(means) => Form::Condition(Condition { text: text.to_owned(), means }),
            Err(_) => Form::Text(text.to_owned()),
        })
    }

    /// Strings, in as few lines as they need.
    pub fn list<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let part = |text| Part::Element { value: Self::text(text), is_first: false, comment: None };
        Self(Form::List(texts.into_iter().map(part).collect()))
    }

    /// Strings, each on a line with a comment behind it.
    pub fn commented_list<T: AsRef<str>>(texts: impl IntoIterator<Item = (T, T)>) -> Self {
        let part = |(text, comment): (T, T)| Part::Element {
            value: Self::text(text.as_ref()),
            is_first: true,
            comment: Some(comment_of(comment.as_ref())),
        };
        Self(Form::List(texts.into_iter().map(part).collect()))
    }

    /// The `with` of a test: the values of fields.
    pub fn with(values: &[(&'static Field, FieldValue)]) -> Self {
        Self::fields(values.iter().map(|&(field, value)| {
            let text = field.write(value);
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            (field.name, if is_number { Self::number(text) } else { Self::condition(&text) })
        }))
    }

    /// The `setup` of a test.
    pub fn ring(ring: &SetupCall) -> Self {
        // A size that the program chooses says by itself that it does.
        let flags = ring.flags.difference(SetupFlags::CQSIZE);
        let entries = [("entries", Self::number(ring.entries))];
        let cq_entries = ring.cq_entries.map(|entries| ("cq_entries", Self::number(entries)));
        let flags =
            (!flags.is_empty()).then(|| ("flags", Self::list(flags.iter_names().map(|(name, _)| name))));
        Self::fields(entries.into_iter().chain(cq_entries).chain(flags))
    }

    /// `{ key = value }`.
    pub fn fields<'t>(fields: impl IntoIterator<Item = (&'t str, Self)>) -> Self {
        Self(Form::Fields(fields.into_iter().map(|(key, value)| entry(key, value, "")).collect()))
    }
}

/// A condition in its canonical form, `allow`, or `deny`.
#[cfg(any(test, feature = "properties"))]
pub(crate) fn on_one_line(text: &str) -> String {
    match Value::condition(text).0 {
        Form::Condition(condition) => condition.line(),
        _ => text.to_owned(),
    }
}

fn entry(key: &str, value: Value, comment: &str) -> Line {
    let comment = (!comment.is_empty()).then(|| comment_of(comment));
    Line::Entry(Entry { key: key.to_owned(), value, comment })
}

/// A text as a comment. Texts from outside cannot end it.
fn comment_of(text: &str) -> String {
    let text: String = text.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
    if text.is_empty() { "#".to_owned() } else { format!("# {}", text.trim_end()) }
}
