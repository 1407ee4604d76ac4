//! What there is to know first.

use super::effect::Effect;
use super::facts::Facts;
use super::files::{digest, file_id};
use super::lanes;
use super::prose::prose;
use super::section::Section;
use super::tiles::tiles;
use crate::layers;
use maud::{Markup, html};
use ringwarden::policy::{Decision, Policy};

pub(super) fn section(facts: &Facts) -> Section {
    let body = html! {
        (tiles(facts))
        h3 { "Files" }
        (files(facts))
        h3 #lanes { "Lanes" }
        (lanes::table(facts))
        @if let Some(warnings) = warnings(facts) { h3 { "Findings" } (warnings) }
    };
    Section { id: "summary", title: "Summary", body }
}

fn files(facts: &Facts) -> Markup {
    html! {
        table.stack {
            caption { "Every layer must allow a request. Filters are those of " (layers::whose(&facts.model)) "." }
            thead {
                tr {
                    th scope="col" { "File" }
                    th scope="col" { "Role" }
                    th scope="col" { "By default" }
                    th scope="col" { "SHA-256" }
                }
            }
            tbody {
                @for (index, (name, text)) in facts.files.iter().enumerate() {
                    @let layer = facts.layers().iter().position(|layer| layer.file() == name);
                    tr {
                        th scope="row" { a href={ "#" (file_id(index)) } { (name) } }
                        td data-label="Role" { (role(facts, name, layer)) }
                        td data-label="By default" {
                            @match layer.map(|layer| &facts.layers()[layer]) {
                                Some(layer) => (Effect::allowed(layer.default_action() == Decision::Allow).chip()),
                                None => "–",
                            }
                        }
                        td data-label="SHA-256" { code.digest { (digest(text)) } }
                    }
                }
            }
        }
    }
}

/// What a file is there for.
fn role(facts: &Facts, name: &str, layer: Option<usize>) -> Markup {
    let called = |policy: &Policy| policy.name().map(|name| format!(", “{name}”")).unwrap_or_default();
    html! {
        @match layer {
            Some(layer) if facts.layers().len() > 1 => { "layer " (layer) (called(&facts.layers()[layer])) }
            Some(layer) => { "the policy" (called(&facts.layers()[layer])) }
            None if before(facts, name) => "what there was before",
            None => "named by another",
        }
    }
}

/// Whether it is a layer of what the difference is from.
fn before(facts: &Facts, name: &str) -> bool {
    facts.difference.as_ref().is_some_and(|difference| difference.old.split(',').any(|old| old == name))
}

fn warnings(facts: &Facts) -> Option<Markup> {
    let mut warnings = facts.judged.diagnostics.iter().flatten().peekable();
    warnings.peek()?;
    Some(html! {
        ul.findings {
            @for warning in warnings {
                @let (line, _) = warning.place();
                li {
                    strong { (warning.code().severity().as_str()) " " (warning.code().as_str()) }
                    " " (prose(warning.message())) " " (facts.files.place(warning.file(), line))
                    @if let Some(help) = warning.suggestion() { br; span.hint { (prose(help)) } }
                }
            }
        }
    })
}
