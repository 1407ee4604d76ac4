//! Diagnostics as text: the message, the lines of the file with places underlined, the notes.

use crate::diagnostic::source::Source;
use crate::diagnostic::{Advice, Diagnostic, Label, Severity};
use anstyle::{AnsiColor, Style};
use std::fmt::Write;
use std::sync::Arc;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const FRAME: Style = AnsiColor::Blue.on_default().bold();
const SECOND: Style = AnsiColor::Blue.on_default();
const HELP: Style = AnsiColor::Cyan.on_default().bold();
const STRONG: Style = Style::new().bold();

/// Longer lines of the file are shown in part, around the place.
const WIDTH: usize = 120;

/// More diagnostics than this are only counted.
const MOST: usize = 100;

/// Every diagnostic, with an empty line between two and a count at the end.
pub(crate) fn all(list: &[Diagnostic], coloured: bool) -> String {
    let mut page = Page { text: String::new(), coloured };
    for diagnostic in list.iter().take(MOST) {
        page.diagnostic(diagnostic);
        page.text.push('\n');
    }
    let of = |severity| list.iter().filter(|diagnostic| diagnostic.code.severity() == severity).count();
    let counts =
        [Severity::Error, Severity::Warning].map(|severity| match (of(severity), severity.as_str()) {
            (0, _) => None,
            (1, word) => Some(format!("1 {word}")),
            (n, word) => Some(format!("{n} {word}s")),
        });
    let shown = if list.len() > MOST { format!(", the first {MOST} of them shown") } else { String::new() };
    let counts = counts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let worst = list.iter().map(|diagnostic| diagnostic.code.severity()).min();
    page.styled(style(worst.unwrap_or(Severity::Error)), &format!("{counts}{shown}"));
    page.text.push('\n');
    page.text
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Error => ERROR,
        Severity::Warning => WARNING,
    }
}

struct Page {
    text: String,
    coloured: bool,
}

impl Page {
    fn styled(&mut self, style: Style, text: &str) {
        if self.coloured {
            // Writing to a String cannot fail.
            let _ = write!(self.text, "{style}{text}{style:#}");
        } else {
            self.text.push_str(text);
        }
    }

    fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        let (line, column) = diagnostic.place();
        let severity = diagnostic.code.severity();
        self.styled(style(severity), &format!("{}[{}]", severity.as_str(), diagnostic.code));
        self.styled(STRONG, &format!(": {}", printable(&diagnostic.message)));

        // The file of the primary label first, then every other one that a label speaks of.
        let mut files: Vec<&Arc<Source>> = Vec::new();
        for label in labels(diagnostic) {
            if !files.iter().any(|file| Arc::ptr_eq(file, &label.source)) {
                files.push(&label.source);
            }
        }
        let last = labels(diagnostic).map(|label| label.line()).max();
        let gutter = last.map_or(1, |line| line.to_string().len());

        self.text.push('\n');
        for (index, file) in files.into_iter().enumerate() {
            self.text.push_str(&" ".repeat(gutter));
            let (arrow, place) = match index {
                0 => ("--> ", format!("{line}:{column}")),
                _ => ("::: ", of_file(diagnostic, file).map_or(1, |label| label.line()).to_string()),
            };
            self.styled(FRAME, arrow);
            let _ = writeln!(self.text, "{}:{place}", printable(&file.name));
            self.frame(gutter, "");
            self.text.push('\n');
            self.lines(diagnostic, file, gutter);
        }
        for (kind, text) in &diagnostic.notes {
            self.text.push_str(&" ".repeat(gutter + 1));
            self.styled(FRAME, "= ");
            let (style, name) = match kind {
                Advice::Expected => (STRONG, "expected"),
                Advice::Note => (STRONG, "note"),
                Advice::Help => (HELP, "help"),
            };
            self.styled(style, name);
            let _ = writeln!(self.text, ": {}", printable(text));
        }
    }

    /// The lines of one file that labels speak of.
    fn lines(&mut self, diagnostic: &Diagnostic, file: &Arc<Source>, gutter: usize) {
        let mut lines: Vec<_> = labels(diagnostic)
            .filter(|label| Arc::ptr_eq(&label.source, file))
            .map(|label| label.line())
            .collect();
        lines.sort_unstable();
        lines.dedup();
        let mut last = None;
        for number in lines {
            if last.is_some_and(|last| last + 1 < number) {
                self.styled(FRAME, "...");
                self.text.push('\n');
            }
            self.excerpt(diagnostic, file, number, gutter);
            last = Some(number);
        }
    }

    /// The gutter of a line: its number, or nothing, and the bar.
    fn frame(&mut self, gutter: usize, number: &str) {
        self.styled(FRAME, &format!("{number:>gutter$} |"));
    }

    /// One line of the file with the labels in it underlined, the primary one first.
    fn excerpt(&mut self, diagnostic: &Diagnostic, file: &Arc<Source>, number: usize, gutter: usize) {
        let (line, start) = file.line(number);
        let labels: Vec<(&Label, bool)> = labels(diagnostic)
            .enumerate()
            .map(|(index, label)| (label, index == 0))
            .filter(|(label, _)| Arc::ptr_eq(&label.source, file) && label.line() == number)
            .collect();
        let focus = labels.first().map_or(0, |(label, _)| columns(line, label.span.start - start));
        let skip = if columns(line, line.len()) <= WIDTH { 0 } else { focus.saturating_sub(WIDTH / 3) };

        let shown: String = printable(line).chars().skip(skip).take(WIDTH).collect();
        let head = if skip > 0 { "..." } else { "" };
        let tail = if columns(line, line.len()) > skip + WIDTH { "..." } else { "" };
        self.frame(gutter, &number.to_string());
        let row = format!(" {head}{shown}{tail}");
        self.text.push_str(row.trim_end());
        self.text.push('\n');

        for (label, primary) in labels {
            let from = columns(line, label.span.start - start);
            let to = columns(line, (label.span.end - start).min(line.len())).min(skip + WIDTH);
            let Some(indent) = from.checked_sub(skip).filter(|&indent| indent <= WIDTH) else { continue };
            let (style, mark) =
                if primary { (style(diagnostic.code.severity()), "^") } else { (SECOND, "-") };
            self.frame(gutter, "");
            self.text.push_str(&" ".repeat(1 + head.len() + indent));
            let mut row = mark.repeat(to.saturating_sub(from).max(1));
            if !label.text.is_empty() {
                row.push(' ');
                row.push_str(&printable(&label.text));
            }
            self.styled(style, &row);
            self.text.push('\n');
        }
    }
}

impl Label {
    /// The line that it begins in, from 1.
    fn line(&self) -> usize {
        self.source.place(self.span.start).0
    }
}

/// The labels, the primary one first.
fn labels(diagnostic: &Diagnostic) -> impl Iterator<Item = &Label> {
    std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary)
}

/// The first label that speaks of a file.
fn of_file<'d>(diagnostic: &'d Diagnostic, file: &Arc<Source>) -> Option<&'d Label> {
    labels(diagnostic).find(|label| Arc::ptr_eq(&label.source, file))
}

/// How many columns the first `bytes` bytes of a line take as [`printable`] shows them.
fn columns(line: &str, bytes: usize) -> usize {
    line.char_indices().take_while(|(at, _)| *at < bytes).map(|(_, c)| width(c)).sum()
}

fn width(c: char) -> usize {
    if c == '\t' { 4 } else { 1 }
}

/// Text without anything that a terminal would act on: a policy may come from strangers.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("    "),
            // Direction overrides can make an expression look like another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push(char::REPLACEMENT_CHARACTER),
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}
