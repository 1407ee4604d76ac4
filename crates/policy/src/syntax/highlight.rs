//! The text of a policy in parts, each with what it is: for pages that show policies in colours.

use crate::data::field::FIELDS;
use crate::diagnostic::source::{Excerpt, Source};
use crate::syntax::lex::{self, TokenKind};
use std::ops::Range;
use std::sync::Arc;
use toml_parser::Raw;
use toml_parser::parser::{self, Event, EventKind};

/// What a part of a policy's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// A comment.
    Comment,
    /// The header of a table, with its brackets.
    Header,
    /// A key.
    Key,
    /// A string that is no condition, or the quotes around one.
    Text,
    /// `allow`, with its quotes where it is in a file.
    Allow,
    /// `deny`, with its quotes where it is in a file.
    Deny,
    /// A number, a date or a truth value.
    Number,
    /// A field of requests.
    Field,
    /// A constant, a name of `[define]`, or `in`.
    Name,
    /// An address or a network.
    Address,
    /// An operator or a bracket of a condition.
    Operator,
    /// Anything else, such as spaces.
    Other,
}

/// The parts of a policy file's text, in order and without gaps.
pub fn file(text: &str) -> Vec<(Range<usize>, Part)> {
    let source = Arc::new(Source::new("", text));
    let mut events: Vec<Event> = Vec::new();
    parser::parse_document(&toml_parser::Source::new(text).lex().into_vec(), &mut events, &mut ());
    let mut parts = Parts { source: &source, end: 0, list: Vec::new() };
    let mut place = Place::default();
    for event in events {
        let span = event.span().start()..event.span().end();
        let raw = Raw::new_unchecked(source.slice(&span), event.encoding(), event.span());
        place.follow(event.kind(), raw);
        match event.kind() {
            EventKind::StdTableOpen
            | EventKind::ArrayTableOpen
            | EventKind::StdTableClose
            | EventKind::ArrayTableClose => parts.push(span, Part::Header),
            EventKind::SimpleKey if place.is_header => parts.push(span, Part::Header),
            EventKind::SimpleKey => parts.push(span, Part::Key),
            EventKind::Comment => parts.push(span, Part::Comment),
            EventKind::Scalar if raw.as_str().starts_with(['"', '\'']) => {
                let mut value = String::new();
                let _ = raw.decode_scalar(&mut value, &mut ());
                parts.string(span, &value, &place);
            }
            EventKind::Scalar => parts.push(span, Part::Number),
            _ => {}
        }
    }
    parts.finish()
}

/// The parts of a rule: `allow`, `deny` or a condition.
pub fn rule(text: &str) -> Vec<(Range<usize>, Part)> {
    let source = Arc::new(Source::new("", text));
    let mut parts = Parts { source: &source, end: 0, list: Vec::new() };
    match word(text) {
        Some(part) => parts.push(0..text.len(), part),
        None => parts.tokens(&Excerpt::bare(text)),
    }
    parts.finish()
}

fn word(value: &str) -> Option<Part> {
    match value {
        "allow" => Some(Part::Allow),
        "deny" => Some(Part::Deny),
        _ => None,
    }
}

/// Where in a file something stands.
#[derive(Default)]
struct Place {
    is_header: bool,
    /// The table, of dotted keys the first part.
    table: String,
    /// The last key.
    key: String,
    /// What the next part of a key is one of.
    is_dotted: bool,
}

impl Place {
    fn follow(&mut self, kind: EventKind, raw: Raw<'_>) {
        match kind {
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                (self.is_header, self.is_dotted) = (true, false);
                self.table.clear();
            }
            EventKind::StdTableClose | EventKind::ArrayTableClose => self.is_header = false,
            EventKind::KeySep => self.is_dotted = true,
            EventKind::SimpleKey => {
                let mut key = String::new();
                raw.decode_key(&mut key, &mut ());
                if self.is_header {
                    if !self.is_dotted {
                        self.table.clone_from(&key);
                    }
                } else if self.is_dotted && self.table.is_empty() {
                    self.table = std::mem::take(&mut self.key);
                }
                (self.key, self.is_dotted) = (key, false);
            }
            _ => {}
        }
    }

    /// Whether strings are expressions here.
    fn holds_expressions(&self) -> bool {
        match self.table.as_str() {
            "ops" | "define" => true,
            "all" => self.key == "require",
            "never" | "always" => self.key == "when",
            "test" => !["name", "op", "expect", "register"].contains(&self.key.as_str()),
            _ => false,
        }
    }
}

struct Parts<'s> {
    source: &'s Arc<Source>,
    /// Where the last part ends.
    end: usize,
    list: Vec<(Range<usize>, Part)>,
}

