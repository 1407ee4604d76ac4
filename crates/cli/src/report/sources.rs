//! The files themselves, each line with its number and a place of its own.

use super::effect::highlighted;
use super::facts::Facts;
use super::files::{file_id, line_id};
use super::section::Section;
use maud::{Markup, html};
use ringwarden::policy::highlight::{self, Part};

pub(super) fn section(facts: &Facts) -> Section {
    let body = html! {
        @for (index, (name, text)) in facts.files.iter().enumerate() {
            h3 id=(file_id(index)) { (name) }
            (source(index, text))
        }
    };
    Section { id: "sources", title: "Sources", body }
}

fn source(index: usize, text: &str) -> Markup {
    html! {
        pre.source {
            @for (number, line) in (1..).zip(lines(text)) {
                @let id = line_id(index, number);
                span.line id=(id) {
                    a href={ "#" (id) } aria-label={ "line " (number) } { (number) }
                    code { @for (text, part) in line { (highlighted(text, part)) } "\n" }
                }
            }
        }
    }
}

/// The lines of a text, each in parts.
fn lines(text: &str) -> Vec<Vec<(&str, Part)>> {
    let mut lines = vec![Vec::new()];
    for (span, part) in highlight::file(text) {
        for (at, piece) in text[span].split('\n').enumerate() {
            if at > 0 {
                lines.push(Vec::new());
            }
            let piece = piece.strip_suffix('\r').unwrap_or(piece);
            if let (Some(line), false) = (lines.last_mut(), piece.is_empty()) {
                line.push((piece, part));
            }
        }
    }
    // A line that ends is not followed by an empty one.
    lines.pop_if(|last| last.is_empty());
    lines
}
