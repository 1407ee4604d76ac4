//! What the policies' own tests say, and what none of them decides.

use super::effect::Effect;
use super::facts::{Facts, Tested};
use super::section::Section;
use crate::test::Outcome;
use crate::test::coverage::{Coverage, Undecided};
use maud::{Markup, html};

pub(super) fn section(facts: &Facts) -> Section {
    let is_layered = facts.tested.len() > 1;
    let body = html! {
        @if is_layered { p { "Each layer is tested by itself." } }
        @for tested in &facts.tested {
            @if is_layered { h3 { (tested.file) } }
            (tests(facts, tested))
        }
        h3 #coverage { "Coverage" }
        p {
            "Every rule, and each outcome of every part of a condition, is a branch. A test decides one where the verdict "
            "would be another if that branch came out the other way."
        }
        @for tested in &facts.tested { (coverage(facts, &tested.file, &tested.coverage)) }
    };
    Section { id: "tests", title: "Tests and coverage", body }
}

fn tests(facts: &Facts, tested: &Tested) -> Markup {
    if tested.outcomes.is_empty() {
        return html! { p { code { (tested.file) } " has no tests." } };
    }
    html! {
        table.stack {
            caption {
                "Of " (tested.file) ": " (tested.outcomes.len() - tested.failed()) " passed, " (tested.failed()) " failed"
            }
            thead {
                tr {
                    th scope="col" { "Test" }
                    th scope="col" { "Result" }
                    th scope="col" { "Request" }
                    th scope="col" { "Decided by" }
                }
            }
            tbody { @for outcome in &tested.outcomes { (row(facts, outcome)) } }
        }
    }
}

fn row(facts: &Facts, outcome: &Outcome) -> Markup {
    let Outcome { file, line, name, request, expected, decided, passed, rule, origin, .. } = outcome;
    html! {
        tr {
            th scope="row" { @if let Some(name) = name { (name) " " } (facts.files.place_in(file, file, *line)) }
            td data-label="Result" {
                @if *passed { span.chip.good { "passed" } } @else {
                    span.chip.bad { "failed" } " expected " (expected)
                }
            }
            td data-label="Request" { code { (request) } }
            td data-label="Decided by" {
                (Effect::allowed(*decided == "allow").chip()) " " code { (rule.split_whitespace().collect::<Vec<_>>().join(" ")) }
                @if let Some(origin) = origin { " " (facts.files.origin_in(file, origin)) }
            }
        }
    }
}

fn coverage(facts: &Facts, file: &str, coverage: &Coverage) -> Markup {
    let Coverage { decided, branches, undecided, undecidable, .. } = coverage;
    html! {
        p.meter {
            code { (file) } ": tests decide " (decided) " of " (branches) " branches, " (coverage.percent()) " % "
            meter min="0" max="100" value=(coverage.percent()) { (coverage.percent()) " %" }
        }
        @if !undecided.is_empty() {
            table.stack {
                caption { "What no test of " (file) " decides, with requests that would" }
                thead {
                    tr { th scope="col" { "Branch" } th scope="col" { "A request that decides it" } th scope="col" { "Verdict" } }
                }
                tbody { @for branch in undecided { (open(facts, file, branch)) } }
            }
        }
        @if !undecidable.is_empty() {
            p { "No request is decided by:" }
            ul { @for branch in undecidable { li { code { (branch.name()) } " " (facts.files.origin(&branch.origin)) } } }
        }
    }
}

fn open(facts: &Facts, file: &str, branch: &Undecided) -> Markup {
    html! {
        tr {
            th scope="row" { code { (branch.name()) } " " (facts.files.origin_in(file, &branch.origin)) }
            td data-label="Request" {
                @match &branch.request {
                    Some(request) => code { (request) },
                    None => "none was found in time",
                }
            }
            td data-label="Verdict" {
                @match branch.decision {
                    Some(decision) => (Effect::allowed(decision == "allow").chip()),
                    None => "–",
                }
            }
        }
    }
}
