//! The text of a policy to a [`File`].
//!
//! Everything that TOML has ways to say is said in one: tables by headers, fields in braces. Comments belong to what
//! they stand before or behind; those that an empty line follows, to what comes before them.

use super::{Entry, File, Form, Line, Part, Table, Value, order};
use toml_parser::decoder::ScalarKind;
use toml_parser::parser::{self, Event, EventKind};
use toml_parser::{Raw, Source};

/// The file of a text that is TOML: of another one as much as can be told.
pub(super) fn file(text: &str) -> File {
    let source = Source::new(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut events: Vec<Event> = Vec::new();
    parser::parse_document(&source.lex().into_vec(), &mut events, &mut ());
    events.retain(|event| event.kind() != EventKind::Whitespace);
    let mut reader = Reader { source, events, at: 0 };
    let mut building = Building::default();
    while let Some(piece) = reader.piece() {
        building.add(piece);
    }
    building.finish()
}

/// What stands on lines of its own.
enum Piece {
    Blank,
    Comment(String),
    Header { path: Vec<String>, is_one_of_several: bool, comment: Option<String> },
    Entry { path: Vec<String>, value: Value, comment: Option<String> },
}

struct Reader<'t> {
    source: Source<'t>,
    events: Vec<Event>,
    at: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<EventKind> {
        self.events.get(self.at).map(Event::kind)
    }

    fn next(&mut self) -> Option<Event> {
        let event = self.events.get(self.at).copied();
        self.at += 1;
        event
    }

    fn raw(&self, event: Event) -> Raw<'t> {
        let span = event.span();
        let text = self.source.input().get(span.start()..span.end()).unwrap_or_default();
        Raw::new_unchecked(text, event.encoding(), span)
    }

    /// Takes line ends, as many as there are.
    fn newlines(&mut self) -> usize {
        let start = self.at;
        while self.peek() == Some(EventKind::Newline) {
            self.at += 1;
        }
        self.at - start
    }

    fn comment(&mut self) -> Option<String> {
        if self.peek() != Some(EventKind::Comment) {
            return None;
        }
        self.next().map(|event| self.raw(event).as_str().trim_end().to_owned())
    }

    fn piece(&mut self) -> Option<Piece> {
        // A line that holds something ends by itself: what is left are empty ones.
        if self.newlines() > 0 {
            return Some(Piece::Blank);
        }
        let piece = match self.peek()? {
            EventKind::Comment => Piece::Comment(self.comment()?),
            open @ (EventKind::StdTableOpen | EventKind::ArrayTableOpen) => {
                self.at += 1;
                let path = self.path();
                self.at += 1;
                let is_one_of_several = open == EventKind::ArrayTableOpen;
                Piece::Header { path, is_one_of_several, comment: self.comment() }
            }
            EventKind::SimpleKey => {
                let (path, value) = self.entry();
                Piece::Entry { path, value, comment: self.comment() }
            }
            _ => {
                self.at += 1;
                return self.piece();
            }
        };
        if self.peek() == Some(EventKind::Newline) {
            self.at += 1;
        }
        Some(piece)
    }

    fn path(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        while let Some(EventKind::SimpleKey | EventKind::KeySep) = self.peek() {
            let Some(event) = self.next().filter(|event| event.kind() == EventKind::SimpleKey) else {
                continue;
            };
            let mut key = String::new();
            self.raw(event).decode_key(&mut key, &mut ());
            path.push(key);
        }
        path
    }

    fn entry(&mut self) -> (Vec<String>, Value) {
        let path = self.path();
        if self.peek() == Some(EventKind::KeyValSep) {
            self.at += 1;
        }
        (path, self.value())
    }

    fn value(&mut self) -> Value {
        Value(match self.next() {
            Some(event) if event.kind() == EventKind::Scalar => self.scalar(event),
            Some(event) if event.kind() == EventKind::ArrayOpen => Form::List(self.list()),
            Some(event) if event.kind() == EventKind::InlineTableOpen => Form::Fields(self.fields()),
            _ => Form::Word(String::new()),
        })
    }

    fn scalar(&self, event: Event) -> Form {
        let raw = self.raw(event);
        let mut text = String::new();
        match raw.decode_scalar(&mut text, &mut ()) {
            ScalarKind::String => Form::Text(text),
            ScalarKind::Integer(_) => Form::Word(raw.as_str().trim_start_matches('+').to_ascii_lowercase()),
            _ => Form::Word(raw.as_str().to_owned()),
        }
    }

    fn list(&mut self) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let mut newlines = 0;
        while let Some(kind) = self.peek() {
            match kind {
                EventKind::ArrayClose => {
                    self.at += 1;
                    parts.pop_if(|last| matches!(last, Part::Blank));
                    break;
                }
                EventKind::Newline => {
                    newlines += self.newlines();
                    if newlines > 1 && !parts.is_empty() {
                        parts.push(Part::Blank);
                    }
                }
                EventKind::Comment => {
                    let Some(text) = self.comment() else { continue };
                    match parts.iter_mut().rev().find(|part| !matches!(part, Part::Blank)) {
                        Some(Part::Element { comment: comment @ None, .. }) if newlines == 0 => {
                            *comment = Some(text);
                        }
                        _ => parts.push(Part::Comment(text)),
                    }
                    newlines = 0;
                    // What follows begins a line in any case.
                    if self.peek() == Some(EventKind::Newline) {
                        self.at += 1;
                        newlines = 1;
                    }
                }
                EventKind::Scalar | EventKind::ArrayOpen | EventKind::InlineTableOpen => {
                    let mut value = self.value();
                    let mut comments = Vec::new();
                    take_comments(&mut value, &mut comments);
                    parts.extend(comments.into_iter().map(Part::Comment));
                    parts.push(Part::Element { value, is_first: newlines > 0, comment: None });
                    newlines = 0;
                }
                _ => self.at += 1,
            }
        }
        parts
    }

    fn fields(&mut self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let mut is_behind = false;
        while let Some(kind) = self.peek() {
            match kind {
                EventKind::InlineTableClose => {
                    self.at += 1;
                    break;
                }
                EventKind::Comment => {
                    let Some(text) = self.comment() else { continue };
                    match lines.last_mut() {
                        Some(Line::Entry(Entry { comment: comment @ None, .. })) if is_behind => {
                            *comment = Some(text);
                        }
                        _ => lines.push(Line::Comment(text)),
                    }
                }
                EventKind::SimpleKey => {
                    let (path, value) = self.entry();
                    insert(&mut lines, &path, value, None);
                    is_behind = true;
                }
                EventKind::Newline => {
                    self.newlines();
                    is_behind = false;
                }
                _ => self.at += 1,
            }
        }
        lines
    }
}

