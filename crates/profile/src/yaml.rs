//! YAML as JSON, with every value in the line that it has in the file: then there is one reader, and its
//! places are those of the file.
//!
//! What YAML has beyond JSON is refused: anchors, tags, and keys that are not text. Plain words are what
//! YAML 1.2 makes of them.

use crate::ReadError;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};
use std::fmt::Write;

/// How deep values may nest: readers are recursive.
const DEPTH: usize = 64;

/// The documents of a text as JSON: each by itself, or several as the items of a list.
///
/// # Errors
/// It is no YAML, or more than JSON can say.
pub(crate) fn as_json(text: &str) -> Result<String, ReadError> {
    let mut writer = Writer { json: String::new(), line: 1, open: Vec::new() };
    let mut documents = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event?;
        match event {
            Event::DocumentStart(_) => writer = Writer { json: String::new(), line: 1, open: Vec::new() },
            Event::DocumentEnd => documents.push(std::mem::take(&mut writer.json)),
            event => writer.event(event, &span.start)?,
        }
    }
    // `---` at the end begins one that says nothing.
    documents.retain(|document| document.trim() != "null" && !document.trim().is_empty());
    match documents.len() {
        0 => return Err(ReadError::whole("this is empty")),
        1 => return Ok(documents.remove(0)),
        _ => {}
    }
    let mut list = String::from("{\"kind\": \"List\", \"items\": [");
    for (index, document) in documents.iter().enumerate() {
        // The lines before a document are written by those before it.
        let lines = list.matches('\n').count();
        let document = document.strip_prefix(&"\n".repeat(lines)).unwrap_or(document);
        list.push_str(if index == 0 { "" } else { "," });
        list.push_str(document);
    }
    list.push_str("]}");
    Ok(list)
}

/// An error in the JSON of a text, where it is in the text: lines are the same, columns are not.
pub(crate) fn placed(error: ReadError, text: &str) -> ReadError {
    match error {
        ReadError::Place { line, message, .. } => {
            let line = line.min(text.lines().count().max(1));
            let written = text.lines().nth(line - 1).unwrap_or_default();
            let column = 1 + written.chars().take_while(|letter| *letter == ' ').count();
            ReadError::Place { line, column, message }
        }
        other => other,
    }
}

/// An error in a text, which the parser may say is in the line behind its last one: it is at the end of that then.
pub(crate) fn within(error: ReadError, text: &str) -> ReadError {
    let (lines, last) = text.split('\n').fold((0, ""), |(lines, _), last| (lines + 1, last));
    match error {
        ReadError::Place { line, message, .. } if line > lines => {
            ReadError::Place { line: lines, column: last.chars().count() + 1, message }
        }
        other => other,
    }
}

impl From<ScanError> for ReadError {
    fn from(error: ScanError) -> Self {
        fault(error.marker(), error.info())
    }
}

fn fault(at: &Marker, message: &str) -> ReadError {
    ReadError::Place { line: at.line().max(1), column: at.col() + 1, message: message.to_owned() }
}

/// What is open around the next value.
enum Open {
    /// A sequence, and whether something is in it.
    Sequence(bool),
    /// A mapping, how much is in it: keys and values.
    Mapping(usize),
}

struct Writer {
    json: String,
    line: usize,
    open: Vec<Open>,
}

