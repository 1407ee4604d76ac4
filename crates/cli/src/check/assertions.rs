//! What policies say of all requests at once, and whether it is so.

use crate::diff::{calls, example};
use crate::rule::Rule;
use ringwarden::diff::{CompareError, Effort};
use ringwarden::policy::{Assertion, Claim, Decision, Diagnostics, Policy, RuleOrigin};
use ringwarden::uapi::Opcode;
use ringwarden::{Breach, Enforcement, Finding};
use schemars::JsonSchema;
use serde::Serialize;

/// An assertion and what was found out about it.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Asserted {
    /// The policy that says it.
    file: String,
    /// From 1.
    line: usize,
    /// `never`, `always` or `within`.
    claim: &'static str,
    /// What it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// `proved`, `broken`, `unknown` where it was too much to compute, or `unusable`.
    pub(crate) outcome: &'static str,
    /// What shows that it does not hold, as `explain` takes it where it is a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) example: Option<String>,
    /// Other operations of which the same is to be said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<String>,
    /// The rules that allow or refuse it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<Rule>,
    #[serde(skip)]
    pub(crate) assertion: Assertion,
}

impl Asserted {
    pub(crate) fn is_proved(&self) -> bool {
        self.outcome == "proved"
    }
}

/// Every assertion of the layers, held against all of them together, and what there is to tell of those that
/// do not hold.
pub(super) fn of(
    layers: &[Policy],
    enforcement: &Enforcement,
) -> Result<(Vec<Asserted>, Vec<Diagnostics>), CompareError> {
    let (mut asserted, mut told) = (Vec::new(), Vec::new());
    for (assertion, finding) in enforcement.assertions(Effort::default())? {
        let origin = assertion.origin();
        let mut one = Asserted {
            file: origin.file.clone(),
            line: origin.line,
            claim: assertion.claim().as_str(),
            name: assertion.name().map(str::to_owned),
            outcome: "proved",
            example: None,
            also: Vec::new(),
            rules: Vec::new(),
            assertion: assertion.clone(),
        };
        match finding {
            Finding::Proved => {}
            Finding::Vacuous => told.extend(Diagnostics::of(vec![assertion.vacuous()])),
            Finding::Broken(breach) => {
                let (what, also, rules) = shown(layers, enforcement, assertion, &breach);
                one.outcome = "broken";
                told.extend(Diagnostics::of(vec![assertion.broken(&what, &also, &rules, layers)]));
                one.rules = rules.iter().map(Rule::new).collect();
                (one.example, one.also) = (Some(what), also);
            }
            Finding::Unknown(opcode) => {
                one.outcome = "unknown";
                told.extend(Diagnostics::of(vec![assertion.undecided(&opcode.to_string())]));
            }
            Finding::Unusable(reasons) => {
                one.outcome = "unusable";
                told.push(reasons);
            }
            _ => one.outcome = "unknown",
        }
        asserted.push(one);
    }
    Ok((asserted, told))
}

/// A breach in words, other operations that have one, and the rules that decide it.
fn shown(
    layers: &[Policy],
    enforcement: &Enforcement,
    assertion: &Assertion,
    breach: &Breach,
) -> (String, Vec<String>, Vec<RuleOrigin>) {
    let is_within = assertion.claim() == Claim::Within;
    match breach {
        Breach::Request(context, also) => {
            let (fields, _) = example::described(enforcement.filters().model(), context);
            let what = [vec![context.opcode().to_string()], fields].concat().join(" ");
            let decide = |policy: &Policy| {
                (policy.evaluate(context.words()), policy.decide(context.words()).1.clone())
            };
            let decided: Vec<_> = layers.iter().map(decide).collect();
            // One layer is enough to refuse.
            let refused = decided.iter().find(|(decision, _)| *decision == Decision::Deny).cloned();
            let decided = refused.map_or(decided, |refused| vec![refused]);
            let ceiling = is_within.then(|| decide(assertion.requests()));
            let rules = decided.into_iter().chain(ceiling).map(|(_, rule)| rule).collect();
            (what, also.iter().map(Opcode::to_string).collect(), rules)
        }
        Breach::LaterOperations => {
            let ceiling = is_within.then(|| assertion.requests());
            let of_layers: Vec<_> = match assertion.claim() {
                Claim::Always => {
                    layers.iter().find(|layer| !layer.allows_later_operations()).into_iter().collect()
                }
                Claim::Never | Claim::Within => layers.iter().collect(),
            };
            let rules =
                of_layers.into_iter().chain(ceiling).map(|policy| policy.rule_of_later_operations().clone());
            ("an operation of later kernels".to_owned(), Vec::new(), rules.collect())
        }
        Breach::Calls { allowed, ceiling } => {
            let rings = calls::rings(allowed.setup, ceiling.setup);
            let registers = calls::registers(allowed.register, ceiling.register);
            let is_register = rings.is_empty();
            let mut all = rings.into_iter().chain(registers);
            let what = all.next().unwrap_or_default();
            let what = if is_register { format!("io_uring_register {what}") } else { what };
            (what, all.collect(), Vec::new())
        }
        _ => (String::new(), Vec::new(), Vec::new()),
    }
}