/// Puts a value below the keys of a path.
fn insert(lines: &mut Vec<Line>, path: &[String], value: Value, comment: Option<String>) {
    let [key, rest @ ..] = path else { return };
    if rest.is_empty() {
        return lines.push(Line::Entry(Entry { key: key.clone(), value, comment }));
    }
    insert(below(lines, key), rest, value, comment);
}

/// The fields of a key.
fn below<'l>(lines: &'l mut Vec<Line>, key: &str) -> &'l mut Vec<Line> {
    let has_fields = |line: &Line| matches!(line, Line::Entry(Entry { key: other, value: Value(Form::Fields(_)), .. }) if other == key);
    let at = lines.iter().position(has_fields).unwrap_or_else(|| {
        lines.push(Line::Entry(Entry {
            key: key.to_owned(),
            value: Value(Form::Fields(Vec::new())),
            comment: None,
        }));
        lines.len() - 1
    });
    match &mut lines[at] {
        Line::Entry(Entry { value: Value(Form::Fields(fields)), .. }) => fields,
        _ => unreachable!("it has fields"),
    }
}

/// Takes the comments out of what stands on one line.
fn take_comments(value: &mut Value, comments: &mut Vec<String>) {
    match &mut value.0 {
        Form::Fields(lines) => {
            for line in lines.iter_mut() {
                match line {
                    Line::Comment(comment) => comments.push(std::mem::take(comment)),
                    Line::Entry(entry) => {
                        take_comments(&mut entry.value, comments);
                        comments.extend(entry.comment.take());
                    }
                    Line::Blank => {}
                }
            }
            lines.retain(|line| matches!(line, Line::Entry(_)));
        }
        Form::List(parts) => {
            for part in parts.iter_mut() {
                match part {
                    Part::Comment(comment) => comments.push(std::mem::take(comment)),
                    Part::Element { value, comment, is_first } => {
                        take_comments(value, comments);
                        comments.extend(comment.take());
                        *is_first = false;
                    }
                    Part::Blank => {}
                }
            }
            parts.retain(|part| matches!(part, Part::Element { .. }));
        }
        _ => {}
    }
}

