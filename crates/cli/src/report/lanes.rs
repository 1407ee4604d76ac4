//! How layers are held, and on which kernels: by all that is known without a look at this machine.

use super::facts::Facts;
use super::prose::prose;
use maud::{Markup, html};
use ringwarden::guard::SPLITS_RINGS;
use ringwarden::policy::{Field, Policy, Rule};
use ringwarden::uapi::{KernelModel, Opcode};

/// The first Linux whose rings take restrictions (`IORING_REGISTER_RESTRICTIONS`).
const RESTRICTED_SINCE: &str = "5.10";
/// The first Linux on which rings are split.
const SPLIT_SINCE: &str = "6.10";

/// The lanes in the order in which they are tried.
pub(super) fn table(facts: &Facts) -> Markup {
    let fit = facts.judged.fit.as_ref();
    let filters = fit.map_or_else(|| Some(facts.model.to_string()), |fit| fit.filters.clone());
    let because = fit.and_then(|fit| fit.because.clone());
    let guards_own = facts.enforcement.guards_own();
    let setup = facts.enforcement.kernel().err().map(|beyond| beyond.to_string());
    let tasks = guards_own.clone().or(setup);
    let split = if SPLITS_RINGS { None } else { Some("split rings are x86-64 only".to_owned()) };
    let rows = [
        (
            "tasks",
            "the kernel's filters on the program",
            filters.clone(),
            "what the kernel's filters cost",
            tasks,
        ),
        ("restricted", "restrictions of each ring", Some(RESTRICTED_SINCE.to_owned()), "nothing", because),
        (
            "filtered",
            "the kernel's filters on each ring",
            filters,
            "what the kernel's filters cost",
            guards_own,
        ),
        (
            "split",
            "the guard, on x86-64",
            Some(SPLIT_SINCE.to_owned()),
            "two context switches a submission",
            split,
        ),
    ];
    html! {
        @if let Some(fit) = fit { p.lead { (prose(&fit.to_string())) } }
        table.stack.lanes {
            caption { "A policy takes the first lane that holds all of it on a machine." }
            thead {
                tr {
                    th scope="col" { "Lane" }
                    th scope="col" { "Holds it" }
                    th scope="col" { "Linux" }
                    th scope="col" { "By" }
                    th scope="col" { "A request costs" }
                }
            }
            tbody {
                @for (name, by, since, costs, reason) in rows {
                    tr {
                        th scope="row" { code { (name) } }
                        @match reason {
                            None => td data-label="Holds it" { span.yes { "yes" } },
                            Some(reason) => td data-label="Holds it" { span.no { "no" } ": " (prose(&reason)) },
                        }
                        td.since data-label="Linux" {
                            @match since {
                                Some(since) => { (since) " and later" }
                                None => "none",
                            }
                        }
                        td data-label="By" { (by) }
                        td data-label="A request costs" { (costs) }
                    }
                }
            }
        }
    }
}

/// Which lanes hold what the layers say of an operation, the cheapest first. `fits` into restrictions of rings.
pub(super) fn cell(layers: &[Policy], operation: Opcode, fits: bool) -> Markup {
    let lane = |name: &str, since: &str| html! { span.lane { code { (name) } " " small { (since) } } " " };
    match fits {
        true => lane("restricted", RESTRICTED_SINCE),
        false => html! {
            @let since = filters_since(layers, operation);
            @if since != KernelModel::Guard { (lane("filtered", &since.to_string())) }
            (lane("split", SPLIT_SINCE))
        },
    }
}

/// The first Linux whose filters see what rules look at.
fn filters_since(layers: &[Policy], operation: Opcode) -> KernelModel {
    let fields = layers.iter().flat_map(|policy| match policy.rule(operation) {
        Rule::Expr(_) => policy.fields_read(operation),
        _ => Vec::new(),
    });
    let since = fields.map(|field: &Field| field.since).max().unwrap_or(KernelModel::V7_0);
    since.max(KernelModel::V7_0)
}
