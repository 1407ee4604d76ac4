//! What the layers leave open that led to bugs before, ranked.

use super::facts::Facts;
use super::prose::prose;
use super::section::Section;
use crate::check::audit;
use maud::{Markup, html};
use ringwarden::policy::KNOWN_UNTIL;
use ringwarden::{Bug, Exposure, Severity, Subject};

pub(super) fn section(facts: &Facts) -> Section {
    let (fixed, open): (Vec<_>, Vec<_>) = facts.exposures.iter().partition(|one| one.is_fixed());
    let fixed: Vec<_> = fixed.iter().map(|one| one.subject.to_string()).collect();
    let body = html! {
        p {
            "Operations, register calls and flags that led to bugs of the kernel, and rules that mean less than they seem to. "
            "Known until " (KNOWN_UNTIL) "; "
            @match facts.release {
                Some(release) => { "bugs that Linux " (release) " has fixed, or never had, do not count." }
                None => { "bugs of every kernel count." }
            }
        }
        @if open.is_empty() { p { "Nothing is left open that led to a bug." } } @else {
            table.stack.exposures {
                caption { "What is left open, what matters most first" }
                thead {
                    tr {
                        th scope="col" { "Left open" }
                        th scope="col" { "Rank" }
                        th scope="col" { "Why" }
                        th scope="col" { "To close it" }
                        th scope="col" { "Allowed by" }
                    }
                }
                tbody { @for exposure in open { (row(facts, exposure)) } }
            }
        }
        @if let (Some(release), false) = (facts.release, fixed.is_empty()) {
            p { "Linux " (release) " has none of the known bugs of: " (fixed.join("; ")) "." }
        }
    };
    Section { id: "exposure", title: "Left open", body }
}

fn row(facts: &Facts, exposure: &Exposure) -> Markup {
    html! {
        tr {
            th scope="row" { (exposure.subject.to_string()) }
            td data-label="Rank" { span class={ "chip rank-" (exposure.severity.as_str()) } { (exposure.severity.as_str()) } }
            td data-label="Why" {
                @if let Some(reason) = &exposure.reason { p { (prose(reason)) } }
                @if let Some(names) = names(&exposure.subject) { p { (names) } }
                @if !exposure.bugs.is_empty() { (bugs(&exposure.bugs)) }
            }
            td data-label="To close it" {
                @match &exposure.remedy { Some(remedy) => code { (remedy) }, None => "–" }
            }
            td data-label="Allowed by" {
                @for rule in &exposure.rules {
                    div.where { code { (rule.key) } " " (facts.files.origin_in(facts.whole(), rule)) }
                }
                @if exposure.rules.is_empty() { (audit::unsaid(&exposure.subject)) }
            }
        }
    }
}

/// What a subject is made of, where it does not say so itself.
fn names(subject: &Subject) -> Option<String> {
    let list = |names: Vec<String>| names.join(", ");
    match subject {
        Subject::Flags(_, operations) => {
            Some(format!("of {}", list(operations.iter().map(ToString::to_string).collect())))
        }
        Subject::SystemCalls(calls) => Some(list(calls.iter().map(ToString::to_string).collect())),
        Subject::Families(_, families) => Some(list(families.iter().map(ToString::to_string).collect())),
        _ => None,
    }
}

/// The first bug in a sentence, the others by number.
fn bugs(bugs: &[Bug]) -> Markup {
    html! {
        ul.bugs {
            @for bug in bugs {
                li {
                    a href=(bug.vulnerability.record()) rel="noreferrer" { (bug.vulnerability.cve) }
                    (audit::sentence(bug).trim_start_matches(bug.vulnerability.cve))
                    @if bug.is_fixed { " – not in this Linux" }
                }
            }
        }
    }
}

/// How many there are of each rank, and whether one is of the highest; `None` where nothing led to a bug.
pub(super) fn tally(exposures: &[Exposure]) -> Option<(String, bool)> {
    let open: Vec<_> = exposures.iter().filter(|one| !one.is_fixed()).collect();
    let worst = open.iter().map(|one| one.severity).max()?;
    (worst > Severity::Note).then(|| (audit::tally(&open), worst == Severity::High))
}
