//! Operations and what each layer says of them.

use super::effect::{Effect, rule};
use super::facts::Facts;
use super::lanes;
use super::section::Section;
use maud::{Markup, html};
use ringwarden::policy::{GROUPS, Group, Policy, Rule, RuleOrigin};
use ringwarden::uapi::{OPCODES, Opcode};
use std::collections::HashSet;

pub(super) fn section(facts: &Facts) -> Section {
    let beyond = facts.enforcement.beyond_restrictions();
    let matrix = Matrix { facts, beyond: beyond.iter().map(ringwarden::Beyond::operation).collect() };
    Section { id: "operations", title: "Operations", body: matrix.table() }
}

struct Matrix<'f> {
    facts: &'f Facts,
    /// The operations whose rules restrictions of rings cannot hold.
    beyond: HashSet<Opcode>,
}

impl Matrix<'_> {
    fn layers(&self) -> &[Policy] {
        self.facts.layers()
    }

    /// Whether there is more than one layer to put together.
    fn is_layered(&self) -> bool {
        self.layers().len() > 1
    }

    fn columns(&self) -> usize {
        2 + self.layers().len() + usize::from(self.is_layered())
    }

    fn table(&self) -> Markup {
        html! {
            p {
                (Effect::Allow.chip()) " every request, " (Effect::Deny.chip()) " none, "
                (Effect::If.chip()) " those for which the condition holds. Behind it stand the key that decides, if it is not "
                "the operation's own, and the line that it is in; " code { "+ require" }
                " is what a layer asks of every request besides."
                @if self.is_layered() {
                    " A request is allowed where every layer allows it; what they come to together is compared exactly, for all requests."
                }
            }
            p {
                "The lane is the cheapest that can hold a row, with the first Linux on which it does: "
                code { "restricted" } " whole operations, " code { "filtered" } " and " code { "split" }
                " conditions, too. Layers take a lane that holds every row: " a href="#lanes" { "Lanes" } "."
            }
            (self.tools())
            table.stack.matrix.many[self.facts.has_many_layers()] #matrix {
                caption { "What becomes of requests, and which lane holds that." }
                thead {
                    tr {
                        th scope="col" { "Operation" }
                        @for layer in self.layers() { th scope="col" { (layer.file()) } }
                        @if self.is_layered() { th.together scope="col" { "Together" } }
                        th scope="col" { "Lane" }
                    }
                }
                @if self.layers().iter().any(|layer| layer.requirement().is_some()) {
                    tbody { (self.requirements()) }
                }
                @for group in GROUPS { tbody { (self.group(group)) } }
                tbody { (self.later()) }
            }
            p #no-match hidden { "No operation is left." }
        }
    }

    /// For those who have scripts.
    fn tools(&self) -> Markup {
        html! {
            form.tools #tools hidden {
                label { "Find " input #find type="search" autocomplete="off" placeholder="connect, @files"; }
                label { input #own type="checkbox"; " only what a rule names" }
                @if self.is_layered() { label { input #differ type="checkbox"; " only where layers differ" } }
                output #count for="find own differ" {}
            }
        }
    }

    fn group(&self, group: &Group) -> Markup {
        html! {
            tr.group {
                th scope="rowgroup" colspan=(self.columns()) { code { (group.name) } " " span { (group.doc) } }
            }
            @for &operation in group.members { (self.row(group, operation)) }
        }
    }

    fn row(&self, group: &Group, operation: Opcode) -> Markup {
        let effects: Vec<_> = self.layers().iter().map(|layer| Effect::of(layer, operation)).collect();
        let is_own = self.layers().iter().any(|layer| layer.rule(operation).origin().key != "default");
        let differs = effects.iter().any(|effect| *effect != effects[0]) || effects[0] == Effect::If;
        let since = OPCODES.iter().find(|info| info.opcode == operation).map_or("", |info| info.since);
        let model = self.facts.model;
        html! {
            tr id={ "op-" (operation) } data-name={ (operation) " " (group.name) } data-own[is_own] data-differs[differs] {
                th scope="row" { code { (operation) } " " small { "Linux " (since) } }
                @for (layer, effect) in self.layers().iter().zip(effects) {
                    td data-label=(self.facts.label(layer)) { (self.cell(layer, operation, effect)) }
                }
                @if self.is_layered() {
                    td.together data-label="Together" {
                        (Effect::together(self.facts.enforcement.filters(), operation).chip())
                    }
                }
                td data-label="Lane" {
                    @if model.has_opcode(operation) {
                        (lanes::cell(self.layers(), operation, !self.beyond.contains(&operation)))
                    } @else {
                        small { "not in Linux " (model) }
                    }
                }
            }
        }
    }

    /// A layer's rule for an operation.
    fn cell(&self, layer: &Policy, operation: Opcode, effect: Effect) -> Markup {
        let decided = layer.rule(operation);
        let origin = decided.origin();
        html! {
            (effect.chip())
            @if let Rule::Expr(_) = decided { " " (rule(&origin.text)) }
            " " (self.place(layer, origin, &operation.to_string()))
            @if let (Some(required), false) = (layer.requirement(), effect == Effect::Deny) {
                span.where { " + " a href="#every-request" { code { (required.key) } } }
            }
        }
    }

    /// The key, unless it goes without saying, and the line of a layer's rule.
    fn place(&self, layer: &Policy, origin: &RuleOrigin, key: &str) -> Markup {
        html! {
            span.where {
                @if origin.key != key { code { (origin.key) } " " }
                (self.facts.files.origin_in(layer.file(), origin))
            }
        }
    }

    /// What layers ask of every request.
    fn requirements(&self) -> Markup {
        html! {
            tr #every-request data-name="every request require" data-own data-differs {
                th scope="row" { "every request" }
                @for layer in self.layers() {
                    td data-label=(self.facts.label(layer)) {
                        @match layer.requirement() {
                            Some(origin) => {
                                (Effect::If.chip()) " " (rule(&origin.text)) " " (self.place(layer, origin, ""))
                            }
                            None => "–",
                        }
                    }
                }
                @if self.is_layered() { td data-label="Together" { (Effect::If.chip()) } }
                td data-label="Lane" { "–" }
            }
        }
    }

    /// What becomes of operations that only later kernels have.
    fn later(&self) -> Markup {
        let allowed = self.layers().iter().filter(|layer| layer.allows_later_operations()).count();
        let all = self.layers().len();
        html! {
            tr #later data-name="operations of later kernels" data-differs[(1..all).contains(&allowed)] {
                th scope="row" { "of later kernels" }
                @for layer in self.layers() {
                    td data-label=(self.facts.label(layer)) {
                        (Effect::allowed(layer.allows_later_operations()).chip())
                        " " (self.place(layer, layer.rule_of_later_operations(), ""))
                    }
                }
                @if self.is_layered() { td.together data-label="Together" { (Effect::allowed(allowed == all).chip()) } }
                td data-label="Lane" { small { "restricted refuses them" } }
            }
        }
    }
}