impl Writer {
    fn event(&mut self, event: Event<'_>, at: &Marker) -> Result<(), ReadError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    return Err(fault(at, "anchors and tags are not read: write the value out"));
                }
                let is_key = self.before(at);
                match style {
                    ScalarStyle::Plain if !is_key => self.plain(&text),
                    _ => self.string(&text),
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin('[', Open::Sequence(false), anchor, tag.is_some(), at)?
            }
            Event::MappingStart(anchor, tag) => {
                self.begin('{', Open::Mapping(0), anchor, tag.is_some(), at)?
            }
            Event::SequenceEnd => self.end(']'),
            Event::MappingEnd => self.end('}'),
            Event::Alias(_) => return Err(fault(at, "aliases are not read: write the value out")),
            _ => {}
        }
        Ok(())
    }

    /// Writes what stands between values; whether a key comes next.
    fn before(&mut self, at: &Marker) -> bool {
        let (between, is_key) = match self.open.last_mut() {
            None => ("", false),
            Some(Open::Sequence(filled)) => (if std::mem::replace(filled, true) { "," } else { "" }, false),
            Some(Open::Mapping(count)) => {
                let before = *count;
                *count += 1;
                match (before, before % 2) {
                    (0, _) => ("", true),
                    (_, 0) => (",", true),
                    _ => (":", false),
                }
            }
        };
        self.json.push_str(between);
        while self.line < at.line() {
            self.json.push('\n');
            self.line += 1;
        }
        is_key
    }

    fn begin(
        &mut self,
        bracket: char,
        open: Open,
        anchor: usize,
        tagged: bool,
        at: &Marker,
    ) -> Result<(), ReadError> {
        if anchor != 0 || tagged {
            return Err(fault(at, "anchors and tags are not read: write the value out"));
        }
        if self.before(at) {
            return Err(fault(at, "a key is text"));
        }
        if self.open.len() == DEPTH {
            return Err(fault(at, "this is nested too deeply"));
        }
        self.json.push(bracket);
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self, bracket: char) {
        self.open.pop();
        self.json.push(bracket);
    }

    /// A word without quotes. Numbers that begin with 0, which YAML 1.1 and 1.2 read differently, are left
    /// words, which no number of a profile is.
    fn plain(&mut self, text: &str) {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let number = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
            (Some(digits), _) => u64::from_str_radix(digits, 16).ok().map(|number| number.to_string()),
            (_, Some(digits)) => u64::from_str_radix(digits, 8).ok().map(|number| number.to_string()),
            _ => {
                let is_decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                (is_decimal && (digits == "0" || !digits.starts_with('0'))).then(|| text.to_owned())
            }
        };
        match (number, text) {
            (Some(number), _) => self.json.push_str(&number),
            (_, "" | "~" | "null" | "Null" | "NULL") => self.json.push_str("null"),
            (_, "true" | "True" | "TRUE") => self.json.push_str("true"),
            (_, "false" | "False" | "FALSE") => self.json.push_str("false"),
            _ => self.string(text),
        }
    }

    fn string(&mut self, text: &str) {
        self.json.push('"');
        for letter in text.chars() {
            match letter {
                '"' | '\\' => self.json.extend(['\\', letter]),
                letter if letter.is_control() && (letter as u32) < 0x10000 => {
                    write!(self.json, "\\u{:04x}", letter as u32).expect("a String takes everything");
                }
                letter => self.json.push(letter),
            }
        }
        self.json.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<serde_json::Value, (usize, String)> {
        match as_json(text) {
            Ok(json) => Ok(serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))),
            Err(ReadError::Place { line, message, .. }) => Err((line, message)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn values_are_those_of_yaml() {
        let text =
            "# c\na: 1\nb:\n- 0x10\n- \"1\"\n- no\n- ~\n- 010\n- -1\nc: {d: [], e: true}\nf: |\n  g\"\n";
        let expected = serde_json::json!({"a": 1, "b": [16, "1", "no", null, "010", -1],
            "c": {"d": [], "e": true}, "f": "g\"\n"});
        assert_eq!(json(text), Ok(expected));
        assert_eq!(json("---\na: 1\n---\n"), Ok(serde_json::json!({"a": 1})));
        let two = serde_json::json!({"kind": "List", "items": [{"a": 1}, {"a": 2}]});
        assert_eq!(json("a: 1\n---\na: 2\n"), Ok(two));
    }

    #[test]
    fn what_is_not_closed_is_so_at_the_end() {
        for (text, place) in [("a:\n- [xö", (2, 6)), ("a:\n- [x\n", (3, 1))] {
            let error = crate::Profile::read(text, None).map(|_| ()).expect_err("no YAML");
            let ReadError::Place { line, column, .. } = error else { panic!("{error}") };
            assert_eq!((line, column), place, "{text:?}");
        }
    }

    #[test]
    fn values_keep_their_lines() {
        let json = as_json("# c\n\na: 1\nb:\n- x\n---\na: 2\n").expect("YAML");
        let line = |part: &str| json.lines().position(|line| line.contains(part)).map(|line| line + 1);
        assert_eq!([line("\"a\":1"), line("\"x\""), line("\"a\":2")], [Some(3), Some(5), Some(7)], "{json}");
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        for (text, line) in
            [("a: &x 1\nb: *x\n", 1), ("\na: !!str 1\n", 2), ("a: [\n", 2), ("? [a]\n: b\n", 1)]
        {
            let (at, message) = json(text).expect_err(text);
            assert!(at.abs_diff(line) <= 1, "{text}: {at} {message}");
        }
        assert!(json(&"[".repeat(1000)).is_err());
    }
}