/// A file of which the first pieces are known.
#[derive(Default)]
struct Building {
    file: File,
    /// Comments and empty lines, since what they may belong to.
    waiting: Vec<Line>,
    /// The table that a header has opened last, and the keys below it.
    open: Option<(usize, Vec<String>)>,
    /// A key or a table has been seen.
    has_begun: bool,
}

impl Building {
    fn add(&mut self, piece: Piece) {
        match piece {
            Piece::Blank if !self.has_begun && self.waiting.is_empty() => {}
            Piece::Blank => self.waiting.push(Line::Blank),
            Piece::Comment(text) => self.waiting.push(Line::Comment(text)),
            Piece::Header { path, is_one_of_several, comment } => {
                let lead = self.adjacent();
                self.leave();
                self.header(path, is_one_of_several, lead, comment);
            }
            Piece::Entry { path, value, comment } => self.entry(path, value, comment),
        }
    }

    /// The comments right before what follows, which are no longer waiting.
    fn adjacent(&mut self) -> Vec<String> {
        let blank = self.waiting.iter().rposition(|line| matches!(line, Line::Blank));
        let lines = self.waiting.split_off(blank.map_or(0, |blank| blank + 1));
        lines
            .into_iter()
            .filter_map(|line| if let Line::Comment(text) = line { Some(text) } else { None })
            .collect()
    }

    /// Leaves what is waiting to what came before it.
    fn leave(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        match (&self.open, std::mem::replace(&mut self.has_begun, true)) {
            (_, false) => self.file.head = waiting,
            (None, true) => self.file.root.extend(waiting),
            (Some((table, _)), true) => self.file.tables[*table].lines.extend(waiting),
        }
    }

    fn header(
        &mut self,
        path: Vec<String>,
        is_one_of_several: bool,
        lead: Vec<String>,
        comment: Option<String>,
    ) {
        let [name, below @ ..] = &path[..] else { return };
        let last = self.file.tables.iter().rposition(|table| table.name == *name);
        match last {
            Some(table) if !below.is_empty() => {
                let lines = &mut self.file.tables[table].lines;
                lines.extend(lead.into_iter().chain(comment).map(Line::Comment));
                insert_nothing(lines, below);
                self.open = Some((table, below.to_vec()));
            }
            _ => {
                let table = Table { is_one_of_several, lead, comment, ..Table::new(name) };
                self.file.tables.push(table);
                self.open = Some((self.file.tables.len() - 1, below.to_vec()));
            }
        }
    }

