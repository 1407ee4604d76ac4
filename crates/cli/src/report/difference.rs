//! How the layers differ from others, with requests that show it.

use super::effect::Effect;
use super::facts::{Difference, Facts};
use super::section::Section;
use crate::diff::calls::Change;
use crate::diff::example::Example;
use crate::diff::report::{Newer, Operation};
use crate::rule::Rule;
use maud::{Markup, html};

/// `None` where there is nothing to compare with.
pub(super) fn section(facts: &Facts) -> Option<Section> {
    let Difference { old, report } = facts.difference.as_ref()?;
    let body = html! {
        p {
            "OLD is " code { (old) } ", NEW is this. "
            @if report.is_equal() { "Both allow the same, for all requests." } @else { "NEW " (report.summary.sentence()) "." }
        }
        @if !report.is_equal() {
            table.stack.difference {
                caption { "What becomes of requests otherwise than before, each with one that shows it" }
                thead {
                    tr {
                        th scope="col" { "Operation" }
                        th scope="col" { "Now" }
                        th scope="col" { "Request" }
                        th scope="col" { "OLD" }
                        th scope="col" { "NEW" }
                    }
                }
                tbody {
                    @for group in report.groups() { (operations(facts, &group)) }
                    @if let Some(newer) = &report.newer { (later(newer)) }
                    @if let Some(calls) = &report.calls {
                        (call("setup", &calls.setup)) (call("register", &calls.register))
                    }
                }
            }
        }
    };
    Some(Section { id: "difference", title: "Difference", body })
}

/// Operations of which the same is to be said: a row for each direction in which they differ.
fn operations(facts: &Facts, group: &[&Operation]) -> Markup {
    let [first, ..] = group else { return html! {} };
    let names = html! {
        @for (at, one) in group.iter().enumerate() {
            @if at > 0 { ", " } a href={ "#op-" (one.operation) } { code { (one.operation) } }
        }
    };
    html! {
        @if let Some(request) = &first.tightened { (row(facts, &names, first, request, Effect::Deny)) }
        @if let Some(request) = &first.loosened { (row(facts, &names, first, request, Effect::Allow)) }
        @if first.relation == "unknown" {
            tr {
                th scope="row" { (names) }
                td data-label="Now" colspan="4" { "not known: it is too much to compute" }
            }
        }
    }
}

/// A request of which NEW says something else than OLD.
fn row(facts: &Facts, names: &Markup, operation: &Operation, request: &Example, now: Effect) -> Markup {
    let before = if now == Effect::Allow { Effect::Deny } else { Effect::Allow };
    html! {
        tr {
            th scope="row" { (names) }
            (changed(now))
            td data-label="Request" {
                code { (operation.operation) @for field in &request.fields { " " (field) } }
                @if !request.exact { br; small { "context " code { (request.context.join(" ")) } } }
            }
            (side(facts, "OLD", before, &request.old))
            (side(facts, "NEW", now, &request.new))
        }
    }
}

fn changed(now: Effect) -> Markup {
    html! {
        td data-label="Now" {
            @if now == Effect::Allow { span.chip.warn { "allowed" } } @else { span.chip.good { "refused" } }
        }
    }
}

fn side(facts: &Facts, name: &str, effect: Effect, rules: &[Rule]) -> Markup {
    html! {
        td data-label=(name) {
            @for rule in rules {
                div { (effect.chip()) " " code { (rule.rule) } " " (facts.files.origin(&rule.origin)) }
            }
        }
    }
}

/// Operations that only later kernels have.
fn later(newer: &Newer) -> Markup {
    let [old, new] = [newer.old, newer.new].map(|decision| Effect::allowed(decision == "allow"));
    html! {
        @if old != new {
            tr {
                th scope="row" { "of later kernels" }
                (changed(new))
                td data-label="Request" { "–" }
                td data-label="OLD" { (old.chip()) }
                td data-label="NEW" { (new.chip()) }
            }
        }
    }
}

/// What is no request: rings and register calls.
fn call(table: &str, change: &Change) -> Markup {
    let row = |now: Effect, what: &[String]| {
        html! {
            @if !what.is_empty() {
                tr {
                    th scope="row" { code { "[" (table) "]" } }
                    (changed(now))
                    td data-label="Request" colspan="3" { (what.join(", ")) }
                }
            }
        }
    };
    html! { (row(Effect::Deny, &change.tightened)) (row(Effect::Allow, &change.loosened)) }
}
