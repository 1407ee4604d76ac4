//! The page as a whole.

use super::facts::Facts;
use super::section::Section;
use super::{assertions, calls, difference, exposure, matrix, sources, summary, tested};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, PreEscaped, html};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page's text.
pub(super) fn page(facts: &Facts) -> String {
    let sections: Vec<_> = [
        Some(summary::section(facts)),
        difference::section(facts),
        Some(matrix::section(facts)),
        Some(calls::section(facts)),
        Some(assertions::section(facts)),
        Some(tested::section(facts)),
        Some(exposure::section(facts)),
        Some(sources::section(facts)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let title = &facts.title;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(content_security_policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content={ "Ringwarden " (env!("CARGO_PKG_VERSION")) };
                title { (title) " – io_uring policy" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#summary" { "To the summary" }
                header {
                    p.kicker { "io_uring policy" }
                    h1 { (title) }
                }
                nav aria-label="Sections" {
                    ul {
                        @for section in &sections {
                            li { a href={ "#" (section.id) } { (section.title) } }
                        }
                    }
                }
                main {
                    @for Section { id, title, body } in &sections {
                        section id=(id) aria-labelledby={ (id) "-title" } {
                            h2 id={ (id) "-title" } { (title) }
                            (body)
                        }
                    }
                }
                footer {
                    p { "Made by Ringwarden " (env!("CARGO_PKG_VERSION")) ". The same policies make the same page." }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    visible(&page.into_string())
}

/// Nothing is loaded from anywhere, and nothing runs but what this program has written.
fn content_security_policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// Characters that are not seen, or that change the order in which others are seen, as escapes: what a policy does
/// and what it seems to do are to be the same.
fn visible(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    for character in page.chars() {
        if is_invisible(character) {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    text
}

fn is_invisible(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        // Soft hyphens, marks and overrides of directions, joiners, line separators, byte order marks, tags.
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => character.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_shown_as_an_escape() {
        assert_eq!(visible("a\u{202e}b\u{1b}c\r\n\té"), "a\\u{202e}b\\u{1b}c\\u{d}\n\té");
        assert_eq!(visible(STYLE), STYLE);
        assert_eq!(visible(SCRIPT), SCRIPT);
    }
}
