//! What no test of a policy decides, and tests that would.

use crate::request;
use crate::style::{BOLD, DIM};
use ringwarden::diff::Difference;
use ringwarden::policy::layout::{File, Table, Value};
use ringwarden::policy::{Branch, Decision, Policy, Request};
use ringwarden::uapi::KernelModel;
use serde::Serialize;

/// How much of a policy its tests decide. The keys and their order are part of the format.
#[derive(Serialize)]
pub(super) struct Coverage {
    file: String,
    /// How many branches some test decides.
    decided: usize,
    /// How many branches some request decides.
    branches: usize,
    undecided: Vec<Undecided>,
    /// What no request decides: it changes nothing, whatever it says.
    undecidable: Vec<Undecided>,
}

/// A branch that no test decides.
#[derive(Serialize)]
struct Undecided {
    /// The policy file and line of the rule.
    at: String,
    /// The rule's key.
    rule: String,
    /// The part of the rule's condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<String>,
    /// Whether the part is to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<bool>,
    /// A request that would decide it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    /// What becomes of that request.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip)]
    example: Option<Request>,
}

impl Coverage {
    pub(super) fn of(policy: &Policy, model: KernelModel) -> Self {
        let contexts = policy.tests().iter().flat_map(|test| &test.requests);
        let contexts: Vec<_> = contexts.filter_map(|request| request::context(model, request).ok()).collect();
        let (mut decided, mut undecided, mut undecidable) = (0, Vec::new(), Vec::new());
        for branch in policy.branches(model) {
            if contexts.iter().any(|context| branch.is_decided_by(context.words())) {
                decided += 1;
                continue;
            }
            match branch.example(model) {
                Difference::Never => undecidable.push(Undecided::new(policy, &branch, model, None)),
                Difference::Unknown => undecided.push(Undecided::new(policy, &branch, model, None)),
                Difference::Example(context) => {
                    // As the program would put it: what the kernel adds by itself is added again.
                    let request = Request::showing(context.words());
                    let decides = |request: &Request| {
                        let again = request::context(model, request);
                        again.is_ok_and(|again| branch.is_decided_by(again.words()))
                    };
                    undecided.push(Undecided::new(policy, &branch, model, request.filter(decides)));
                }
            }
        }
        let branches = decided + undecided.len();
        Self { file: policy.file().to_owned(), decided, branches, undecided, undecidable }
    }

    /// How many of a hundred branches are decided, rounded down.
    pub(super) fn percent(&self) -> usize {
        (self.decided * 100).checked_div(self.branches).unwrap_or(100)
    }

    pub(super) fn print(&self) {
        for branch in &self.undecided {
            anstream::println!("{BOLD}open{BOLD:#}  {} {}", branch.at, branch.name());
            match (&branch.request, branch.decision) {
                (Some(request), Some(decision)) => {
                    anstream::println!("      {DIM}such as{DIM:#} {request}{DIM}: {decision}{DIM:#}");
                }
                _ => anstream::println!("      {DIM}no request was found in time{DIM:#}"),
            }
        }
        for branch in &self.undecidable {
            anstream::println!("{DIM}never{DIM:#} {} {}", branch.at, branch.name());
            anstream::println!("      {DIM}no request is decided by that{DIM:#}");
        }
        let Self { file, decided, branches, .. } = self;
        anstream::println!("{file}: tests decide {decided} of {branches} branches, {} %", self.percent());
    }

    /// `[[test]]` tables that decide what is undecided, each as much as it does.
    pub(super) fn tests(&self, policy: &Policy, model: KernelModel) -> File {
        let mut file = File::default();
        let mut left = policy.branches(model);
        for undecided in &self.undecided {
            let (Some(request), Some(decision)) = (&undecided.example, undecided.decision) else { continue };
            let Ok(context) = request::context(model, request) else { continue };
            let before = left.len();
            left.retain(|branch| !branch.is_decided_by(context.words()));
            if left.len() == before {
                // Another one has decided it.
                continue;
            }
            let mut test = Table::one_of("test");
            test.key("name", Value::text(&undecided.name()));
            test.key("op", Value::text(&request.operation().to_string()));
            if !request.values().is_empty() {
                test.key("with", Value::with(request.values()));
            }
            test.key("expect", Value::text(decision));
            file.table(test);
        }
        file
    }
}

impl Undecided {
    fn new(policy: &Policy, branch: &Branch<'_>, model: KernelModel, example: Option<Request>) -> Self {
        let origin = branch.origin();
        let decision = example.as_ref().and_then(|request| {
            let context = request::context(model, request).ok()?;
            Some(match policy.evaluate(context.words()) {
                Decision::Allow => "allow",
                Decision::Deny => "deny",
            })
        });
        let (part, holds) = branch.part().unzip();
        Self {
            at: format!("{}:{}", origin.file, origin.line),
            rule: origin.key.clone(),
            part: part.map(str::to_owned),
            holds,
            request: example.as_ref().map(Request::to_string),
            decision,
            example,
        }
    }

    /// `connect: port == 443 does not hold`.
    fn name(&self) -> String {
        match (&self.part, self.holds) {
            (Some(part), Some(true)) => format!("{}: {part} holds", self.rule),
            (Some(part), _) => format!("{}: {part} does not hold", self.rule),
            _ => self.rule.clone(),
        }
    }
}
