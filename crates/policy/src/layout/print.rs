//! A [`File`] as text.

use super::rows::{self, Cell};
use super::{Condition, Entry, File, Form, Line, Part, Table, Value, WIDTH, order};
use std::fmt;

/// Longer lines do not say where the comments behind their neighbours begin.
const SHORT: usize = 50;

/// Conditions that are longer are read better a part a line.
const LINE: usize = 88;

/// How far the elements of lists are moved in.
const INDENT: usize = 2;

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut file = self.clone();
        order::file(&mut file);
        let (mut head, root) = (lines(&file.head), lines(&file.root));
        // What its author has set apart from the first key stays so.
        let is_apart = matches!(file.head.last(), Some(Line::Blank));
        let first = match is_apart || root.is_empty() {
            true => vec![head, root],
            false => {
                head.extend(root);
                vec![head]
            }
        };
        let others = file.tables.iter().map(table).chain([lines(&file.tail)]);
        let parts: Vec<_> = first.into_iter().chain(others).filter(|part| !part.is_empty()).collect();
        let parts: Vec<_> = parts.iter().map(|part| part.join("\n")).collect();
        writeln!(f, "{}", parts.join("\n\n"))
    }
}

fn table(table: &Table) -> Vec<String> {
    let (open, close) = if table.is_one_of_several { ("[[", "]]") } else { ("[", "]") };
    let header =
        Printed { code: format!("{open}{}{close}", key(&table.name)), comment: table.comment.as_deref() };
    table.lead.iter().cloned().chain(behind(&[header])).chain(lines(&table.lines)).collect()
}

/// Lines, without empty ones at their ends, and one where there are several.
pub(super) fn lines(lines: &[Line]) -> Vec<String> {
    let mut printed: Vec<String> = Vec::new();
    let mut rest = lines;
    while let [first, others @ ..] = rest {
        rest = others;
        match first {
            Line::Blank if printed.last().is_some_and(|last| !last.is_empty()) => printed.push(String::new()),
            Line::Blank => {}
            Line::Comment(comment) => printed.push(comment.clone()),
            Line::Entry(first) => {
                let more: Vec<_> = rest.iter().map_while(Line::entry).collect();
                rest = &rest[more.len()..];
                let run = [vec![first], more].concat();
                printed.extend(entries(&run));
            }
        }
    }
    printed.pop_if(|last| last.is_empty());
    printed
}

impl Line {
    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            _ => None,
        }
    }
}

/// Keys that follow each other: their `=` stand below each other.
fn entries<'e>(run: &[&'e Entry]) -> Vec<String> {
    let keys: Vec<_> = run.iter().map(|entry| key(&entry.key)).collect();
    let width = keys.iter().map(|key| key.chars().count()).max().unwrap_or(0);
    let printed = |(entry, key): (&&'e Entry, &String)| Printed {
        code: format!("{key:width$} = {}", value(&entry.value, key.chars().count() + 3)),
        comment: entry.comment.as_deref(),
    };
    behind(&run.iter().zip(&keys).map(printed).collect::<Vec<_>>())
}

/// What a comment stands behind, of several lines perhaps.
struct Printed<'c> {
    code: String,
    comment: Option<&'c str>,
}

impl Printed<'_> {
    /// Where it ends.
    fn width(&self) -> usize {
        self.code.lines().next_back().unwrap_or_default().chars().count()
    }

    /// Whether it says where comments of its neighbours begin.
    fn is_short(&self) -> bool {
        self.comment.is_some() && self.width() <= SHORT && !self.code.contains('\n')
    }
}

/// The lines with their comments: those behind short lines stand below each other.
fn behind(printed: &[Printed<'_>]) -> Vec<String> {
    let column = printed.iter().filter(|line| line.is_short()).map(Printed::width).max().unwrap_or(0);
    let line = |line: &Printed<'_>| match line.comment {
        Some(comment) => {
            let missing = if line.is_short() { column - line.width() } else { 0 };
            format!("{}{:missing$}  {comment}", line.code, "")
        }
        None => line.code.clone(),
    };
    printed.iter().map(line).collect()
}

