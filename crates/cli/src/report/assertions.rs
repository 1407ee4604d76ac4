//! What policies say of all requests at once, and whether it is so.

use super::effect::rule;
use super::facts::Facts;
use super::section::Section;
use crate::check::assertions::Asserted;
use maud::{Markup, html};
use ringwarden::policy::{Claim, GROUPS, Policy, Rule};
use ringwarden::uapi::Opcode;

pub(super) fn section(facts: &Facts) -> Section {
    let assertions = &facts.judged.assertions;
    let body = html! {
        @if assertions.is_empty() {
            p {
                "There are none: " code { "[[never]]" } ", " code { "[[always]]" } " and " code { "within" }
                " say what is to hold of all requests."
            }
        } @else {
            p { "Each is proved for every request that a kernel can show, or a request is named for which it does not hold." }
            ul.cards { @for asserted in assertions { (card(facts, asserted)) } }
        }
    };
    Section { id: "assertions", title: "Assertions", body }
}

fn card(facts: &Facts, asserted: &Asserted) -> Markup {
    let assertion = &asserted.assertion;
    let origin = assertion.origin();
    html! {
        li.card {
            p.title {
                (outcome(asserted.outcome)) " "
                strong { (asserted.name.as_deref().unwrap_or(claim(assertion.claim()))) } " "
                (facts.files.origin(origin))
            }
            p {
                @match assertion.claim() {
                    Claim::Never => { "Never allowed: " (spoken_of(assertion.requests())) }
                    Claim::Always => { "Always allowed: " (spoken_of(assertion.requests())) }
                    Claim::Within => { "Nothing is allowed that " code { (origin.text) } " refuses" }
                }
                @if assertion.claim() != Claim::Within && !origin.text.is_empty() { " where " (rule(&origin.text)) }
            }
            @if let Some(example) = &asserted.example {
                dl.facts {
                    dt { "Counterexample" }
                    dd { code { (example) } }
                    @if !asserted.also.is_empty() { dt { "And of" } dd { (asserted.also.join(", ")) } }
                    @for by in &asserted.rules {
                        dt { "By" }
                        dd { code { (by.rule) } " " (facts.files.origin(&by.origin)) }
                    }
                    @if asserted.rules.is_empty() { dt { "By" } dd { "no rule speaks of it" } }
                }
            }
        }
    }
}

fn claim(claim: Claim) -> &'static str {
    match claim {
        Claim::Never => "never",
        Claim::Always => "always",
        Claim::Within => "within",
    }
}

fn outcome(outcome: &str) -> Markup {
    match outcome {
        "proved" => html! { span.chip.good { "proved" } },
        "broken" => html! { span.chip.bad { "does not hold" } },
        "unusable" => html! { span.chip.bad { "cannot be held" } },
        _ => html! { span.chip.warn { "not known" } },
    }
}

/// The operations that an assertion is about: groups, where all of one are meant.
fn spoken_of(requests: &Policy) -> Markup {
    let is_meant = |operation: &Opcode| !matches!(requests.rule(*operation), Rule::Deny(_));
    if GROUPS.iter().all(|group| group.members.iter().all(is_meant)) {
        return html! { "requests of every operation" };
    }
    let mut names = Vec::new();
    for group in GROUPS {
        match group.members.iter().all(is_meant) {
            true if group.members.len() > 1 => names.push(group.name.to_owned()),
            _ => names.extend(group.members.iter().filter(|one| is_meant(one)).map(ToString::to_string)),
        }
    }
    html! { @for (at, name) in names.iter().enumerate() { @if at > 0 { ", " } code { (name) } } }
}
