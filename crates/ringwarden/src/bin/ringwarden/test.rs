//! `ringwarden test`: the `[[test]]` tables of policies, run through the engine.

use crate::format::{self, Format};
use crate::style::{self, BAD, BOLD, DIM, GOOD};
use crate::{UNUSABLE, layers, request};
use clap::Args;
use ringwarden::Enforcement;
use ringwarden::filter::Verdict;
use ringwarden::policy::{self, Decision, Policy, Request, RuleOrigin};
use ringwarden::uapi::KernelModel;
use serde::Serialize;
use std::process::ExitCode;

/// Run the tests that policies hold.
///
/// Each policy's `[[test]]` tables are put to the programs that the policy compiles to, as a kernel would
/// run them. A policy is tested by itself, not on top of the one before.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when every test has passed;
  1  some test has failed
  2  a policy cannot be read, has errors, or is not for this kernel")]
pub(crate) struct Test {
    /// Policy files, or - for standard input
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<String>,
    /// The kernel that the policies are compiled for: posted, 7.0, 7.2, 7.3
    #[arg(long, value_name = "KERNEL", default_value_t)]
    kernel: KernelModel,
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Everything that was tested. The keys and their order are part of the format.
#[derive(Serialize)]
struct Report {
    kernel: String,
    passed: usize,
    failed: usize,
    tests: Vec<Outcome>,
    /// The policies without a test.
    untested: Vec<String>,
}

/// One request of a test.
#[derive(Serialize)]
struct Outcome {
    file: String,
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    request: String,
    expected: &'static str,
    decided: &'static str,
    passed: bool,
    /// The rule that decided, as `key = value`, or why no rule did.
    rule: String,
    /// The policy file and line of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

impl Test {
    pub(crate) fn execute(self) -> ExitCode {
        let (tests, untested) = match self.run() {
            Ok(done) => done,
            Err(unusable) => {
                unusable.print();
                return ExitCode::from(UNUSABLE);
            }
        };
        let passed = tests.iter().filter(|test| test.passed).count();
        let failed = tests.len() - passed;
        let report = Report { kernel: self.kernel.to_string(), passed, failed, tests, untested };
        let status = if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        match self.format {
            Format::Json => format::json(&report, status),
            Format::Human => {
                report.print();
                status
            }
        }
    }

    /// The outcome of every test, and the policies that have none.
    fn run(&self) -> Result<(Vec<Outcome>, Vec<String>), layers::Unusable> {
        let (mut outcomes, mut untested) = (Vec::new(), Vec::new());
        for policy in layers::parse(&self.policies)? {
            let enforcement = layers::enforce(std::slice::from_ref(&policy), self.kernel)?;
            if policy.tests().is_empty() {
                untested.push(policy.file().to_owned());
            }
            for test in policy.tests() {
                let of_test = |request| Outcome::new(&policy, &enforcement, test, request);
                outcomes.extend(test.requests.iter().map(of_test));
            }
        }
        Ok((outcomes, untested))
    }
}

impl Outcome {
    fn new(policy: &Policy, enforcement: &Enforcement, test: &policy::Test, request: &Request) -> Self {
        let model = enforcement.filters().model();
        let (decision, rule, at) = match request::context(model, request) {
            Err(errno) => {
                (Decision::Deny, format!("the kernel answers {errno} before it asks a filter"), None)
            }
            Ok(context) => match enforcement.filters().verdict(&context) {
                Verdict::Allow => ruled(Decision::Allow, Some(policy.rule(request.operation()).origin())),
                Verdict::Deny(denial) => {
                    let origin = enforcement.origin(&denial, &context);
                    ruled(Decision::Deny, origin.as_ref().map(|origin| &origin.rule))
                }
            },
        };
        Self {
            file: policy.file().to_owned(),
            line: test.line,
            name: test.name.clone(),
            request: request.to_string(),
            expected: word(test.expect),
            decided: word(decision),
            passed: decision == test.expect,
            rule,
            at,
        }
    }
}

fn ruled(decision: Decision, rule: Option<&RuleOrigin>) -> (Decision, String, Option<String>) {
    match rule {
        Some(rule) => {
            (decision, format!("{} = {}", rule.key, rule.text), Some(format!("{}:{}", rule.file, rule.line)))
        }
        None => (decision, "no rule".to_owned(), None),
    }
}

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "allow",
        Decision::Deny => "deny",
    }
}

impl Report {
    fn print(&self) {
        for test in &self.tests {
            let Outcome { file, line, request, expected, decided, rule, .. } = test;
            let at = test.at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
            let name = test.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            // The policy may come from strangers, and a terminal obeys control characters.
            let name = name.escape_debug();
            if test.passed {
                anstream::println!("{GOOD}ok{GOOD:#}    {name}{request} {DIM}{decided}{at}{DIM:#}");
            } else {
                // One line, however many the rule has.
                let rule = rule.split_whitespace().collect::<Vec<_>>().join(" ");
                anstream::println!("{BAD}FAIL{BAD:#}  {BOLD}{name}{request}{BOLD:#}");
                anstream::println!("      expected {expected} at {file}:{line}, but {decided}: {rule}{at}");
            }
        }
        for file in &self.untested {
            style::note(format_args!("{file} has no tests"));
        }
        let Self { passed, failed, kernel, .. } = self;
        anstream::println!("{passed} passed, {failed} failed, kernel {kernel}");
    }
}