/// A value that begins in that column, from 0.
fn value(value: &Value, column: usize) -> String {
    let length = |line: &str| line.chars().count();
    match &value.0 {
        Form::List(parts) if are_apart(parts) || column + length(&inline(value)) > WIDTH => list(parts),
        Form::Condition(condition) => {
            let line = inline(value);
            match condition.lines() {
                Some(lines) if condition.is_broken() || length(&line) > LINE => several(condition, &lines),
                _ => line,
            }
        }
        Form::Text(text) if is_verbatim(text) => format!("'''\n{text}'''"),
        _ => inline(value),
    }
}

/// Whether a list cannot stand on one line, or its author has broken it.
fn are_apart(parts: &[Part]) -> bool {
    parts.iter().skip(1).any(Part::breaks) || parts.iter().any(Part::is_commented)
}

/// Whether a text of several lines can stand as it is: it is no condition that can be read.
fn is_verbatim(text: &str) -> bool {
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    text.contains('\n') && !text.contains('\'') && text.chars().all(plain)
}

fn several(condition: &Condition, lines: &[String]) -> String {
    let lines = lines.join("\n");
    if condition.is_set() { format!("'''{lines}'''") } else { format!("'''\n{lines}\n'''") }
}

/// A value on one line.
fn inline(value: &Value) -> String {
    match &value.0 {
        Form::Word(word) => word.clone(),
        Form::Text(text) => quoted(text),
        Form::Condition(condition) => quoted(&condition.line()),
        Form::List(parts) => {
            let elements: Vec<_> = parts.iter().filter_map(Part::value).map(inline).collect();
            format!("[{}]", elements.join(", "))
        }
        Form::Fields(fields) => {
            let field = |entry: &Entry| format!("{} = {}", key(&entry.key), inline(&entry.value));
            let fields: Vec<_> = fields.iter().filter_map(Line::entry).map(field).collect();
            if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
        }
    }
}

impl Part {
    fn value(&self) -> Option<&Value> {
        match self {
            Self::Element { value, .. } => Some(value),
            _ => None,
        }
    }

    fn is_commented(&self) -> bool {
        matches!(self, Self::Comment(_) | Self::Element { comment: Some(_), .. })
    }

    /// Whether it cannot follow another one in its line.
    fn breaks(&self) -> bool {
        matches!(self, Self::Comment(_) | Self::Blank | Self::Element { is_first: true, .. })
    }
}

/// A list on several lines.
fn list(parts: &[Part]) -> String {
    let mut printed: Vec<String> = vec!["[".to_owned()];
    let mut rest = parts;
    while let [first, others @ ..] = rest {
        match first {
            Part::Blank if printed.last().is_some_and(|last| !last.is_empty() && last != "[") => {
                printed.push(String::new());
            }
            Part::Blank => {}
            Part::Comment(comment) => printed.push(format!("{:INDENT$}{comment}", "")),
            Part::Element { .. } => {
                let count = rest.iter().take_while(|part| part.value().is_some()).count();
                printed.extend(elements(&rest[..count]));
                rest = &rest[count..];
                continue;
            }
        }
        rest = others;
    }
    printed.pop_if(|last| last.is_empty());
    printed.push("]".to_owned());
    printed.join("\n")
}

/// Elements that follow each other, in rows: each ends where a comment stands.
fn elements(parts: &[Part]) -> Vec<String> {
    let mut printed = Vec::new();
    let mut row = Vec::new();
    for part in parts {
        let Part::Element { value, is_first, comment } = part else { continue };
        row.push(Cell { text: inline(value), is_first: *is_first });
        if comment.is_some() {
            printed.extend(uncommented(&mut row));
            if let Some(last) = printed.last_mut() {
                last.comment = comment.as_deref();
            }
        }
    }
    printed.extend(uncommented(&mut row));
    behind(&printed)
}

fn uncommented<'c>(row: &mut Vec<Cell>) -> impl Iterator<Item = Printed<'c>> + use<'c> {
    rows::of(row.drain(..), INDENT).into_iter().map(|code| Printed { code, comment: None })
}

/// A key, in quotes where it needs them.
fn key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(is_bare) { key.to_owned() } else { quoted(key) }
}

/// A text as a TOML string on one line: escapes are those of JSON, which leaves one character out.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
