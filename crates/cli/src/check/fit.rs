//! Which lane a policy fits.

use crate::kernels;
use crate::rule::Rule;
use ringwarden::guard::SPLITS_RINGS;
use ringwarden::policy::{Field, Policy, RuleOrigin};
use ringwarden::{Beyond, Enforcement};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::{self, Display};

/// Which lane holds a policy where the kernel has no filters, which hold every one (docs/lanes.md).
#[derive(JsonSchema, Serialize)]
pub(crate) struct Fit {
    /// The policy, or policies with commas between them.
    file: String,
    /// `restricted` or `split`.
    lane: &'static str,
    /// What keeps it out of the restricted one: the first reason, and some of the operations that have others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) because: Option<String>,
    /// All operations whose rules do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beyond: Vec<String>,
    /// The first Linux whose filters hold it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filters: Option<String>,
    /// The rules that only the guard can hold, since they ask for what no kernel shows its filters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    guard: Vec<GuardsOwn>,
}

/// A rule that takes the split lane, whatever the kernel.
#[derive(JsonSchema, Serialize)]
struct GuardsOwn {
    #[serde(flatten)]
    rule: Rule,
    /// The first field that it asks for and no kernel shows.
    field: &'static str,
}

impl Fit {
    pub(super) fn of(file: &str, layers: &[Policy], enforcement: &Enforcement) -> Self {
        let beyond = enforcement.beyond_restrictions();
        let because = because(&beyond);
        let beyond = beyond.iter().map(|beyond| beyond.operation().to_string()).collect();
        let lane = if because.is_none() { "restricted" } else { "split" };
        let filters = kernels::first_to_hold(layers).map(|model| model.to_string());
        let mut guard: Vec<_> =
            layers.iter().flat_map(Policy::rules_of_the_guard).map(GuardsOwn::new).collect();
        guard.dedup_by(|next, before| next.rule.at == before.rule.at);
        Self { file: file.to_owned(), lane, because, beyond, filters, guard }
    }
}

/// How many operations are named beside the first.
const NAMED: usize = 6;

/// Why a policy is beyond restrictions of rings, if it is: the first reason, and of which operations there are others.
fn because(beyond: &[Beyond]) -> Option<String> {
    let (first, others) = beyond.split_first()?;
    let more = others.len().saturating_sub(NAMED);
    let mut named: Vec<_> =
        others[..others.len() - more].iter().map(|beyond| format!("`{}`", beyond.operation())).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    Some(match named.as_slice() {
        [] => first.to_string(),
        [other] => format!("{first}; and likewise {other}"),
        [others @ .., last] => format!("{first}; and likewise {} and {last}", others.join(", ")),
    })
}

impl GuardsOwn {
    fn new((origin, field): (&RuleOrigin, &Field)) -> Self {
        Self { rule: Rule::new(origin), field: field.name }
    }
}

impl Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.because {
            Some(because) => {
                let only = if SPLITS_RINGS { "" } else { ", which is x86-64 only," };
                match (&self.filters, self.guard.first()) {
                    (Some(filters), _) => write!(f, "split lane{only} before Linux {filters}: {because}"),
                    (None, Some(GuardsOwn { rule: Rule { rule, at, .. }, field })) => {
                        let others = match self.guard.len() - 1 {
                            0 => String::new(),
                            1 => ", and 1 rule like it".to_owned(),
                            more => format!(", and {more} rules like it"),
                        };
                        write!(
                            f,
                            "split lane{only} on every Linux: only the guard sees `{field}`: `{rule}` at {at}{others}"
                        )
                    }
                    (None, None) => write!(f, "split lane{only}: {because}"),
                }
            }
            None => f.write_str("restricted lane: requests cost nothing"),
        }
    }
}
