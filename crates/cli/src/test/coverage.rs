//! What no test of a policy decides, and tests that would.

use crate::style::{BOLD, DIM, tell};
use ringwarden::diff::Difference;
use ringwarden::filter::Context;
use ringwarden::policy::layout::{File, Table, Value};
use ringwarden::policy::{Branch, Call, CallBranch, Decision, Policy, Question, Request, RuleOrigin};
use ringwarden::uapi::KernelModel;
use schemars::JsonSchema;
use serde::Serialize;

/// How much of a policy its tests decide.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Coverage {
    /// The policy.
    file: String,
    /// How many branches some test decides.
    pub(crate) decided: usize,
    /// How many branches some request decides.
    pub(crate) branches: usize,
    /// What no test decides.
    pub(crate) undecided: Vec<Undecided>,
    /// What no request decides: it changes nothing, whatever it says.
    pub(crate) undecidable: Vec<Undecided>,
}

/// A branch that no test decides.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Undecided {
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
    /// A request or call that would decide it, as `explain` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    /// What becomes of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<&'static str>,
    #[serde(skip)]
    example: Option<Question>,
    #[serde(skip)]
    pub(crate) origin: RuleOrigin,
}

impl Coverage {
    pub(crate) fn of(policy: &Policy, model: KernelModel) -> Self {
        let questions = || policy.tests().iter().flat_map(|test| &test.questions);
        let contexts = questions().filter_map(|question| context_of(model, question));
        let contexts: Vec<_> = contexts.collect();
        let (mut decided, mut undecided, mut undecidable) = (0, Vec::new(), Vec::new());
        for branch in policy.branches(model) {
            if contexts.iter().any(|context| branch.is_decided_by(context.words())) {
                decided += 1;
                continue;
            }
            match branch.example(model) {
                Difference::Never => undecidable.push(Undecided::by_requests(policy, &branch, model, None)),
                Difference::Unknown => undecided.push(Undecided::by_requests(policy, &branch, model, None)),
                Difference::Example(context) => {
                    // As the program would put it: what the kernel adds by itself is added again.
                    let request = Request::showing(context.words());
                    let decides = |request: &Request| {
                        let again = request.context(model);
                        again.is_ok_and(|again| branch.is_decided_by(again.words()))
                    };
                    let request = request.filter(decides);
                    undecided.push(Undecided::by_requests(policy, &branch, model, request));
                }
            }
        }
        for branch in policy.call_branches() {
            let decides =
                |question: &Question| matches!(question, Question::Call(call) if branch.is_decided_by(call));
            match branch.example() {
                _ if questions().any(decides) => decided += 1,
                None => undecidable.push(Undecided::by_calls(policy, &branch, None)),
                call => undecided.push(Undecided::by_calls(policy, &branch, call)),
            }
        }
        let branches = decided + undecided.len();
        Self { file: policy.file().to_owned(), decided, branches, undecided, undecidable }
    }

    /// How many of a hundred branches are decided, rounded down.
    pub(crate) fn percent(&self) -> usize {
        (self.decided * 100).checked_div(self.branches).unwrap_or(100)
    }

    pub(crate) fn print(&self) {
        for branch in &self.undecided {
            tell!("{BOLD}open{BOLD:#}  {} {}", branch.at, branch.name());
            match (&branch.request, branch.decision) {
                (Some(request), Some(decision)) => {
                    tell!("      {DIM}such as{DIM:#} {request}{DIM}: {decision}{DIM:#}");
                }
                _ => tell!("      {DIM}no request was found in time{DIM:#}"),
            }
        }
        for branch in &self.undecidable {
            tell!("{DIM}never{DIM:#} {} {}", branch.at, branch.name());
            tell!("      {DIM}no request is decided by that{DIM:#}");
        }
        let Self { file, decided, branches, .. } = self;
        tell!("{file}: tests decide {decided} of {branches} branches, {} %", self.percent());
    }

    /// `[[test]]` tables that decide what is undecided, each as much as it does.
    pub(crate) fn tests(&self, policy: &Policy, model: KernelModel) -> File {
        let mut file = File::default();
        let (mut by_requests, mut by_calls) = (policy.branches(model), policy.call_branches());
        for undecided in &self.undecided {
            let (Some(question), Some(decision)) = (&undecided.example, undecided.decision) else { continue };
            let before = by_requests.len() + by_calls.len();
            match (question, context_of(model, question)) {
                (Question::Call(call), _) => by_calls.retain(|branch| !branch.is_decided_by(call)),
                (_, Some(context)) => by_requests.retain(|branch| !branch.is_decided_by(context.words())),
                _ => {}
            }
            if by_requests.len() + by_calls.len() == before {
                // Another one has decided it.
                continue;
            }
            let mut test = Table::one_of("test");
            test.key("name", Value::text(&undecided.name()));
            match question {
                Question::Request(request) => {
                    test.key("op", Value::text(&request.operation().to_string()));
                    if !request.values().is_empty() {
                        test.key("with", Value::with(request.values()));
                    }
                }
                Question::Call(Call::Setup(ring)) => test.key("setup", Value::ring(ring)),
                Question::Call(Call::Register(op)) => {
                    let number = || Value::number(op.0);
                    test.key("register", op.name().map_or_else(number, Value::text));
                }
                _ => continue,
            }
            test.key("expect", Value::text(decision));
            file.table(test);
        }
        file
    }
}

/// What filters see of a request; nothing of a call.
fn context_of(model: KernelModel, question: &Question) -> Option<Context> {
    match question {
        Question::Request(request) => request.context(model).ok(),
        _ => None,
    }
}

impl Undecided {
    fn by_requests(
        policy: &Policy,
        branch: &Branch<'_>,
        model: KernelModel,
        example: Option<Request>,
    ) -> Self {
        let context = example.as_ref().and_then(|request| request.context(model).ok());
        let decision = context.map(|context| policy.evaluate(context.words()));
        Self::new(branch.origin(), branch.part(), example.map(Question::Request), decision)
    }

    fn by_calls(policy: &Policy, branch: &CallBranch<'_>, example: Option<Call>) -> Self {
        let decision = example.map(|call| policy.decide_call(&call).0);
        Self::new(branch.origin(), branch.part(), example.map(Question::Call), decision)
    }

    fn new(
        origin: &RuleOrigin,
        part: Option<(&str, bool)>,
        example: Option<Question>,
        decision: Option<Decision>,
    ) -> Self {
        let (part, holds) = part.unzip();
        // Of a list of names, the one that is meant.
        let is_listed = matches!(origin.key.as_str(), "register.allow" | "register.deny");
        let rule = if is_listed { format!("{}: {}", origin.key, origin.text) } else { origin.key.clone() };
        Self {
            at: format!("{}:{}", origin.file, origin.line),
            rule,
            part: part.map(str::to_owned),
            holds,
            request: example.as_ref().map(Question::to_string),
            decision: decision.map(super::word),
            example,
            origin: origin.clone(),
        }
    }

    /// `connect: port == 443 does not hold`.
    pub(crate) fn name(&self) -> String {
        match (&self.part, self.holds) {
            (Some(part), Some(true)) => format!("{}: {part} holds", self.rule),
            (Some(part), _) => format!("{}: {part} does not hold", self.rule),
            _ => self.rule.clone(),
        }
    }
}
