//! What is wrong with a policy, and where.
//!
//! All errors of a file are reported at once. Each has a [`Code`], the place, what was expected
//! and, where it helps, a suggestion; [`Diagnostics::render`] prints them with the excerpt of the
//! file.

pub(crate) mod render;
pub(crate) mod source;
pub(crate) mod suggest;

use source::{Source, Span};
use std::fmt;
use std::sync::Arc;

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        /// What a [`Diagnostic`] is about; codes from `P401` on are warnings. Codes keep their meaning between versions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("`", $code, "`: ", $meaning, ".")] $name,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it is printed, such as `P203`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What the code means, in one line.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

codes! {
    Toml = "P001", "the file is not valid TOML";
    Version = "P002", "`version` is missing or is not one that this version reads";
    UnknownKey = "P003", "a key or table that the language does not have";
    WrongType = "P005", "a TOML value of another type than the key takes";
    Default = "P006", "`default` is missing or is neither `\"allow\"` nor `\"deny\"`";
    UnknownOperation = "P007", "a key of `[ops]` that is neither an operation nor a group";
    IncompleteTest = "P008", "a test or an assertion that does not say what it is about, or what it expects";
    ImpossibleTest = "P009", "a test of a request that no program can make";
    Extends = "P010", "a policy that another one names and that cannot be read";
    UnknownSetupFlag = "P011", "a name in `[setup]` that is no flag of rings";
    Entries = "P012", "`max_entries` is not a size that rings can have";
    UnknownRegister = "P013", "a name in `[register]` that is neither a register opcode nor a group";
    Conflict = "P014", "a register opcode that is both allowed and denied";
    Taken = "P015", "a name in `[define]` that has another meaning, or that no definition can have";
    Circular = "P016", "definitions that are made of each other in a circle";
    NotConstant = "P017", "a definition that is neither a constant nor a set of constants";
    UnexpectedCharacter = "P101", "a character that no expression holds";
    BadNumber = "P102", "a number that cannot be read or exceeds 64 bits";
    BadAddress = "P103", "an IP address or network that cannot be read";
    Syntax = "P104", "an expression that is not complete or not well-formed";
    Unclosed = "P105", "a bracket without its partner";
    Chained = "P106", "comparisons in a row, as in `a < b < c`";
    TooDeep = "P107", "an expression nested too deeply";
    UnknownName = "P201", "a name that is neither a field nor a constant";
    OtherOperation = "P202", "a field that the operation does not have";
    OtherKind = "P203", "values of two kinds that do not go together";
    NotANumber = "P204", "a condition or an address where a number belongs";
    NotAnAddress = "P205", "an address used as something else, or a number used as an address";
    Constant = "P206", "a condition that is always true or always false";
    DoesNotFit = "P207", "a number with more bits than the field";
    Shift = "P208", "a shift by something other than a number below the field's size";
    NotASet = "P209", "the right side of `in`, an element of a set, or a value of a test is not constant";
    EmptySet = "P210", "a set or range that holds nothing";
    NotBits = "P211", "a constant that is a number, used as if it were a bit";
    KernelLacks = "P301", "a rule on a field that the chosen kernel does not show to filters";
    TooLong = "P302", "a rule that needs more than the 4096 instructions of a filter";
    Broken = "P303", "an assertion that does not hold: some request shows it";
    Undecided = "P304", "an assertion of which it is not known whether it holds";
    Miscompiled = "P305", "an internal error: a program that does not say what its rule means";
    Contradiction = "P401", "parts of a condition of which one rules the other out";
    Redundant = "P402", "a part of a condition that changes nothing beside another";
    Shadowed = "P403", "a rule of a group whose members all have rules of their own";
    Bypassed = "P404", "an operation that is restricted while another one does the same and is allowed";
    Truncates = "P405", "a rule that refuses to write or to make files, and lets another flag of opening do so";
    Loosens = "P406", "a policy that allows what one that it extends refuses";
    Unused = "P407", "a definition that nothing uses";
    Vacuous = "P408", "an assertion that speaks of no request";
    Unproved = "P409", "a rule whose program could not be proved to be what it says";
}

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The policy cannot be used.
    Error,
    /// The policy can be used, and hardly means what it says.
    Warning,
}

impl Severity {
    /// The word in front of messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl Code {
    /// Whether it is about how a policy is written: what its names mean has no part in it.
    pub(crate) fn is_about_form(self) -> bool {
        let is_of_conditions = (Self::UnexpectedCharacter..=Self::TooDeep).contains(&self);
        is_of_conditions || matches!(self, Self::Toml | Self::Version | Self::UnknownKey | Self::WrongType)
    }

    /// How bad that is.
    pub fn severity(self) -> Severity {
        if self >= Self::Contradiction { Severity::Warning } else { Severity::Error }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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

/// Everything that is wrong with policies, or all warnings about them: never empty, file by file in the
/// order of each.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// `list` holds at least one diagnostic.
    pub(crate) fn new(mut list: Vec<Diagnostic>) -> Self {
        // Files keep their order, which is that of the layers.
        let mut files: Vec<String> = Vec::new();
        for diagnostic in &list {
            if !files.iter().any(|file| file == diagnostic.file()) {
                files.push(diagnostic.file().to_owned());
            }
        }
        list.sort_by_key(|diagnostic| {
            (files.iter().position(|file| file == diagnostic.file()), diagnostic.primary.span.start)
        });
        Self { list }
    }

    /// Some diagnostics, brought into order; `None` where there are none.
    pub fn of(list: Vec<Diagnostic>) -> Option<Self> {
        (!list.is_empty()).then(|| Self::new(list))
    }

    /// The errors or warnings, in the order of the files.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// All of it for people: message, excerpt with the place underlined, expectation and
    /// suggestion. With `coloured`, ANSI escapes mark the parts; control characters of the file
    /// itself never reach the output.
    pub fn render(&self, coloured: bool) -> String {
        render::all(&self.list, coloured)
    }
}

impl<'d> IntoIterator for &'d Diagnostics {
    type Item = &'d Diagnostic;
    type IntoIter = std::slice::Iter<'d, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// As [`render`](Diagnostics::render) without colours.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
