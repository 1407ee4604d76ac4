//! What is wrong with a policy, and where.
//!
//! All errors of a file are reported at once. Each has a [`Code`], the place, what was expected
//! and, where it helps, a suggestion; [`Diagnostics::render`] prints them with the excerpt of the
//! file.

mod code;
mod list;
pub(crate) mod origin;
mod render;
pub(crate) mod source;
pub(crate) mod suggest;

pub use code::{Code, Severity};
pub use list::Diagnostics;
use source::{Source, Span};
use std::fmt;
use std::sync::Arc;

/// One error or warning.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) primary: Label,
    pub(crate) secondary: Vec<Label>,
    pub(crate) notes: Vec<(Advice, String)>,
}

/// A part of a file, underlined, with what to say of it.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    /// The file: of a second place it may be another one, which this policy extends or which extends it.
    pub(crate) source: Arc<Source>,
    pub(crate) span: Span,
    pub(crate) text: String,
}

/// What a line below the excerpt is, in the order of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Advice {
    Expected,
    Note,
    Help,
}

impl Diagnostic {
    pub(crate) fn new(source: &Arc<Source>, code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            primary: Label { source: Arc::clone(source), span, text: String::new() },
            secondary: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// What stands next to the underlined place.
    pub(crate) fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = text.into();
        self
    }

    /// A second place that the error speaks of, in the same file.
    pub(crate) fn also(self, span: Span, text: impl Into<String>) -> Self {
        let source = Arc::clone(&self.primary.source);
        self.also_in(&source, span, text)
    }

    /// A second place that the error speaks of.
    pub(crate) fn also_in(mut self, source: &Arc<Source>, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { source: Arc::clone(source), span, text: text.into() });
        self
    }

    pub(crate) fn expected(self, text: impl Into<String>) -> Self {
        self.with(Advice::Expected, text)
    }

    pub(crate) fn note(self, text: impl Into<String>) -> Self {
        self.with(Advice::Note, text)
    }

    pub(crate) fn help(self, text: impl Into<String>) -> Self {
        self.with(Advice::Help, text)
    }

    fn with(mut self, kind: Advice, text: impl Into<String>) -> Self {
        self.notes.push((kind, text.into()));
        self.notes.sort_by_key(|(kind, _)| *kind);
        self
    }

    /// What it is about.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is wrong, in one sentence without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The name of the file, as it was given to [`Policy::parse`](crate::Policy::parse).
    pub fn file(&self) -> &str {
        &self.primary.source.name
    }

    /// Line and column, both from 1; columns count characters.
    pub fn place(&self) -> (usize, usize) {
        self.primary.source.place(self.primary.span.start)
    }

    /// What was expected in that place, where the error can tell.
    pub fn expected_text(&self) -> Option<&str> {
        self.notes.iter().find(|(kind, _)| *kind == Advice::Expected).map(|(_, text)| text.as_str())
    }

    /// What would mend it, where the error can tell.
    pub fn suggestion(&self) -> Option<&str> {
        self.notes.iter().find(|(kind, _)| *kind == Advice::Help).map(|(_, text)| text.as_str())
    }
}

/// `file:line:column: error[code]: message`, on one line; `warning` for warnings.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.place();
        write!(
            f,
            "{}:{line}:{column}: {}[{}]: {}",
            self.file(),
            self.code.severity().as_str(),
            self.code,
            self.message
        )
    }
}
