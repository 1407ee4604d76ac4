//! A part of the page, under a title of its own.

use maud::Markup;

/// A part of the page.
pub(super) struct Section {
    /// What links call it.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) body: Markup,
}