impl Parts<'_> {
    fn push(&mut self, span: Range<usize>, part: Part) {
        if self.end < span.start {
            self.list.push((self.end..span.start, Part::Other));
        }
        if self.end < span.end {
            self.list.push((self.end.max(span.start)..span.end, part));
            self.end = span.end;
        }
    }

    /// A string with its quotes.
    fn string(&mut self, span: Range<usize>, value: &str, place: &Place) {
        if place.key != "name"
            && let Some(part) = word(value)
        {
            return self.push(span, part);
        }
        let excerpt = Excerpt::new(self.source, value, span.clone());
        // Where escapes make the two differ, nothing can be told of its parts.
        if place.holds_expressions() && excerpt.is_as_written() {
            let first = excerpt.span(&(0..0)).start;
            self.push(span.start..first, Part::Text);
            self.tokens(&excerpt);
            self.push_gap(first + value.len());
        }
        self.push(span, Part::Text);
    }

    /// What lies between the last part and here is nothing.
    fn push_gap(&mut self, end: usize) {
        self.push(end..end, Part::Other);
        self.end = self.end.max(end);
    }

    /// An expression.
    fn tokens(&mut self, excerpt: &Excerpt<'_>) {
        let (tokens, _) = lex::tokens(self.source, excerpt);
        for token in tokens {
            let text = &excerpt.text[token.span.clone()];
            let part = match token.kind {
                TokenKind::Name if FIELDS.iter().any(|field| field.name == text) => Part::Field,
                TokenKind::Name => Part::Name,
                TokenKind::Number(_) => Part::Number,
                TokenKind::Network(_) => Part::Address,
                TokenKind::Symbol(_) => Part::Operator,
                TokenKind::Bad | TokenKind::End => Part::Other,
            };
            self.push(excerpt.span(&token.span), part);
        }
    }

    fn finish(mut self) -> Vec<(Range<usize>, Part)> {
        self.push_gap(self.source.text.len());
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is not [`Part::Other`].
    fn shown(text: &str) -> Vec<(&str, Part)> {
        let parts = file(text);
        let mut at = 0;
        for (span, _) in &parts {
            assert_eq!(span.start, at, "a gap in {text}");
            at = span.end;
        }
        assert_eq!(at, text.len());
        parts
            .into_iter()
            .filter(|(_, part)| *part != Part::Other)
            .map(|(span, part)| (&text[span], part))
            .collect()
    }

    #[test]
    fn every_part_is_what_it_is() {
        let text =
            "version = 1 # one\n[ops]\nread = 'allow'\nconnect = \"addr in 10.0.0.0/8 && port == 443\"\n";
        use Part::{Address, Allow, Comment, Field, Header, Key, Name, Number, Operator, Text};
        let expected = [
            ("version", Key),
            ("1", Number),
            ("# one", Comment),
            ("[", Header),
            ("ops", Header),
            ("]", Header),
            ("read", Key),
            ("'allow'", Allow),
            ("connect", Key),
            ("\"", Text),
            ("addr", Field),
            ("in", Name),
            ("10.0.0.0/8", Address),
            ("&&", Operator),
            ("port", Field),
            ("==", Operator),
            ("443", Number),
            ("\"", Text),
        ];
        assert_eq!(shown(text), expected);
    }

    #[test]
    fn strings_are_expressions_where_the_language_says_so() {
        let is_expression = |text: &str| shown(text).contains(&("port", Part::Field));
        for text in [
            "[ops]\nconnect = '''\n  port == 1'''",
            "ops.connect = \"port == 1\"",
            "[[never]]\nop = \"connect\"\nwhen = \"port == 1\"",
            "[[test]]\nwith = { x = \"port\" }",
        ] {
            assert!(is_expression(text), "{text}");
        }
        for text in [
            "name = \"port == 1\"",
            "[[test]]\nname = \"port\"",
            "[ops]\nconnect = \"port\\u0020== 1\"",
            "[register]\nallow = [\"port\"]",
        ] {
            assert!(!is_expression(text), "{text}");
        }
    }

    #[test]
    fn rules_are_shown_without_quotes() {
        assert_eq!(rule("deny"), [(0..4, Part::Deny)]);
        let parts: Vec<_> = rule("port\n == 1").into_iter().map(|(_, part)| part).collect();
        assert_eq!(parts, [Part::Field, Part::Other, Part::Operator, Part::Other, Part::Number]);
    }

    proptest! {
        #[test]
        fn every_text_has_parts(text in any::<String>(), condition in "[ -~é\\n]{0,40}") {
            shown(&text);
            shown(&format!("[ops]\nconnect = \'\'\'{condition}\'\'\'"));
            for (span, _) in rule(&condition) {
                prop_assert!(condition.get(span).is_some());
            }
        }
    }

    #[test]
    fn what_is_no_policy_is_shown_all_the_same() {
        for text in
            ["", "\u{feff}", "[", "\"\"\"", "a = \"\\", "= = =\n[[x\n'''é", "[ops]\nread = \"é $ '\"\r\n"]
        {
            shown(text);
        }
    }
}
