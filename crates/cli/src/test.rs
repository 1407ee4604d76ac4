//! `ringwarden test`: the `[[test]]` tables of policies, run through the engine.

pub(crate) mod coverage;

use crate::format::{self, Document, Format};
use crate::style::{self, BAD, BOLD, DIM, GOOD, tell};
use crate::{UNUSABLE, kernels, layers};
use clap::Args;
use coverage::Coverage;
use ringwarden::Enforcement;
use ringwarden::filter::Verdict;
use ringwarden::policy::{self, Decision, Policy, Question, RuleOrigin};
use ringwarden::uapi::KernelModel;
use schemars::JsonSchema;
use serde::Serialize;
use std::process::ExitCode;

/// Run the tests that policies hold.
///
/// Each policy's `[[test]]` tables are put to the programs that the policy compiles to, as a kernel would
/// run them; those of rings and register calls, to the tables that decide those. A policy is tested by itself, not on
/// top of the one before.
///
/// With `--coverage` the branches of each policy are counted: every rule, and both outcomes of every part of a
/// condition. A test decides a branch where the verdict would be another one if that branch came out the other way.
#[derive(Args)]
#[command(after_help = "\
Examples:
  ringwarden test --min 90 --require-tests policies/*.toml
  ringwarden test --generate web.toml >>web.toml

Exit status: 0 when every test has passed, and with --generate;
  1  some test has failed, or --min or --require-tests is not met
  2  a policy cannot be read, has errors, or is not for this kernel")]
pub(crate) struct Test {
    /// Policy files, or - for standard input
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<String>,
    #[arg(long, value_name = "KERNEL", help = kernels::needed("The kernel that the policies are compiled for"))]
    kernel: Option<KernelModel>,
    /// Say which rules, and which outcomes of parts of conditions, no test decides, with requests that would
    #[arg(long)]
    coverage: bool,
    /// Fail unless tests decide so many of a hundred branches of each policy; implies --coverage
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    min: Option<u8>,
    /// Fail where a policy has no tests
    #[arg(long)]
    require_tests: bool,
    /// Write tests for what none decides, to be looked at and appended; nothing else is written
    #[arg(long, conflicts_with_all = ["coverage", "min", "require_tests", "format"])]
    generate: bool,
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Everything that was tested.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Report {
    /// The kernel that policies are compiled for.
    kernel: String,
    /// How many requests and calls were decided as expected.
    passed: usize,
    /// How many were not.
    failed: usize,
    /// Each request or call.
    tests: Vec<Outcome>,
    /// The policies without a test.
    untested: Vec<String>,
    /// Of each policy; with `--coverage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Vec<Coverage>>,
}

impl Document for Report {}

/// One request or call of a test.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Outcome {
    /// The policy.
    pub(crate) file: String,
    /// The line of the test, from 1.
    pub(crate) line: usize,
    /// What the test calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// As `explain` takes it.
    pub(crate) request: String,
    /// `allow` or `deny`.
    pub(crate) expected: &'static str,
    /// `allow` or `deny`.
    pub(crate) decided: &'static str,
    /// Both are the same.
    pub(crate) passed: bool,
    /// The rule that decided, as `key = value`, or why no rule did.
    pub(crate) rule: String,
    /// The policy file and line of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip)]
    pub(crate) origin: Option<RuleOrigin>,
}

impl Test {
    pub(crate) fn execute(self) -> ExitCode {
        match self.run() {
            Ok(status) => status,
            Err(unusable) => {
                unusable.print();
                ExitCode::from(UNUSABLE)
            }
        }
    }

    fn run(&self) -> Result<ExitCode, layers::Unusable> {
        let (mut tests, mut untested, mut coverage) = (Vec::new(), Vec::new(), Vec::new());
        let policies = layers::parse(&self.policies)?;
        let kernel = self.kernel.unwrap_or_else(|| Enforcement::needed(&policies));
        for policy in policies {
            let enforcement = layers::enforce(std::slice::from_ref(&policy), kernel)?;
            if self.generate {
                // With an empty line before each, as if they had been there.
                style::print_whole(format_args!(
                    "\n{}",
                    Coverage::of(&policy, kernel).tests(&policy, kernel)
                ));
                continue;
            }
            if policy.tests().is_empty() && !policy.defines_alone() {
                untested.push(policy.file().to_owned());
            }
            tests.extend(outcomes(&policy, &enforcement));
            if self.coverage || self.min.is_some() {
                coverage.push(Coverage::of(&policy, kernel));
            }
        }
        if self.generate {
            return Ok(ExitCode::SUCCESS);
        }
        let passed = tests.iter().filter(|test| test.passed).count();
        let failed = tests.len() - passed;
        let min = usize::from(self.min.unwrap_or(0));
        let is_met = coverage.iter().all(|coverage| coverage.percent() >= min)
            && (!self.require_tests || untested.is_empty());
        let status = if failed == 0 && is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        let coverage = (!coverage.is_empty()).then_some(coverage);
        let report = Report { kernel: kernel.to_string(), passed, failed, tests, untested, coverage };
        Ok(match self.format {
            Format::Json => format::json(&report, status),
            Format::Human => {
                report.print(min);
                status
            }
        })
    }
}

/// What becomes of each request and call of a policy's tests; the policy is all that is enforced.
pub(crate) fn outcomes(policy: &Policy, enforcement: &Enforcement) -> Vec<Outcome> {
    let of_test = |test: &policy::Test| {
        test.questions
            .iter()
            .map(|question| Outcome::new(policy, enforcement, test, question))
            .collect::<Vec<_>>()
    };
    policy.tests().iter().flat_map(of_test).collect()
}

impl Outcome {
    fn new(policy: &Policy, enforcement: &Enforcement, test: &policy::Test, question: &Question) -> Self {
        let (decision, rule, origin) = match question {
            Question::Call(call) => {
                let (decision, rule) = policy.decide_call(call);
                ruled(decision, rule)
            }
            Question::Request(request) => match request.context(enforcement.filters().model()) {
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
            },
            _ => ruled(Decision::Deny, None),
        };
        Self {
            file: policy.file().to_owned(),
            line: test.line,
            name: test.name.clone(),
            request: question.to_string(),
            expected: word(test.expect),
            decided: word(decision),
            passed: decision == test.expect,
            rule,
            at: origin.as_ref().map(|origin| format!("{}:{}", origin.file, origin.line)),
            origin,
        }
    }
}

fn ruled(decision: Decision, rule: Option<&RuleOrigin>) -> (Decision, String, Option<RuleOrigin>) {
    let text = rule.map_or("no rule".to_owned(), |rule| format!("{} = {}", rule.key, rule.text));
    (decision, text, rule.cloned())
}

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "allow",
        Decision::Deny => "deny",
    }
}

impl Report {
    fn print(&self, min: usize) {
        for test in &self.tests {
            let Outcome { file, line, request, expected, decided, rule, .. } = test;
            let at = test.at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
            let name = test.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            let name = style::harmless(&name);
            if test.passed {
                tell!("{GOOD}ok{GOOD:#}    {name}{request} {DIM}{decided}{at}{DIM:#}");
            } else {
                // One line, however many the rule has.
                let rule = rule.split_whitespace().collect::<Vec<_>>().join(" ");
                tell!("{BAD}FAIL{BAD:#}  {BOLD}{name}{request}{BOLD:#}");
                tell!("      expected {expected} at {file}:{line}, but {decided}: {rule}{at}");
            }
        }
        for file in &self.untested {
            style::note(format_args!("{file} has no tests"));
        }
        for coverage in self.coverage.iter().flatten() {
            coverage.print();
            if coverage.percent() < min {
                tell!("{BAD}FAIL{BAD:#}  less than {min} %");
            }
        }
        let Self { passed, failed, kernel, .. } = self;
        tell!("{passed} passed, {failed} failed, {}", layers::whose(kernel));
    }
}
