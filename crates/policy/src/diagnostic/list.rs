//! [`Diagnostics`]: everything that is to be said of some policies, in order.

use super::{Diagnostic, render};
use std::fmt;

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
