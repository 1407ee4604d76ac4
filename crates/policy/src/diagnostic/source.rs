//! The text of a policy file and places in it.

use std::ops::Range;

/// A range of bytes in a [`Source`].
pub(crate) type Span = Range<usize>;

/// One policy file: its name, as diagnostics print it, and its text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
    /// The byte at which each line starts; line 1 is at index 0.
    line_starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.to_owned(), text: text.to_owned(), line_starts }
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub(crate) fn place(&self, byte: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|&start| start <= byte);
        let start = self.line_starts[line - 1];
        let before = self.text.get(start..byte.min(self.text.len())).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The byte at a line and column, both from 1.
    pub(crate) fn byte(&self, line: usize, column: usize) -> Option<usize> {
        let start = *self.line_starts.get(line.checked_sub(1)?)?;
        let (text, _) = self.line(line);
        let at = text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(column.checked_sub(1)?)?;
        Some(start + at)
    }

    /// The text of a line, from 1, without its end, and the byte at which it starts.
    pub(crate) fn line(&self, line: usize) -> (&str, usize) {
        let start = self.line_starts[line - 1];
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        (self.text[start..end].trim_end_matches(['\n', '\r']), start)
    }

    /// The lines, each with its place; lines end by a newline alone.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, Span)> {
        let mut next = 0;
        self.text.lines().map(move |line| {
            let span = next..next + line.len();
            next = span.end + 1;
            (line, span)
        })
    }

    /// The text of a span, empty where the span is not one.
    pub(crate) fn slice(&self, span: &Span) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }
}

/// The text of a TOML string as an expression, and where each part of it stands in the file.
#[derive(Debug)]
pub(crate) struct Excerpt<'s> {
    pub(crate) text: &'s str,
    /// The string with its quotes.
    whole: Span,
    /// The first byte of `text` in the file; `None` where escapes make the two differ.
    base: Option<usize>,
}

impl<'s> Excerpt<'s> {
    /// `text` is what the TOML string at `whole` means.
    pub(crate) fn new(source: &Source, text: &'s str, whole: Span) -> Self {
        let written = source.slice(&whole);
        let triple = written.len() >= 6 && (written.starts_with("\"\"\"") || written.starts_with("'''"));
        let quotes = if triple { 3 } else { 1 };
        let inner = written.get(quotes..written.len() - quotes.min(written.len())).unwrap_or_default();
        // TOML drops a line end right after three quotes.
        let newline = match inner {
            _ if !triple => 0,
            _ if inner.starts_with("\r\n") => 2,
            _ => usize::from(inner.starts_with('\n')),
        };
        let base = (&inner[newline..] == text).then_some(whole.start + quotes + newline);
        Self { text, whole, base }
    }

    /// An expression that is all there is.
    pub(crate) fn bare(text: &'s str) -> Self {
        Self { text, whole: 0..text.len(), base: Some(0) }
    }

    /// Whether every part stands in the file as it is meant.
    pub(crate) fn is_as_written(&self) -> bool {
        self.base.is_some()
    }

    /// Where a part of the expression stands in the file: the whole string where that cannot be
    /// told.
    pub(crate) fn span(&self, part: &Span) -> Span {
        match self.base {
            Some(base) => base + part.start..base + part.end,
            None => self.whole.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let source = Source::new("f", "añb\r\nc\n");
        assert_eq!(source.place(0), (1, 1));
        assert_eq!(source.place(3), (1, 3));
        assert_eq!(source.place(6), (2, 1));
        assert_eq!(source.place(99), (3, 1));
        assert_eq!(source.line(1), ("añb", 0));
        assert_eq!(source.line(3), ("", 8));
    }

    #[test]
    fn expressions_lead_back_to_the_file() {
        let cases = [
            ("\"a == b\"", "a == b", Some(1)),
            ("'''\na == b'''", "a == b", Some(4)),
            ("\"a\\u0020== b\"", "a == b", None),
            ("\"\"", "", Some(1)),
        ];
        for (written, text, base) in cases {
            let source = Source::new("f", written);
            assert_eq!(Excerpt::new(&source, text, 0..written.len()).base, base, "{written}");
        }
    }
}
