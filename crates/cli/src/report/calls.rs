//! What no filter sees: the rings that may be made, and what may be registered.

use super::effect::Effect;
use super::facts::Facts;
use super::section::Section;
use maud::{Markup, html};
use ringwarden::policy::{Policy, REGISTER_GROUPS, Rule, RuleOrigin, SETUP_FLAGS};
use ringwarden::uapi::RegisterOp;
use ringwarden::uapi::ring::{MAX_ENTRIES, Params, SetupFlags};

pub(super) fn section(facts: &Facts) -> Section {
    let body = html! {
        h3 { "Rings" }
        (rings(facts))
        h3 { "Register calls" }
        (registers(facts))
    };
    Section { id: "calls", title: "Rings and register calls", body }
}

/// One cell: what a layer says, by which rule.
fn cell(facts: &Facts, layer: &Policy, effect: Effect, origin: Option<&RuleOrigin>) -> Markup {
    html! {
        td data-label=(facts.label(layer)) {
            (effect.chip())
            @if let Some(origin) = origin {
                " " span.where { code { (named_by(origin)) } " " (facts.files.origin_in(layer.file(), origin)) }
            }
        }
    }
}

/// What of a table decides: a key, or what a list names.
fn named_by(origin: &RuleOrigin) -> &str {
    match origin.key.as_str() {
        "register.default" => "default",
        "setup.deny_flags" => "deny_flags",
        _ => &origin.text,
    }
}

fn head(facts: &Facts, first: &str) -> Markup {
    html! {
        thead {
            tr {
                th scope="col" { (first) }
                @for layer in facts.layers() { th scope="col" { (layer.file()) } }
            }
        }
    }
}

fn rings(facts: &Facts) -> Markup {
    let says = facts.layers().iter().any(|layer| !layer.calls().setup.allow_everything());
    if !says {
        return html! { p { "No layer has " code { "[setup]" } ": every ring may be made." } };
    }
    html! {
        table.stack.many[facts.has_many_layers()] {
            caption { "A ring with a flag that is denied is refused." }
            (head(facts, "Flag"))
            tbody {
                tr {
                    th scope="row" { "the most entries" }
                    @for layer in facts.layers() { (entries(facts, layer)) }
                }
                @for known in SETUP_FLAGS {
                    tr {
                        th scope="row" { code { (known.name) } " " small { (known.doc) } }
                        @for layer in facts.layers() { (flag(facts, layer, known.flag)) }
                    }
                }
            }
        }
    }
}

fn flag(facts: &Facts, layer: &Policy, flag: SetupFlags) -> Markup {
    let params = Params { flags: flag.bits(), ..Params::default() };
    let is_denied = layer.calls().setup.denied.contains(flag);
    let origin = layer.setup_refusal(1, &params).filter(|_| is_denied);
    cell(facts, layer, Effect::allowed(!is_denied), origin)
}

fn entries(facts: &Facts, layer: &Policy) -> Markup {
    let most = layer.calls().setup.max_entries;
    let origin = layer.setup_refusal(most + 1, &Params::default()).filter(|_| most < MAX_ENTRIES);
    html! {
        td data-label=(facts.label(layer)) {
            (most)
            @if let Some(origin) = origin { " " span.where { (facts.files.origin_in(layer.file(), origin)) } }
        }
    }
}

fn registers(facts: &Facts) -> Markup {
    let says = facts.layers().iter().any(|layer| layer.register_rule(RegisterOp(0)).is_some());
    if !says {
        return html! { p { "No layer has " code { "[register]" } ": every register call may be made." } };
    }
    html! {
        table.stack.many[facts.has_many_layers()] {
            caption { "A register call that is denied fails." }
            (head(facts, "Register call"))
            @for group in REGISTER_GROUPS {
                tbody {
                    tr.group {
                        th scope="rowgroup" colspan=(1 + facts.layers().len()) {
                            code { (group.name) } " " span { (group.doc) }
                        }
                    }
                    @for &op in group.members {
                        tr {
                            th scope="row" { code { (op) } }
                            @for layer in facts.layers() { (register(facts, layer, op)) }
                        }
                    }
                }
            }
            tbody {
                tr {
                    th scope="row" { "of later kernels" }
                    @for layer in facts.layers() {
                        (register(facts, layer, RegisterOp(u32::MAX >> 1)))
                    }
                }
            }
        }
    }
}

fn register(facts: &Facts, layer: &Policy, op: RegisterOp) -> Markup {
    match layer.register_rule(op) {
        Some(Rule::Deny(origin)) => cell(facts, layer, Effect::Deny, Some(origin)),
        Some(rule) => cell(facts, layer, Effect::Allow, Some(rule.origin())),
        None => cell(facts, layer, Effect::Allow, None),
    }
}
