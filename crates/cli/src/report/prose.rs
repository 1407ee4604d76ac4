//! Sentences of other commands, as the page shows them.

use maud::{Markup, html};

/// A sentence; what stands in backticks is code.
pub(super) fn prose(sentence: &str) -> Markup {
    html! {
        @for (at, part) in sentence.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