    fn entry(&mut self, path: Vec<String>, value: Value, comment: Option<String>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            // The first comment is about the file, what follows it about the key.
            let own = self.adjacent();
            match self.waiting.is_empty() {
                true => self.file.head = own.into_iter().map(Line::Comment).collect(),
                false => {
                    self.file.head = std::mem::take(&mut self.waiting);
                    self.waiting = own.into_iter().map(Line::Comment).collect();
                }
            }
        }
        let waiting = std::mem::take(&mut self.waiting);
        if let Some((table, below)) = &self.open {
            let lines = &mut self.file.tables[*table].lines;
            lines.extend(waiting);
            return insert(lines, &[&below[..], &path].concat(), value, comment);
        }
        match (&path[..], value.0) {
            ([name], Form::List(parts)) if order::is_one_of_several(name) && all_fields(&parts) => {
                self.several(name, waiting, parts, comment);
            }
            ([name], Form::Fields(fields)) if order::is_table(name) => {
                let lines = self.table(name, waiting, comment);
                lines.extend(fields);
            }
            ([name, below @ ..], value) if order::is_table(name) && !below.is_empty() => {
                let lines = self.table(name, waiting, None);
                insert(lines, below, Value(value), comment);
            }
            (_, value) => {
                self.file.root.extend(waiting);
                insert(&mut self.file.root, &path, Value(value), comment);
            }
        }
    }

    /// The lines of a table that is written without a header.
    fn table(&mut self, name: &str, waiting: Vec<Line>, comment: Option<String>) -> &mut Vec<Line> {
        let at = self.file.tables.iter().position(|table| table.name == name).unwrap_or_else(|| {
            self.file.tables.push(Table::new(name));
            self.file.tables.len() - 1
        });
        let lines = &mut self.file.tables[at].lines;
        lines.extend(waiting);
        lines.extend(comment.map(Line::Comment));
        lines
    }

    /// Tables that are written as a list.
    fn several(&mut self, name: &str, waiting: Vec<Line>, parts: Vec<Part>, comment: Option<String>) {
        let comment_of = |line| if let Line::Comment(text) = line { Some(text) } else { None };
        let mut lead: Vec<_> = waiting.into_iter().filter_map(comment_of).chain(comment).collect();
        for part in parts {
            match part {
                Part::Blank => {}
                Part::Comment(text) => lead.push(text),
                Part::Element { value, comment, .. } => {
                    let Form::Fields(lines) = value.0 else { continue };
                    let lead = std::mem::take(&mut lead);
                    self.file.tables.push(Table { lead, comment, lines, ..Table::one_of(name) });
                }
            }
        }
        self.waiting.extend(lead.into_iter().map(Line::Comment));
    }

    fn finish(mut self) -> File {
        // What an empty line sets apart from the end is about the file.
        let blank = self.waiting.iter().position(|line| matches!(line, Line::Blank));
        let apart = blank.map(|blank| self.waiting.split_off(blank)).unwrap_or_default();
        self.leave();
        self.file.tail = apart;
        typed("", &mut self.file.root);
        for table in &mut self.file.tables {
            typed(&table.name, &mut table.lines);
        }
        self.file
    }
}

/// Makes sure that a key has fields.
fn insert_nothing(lines: &mut Vec<Line>, path: &[String]) {
    if let [key, rest @ ..] = path {
        insert_nothing(below(lines, key), rest);
    }
}

fn all_fields(parts: &[Part]) -> bool {
    parts.iter().all(
        |part| !matches!(part, Part::Element { value: Value(form), .. } if !matches!(form, Form::Fields(_))),
    )
}

/// Makes conditions of the texts that are conditions, and moves comments out of what stands on one line.
fn typed(table: &str, lines: &mut Vec<Line>) {
    let mut typed = Vec::with_capacity(lines.len());
    for mut line in lines.drain(..) {
        if let Line::Entry(Entry { key, value, .. }) = &mut line {
            if let Form::Fields(_) = value.0 {
                let mut comments = Vec::new();
                take_comments(value, &mut comments);
                typed.extend(comments.into_iter().map(Line::Comment));
            }
            condition(table, key, value);
        }
        typed.push(line);
    }
    *lines = typed;
}

fn condition(table: &str, key: &str, value: &mut Value) {
    match (&mut value.0, table) {
        (Form::Text(text), "ops") => *value = Value::condition(text),
        (Form::Text(text), "all") if key == "require" => *value = Value::condition(text),
        (Form::Text(text), "never" | "always") if key == "when" => *value = Value::condition(text),
        (Form::Text(text), "define") => *value = Value::definition(text),
        (Form::Fields(fields), "test") if key == "with" => {
            for line in fields {
                if let Line::Entry(Entry { value, .. }) = line
                    && let Form::Text(text) = &value.0
                {
                    *value = Value::condition(text);
                }
            }
        }
        _ => {}
    }
}
