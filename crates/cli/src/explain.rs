//! `ringwarden explain`: what becomes of one request or call, and why.

use crate::format::{self, Document, Format};
use crate::style::{self, BAD, BOLD, DIM, GOOD, tell};
use crate::{UNUSABLE, compile, kernels, layers, rule};
use clap::Args;
use ringwarden::Enforcement;
use ringwarden::cbpf::disasm::disassemble;
use ringwarden::cbpf::insn::{BPF_ABS, BPF_JMP, BPF_LD, BPF_RET, BPF_W};
use ringwarden::cbpf::{Insn, Program};
use ringwarden::filter::{Context, Verdict};
use ringwarden::policy::{Call, Decision, Diagnostics, Field, Policy, Question, Request, RuleOrigin};
use ringwarden::uapi::{KernelModel, Opcode};
use schemars::JsonSchema;
use serde::Serialize;
use std::process::ExitCode;

/// The bits of a code that say what kind of instruction it is, `BPF_CLASS`.
const BPF_CLASS_MASK: u16 = 0x07;

/// Say what becomes of a request under a policy: by which rule, what filters see of it, and what their
/// programs do with it, step by step.
///
/// The same of a ring that is made, or of a call of io_uring_register, which the tables [setup] and [register] decide.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when the request is allowed;
  1  it is refused
  2  the policy or the request cannot be used

Example:
  ringwarden explain policy.toml connect addr=10.1.2.3 port=443
  ringwarden explain @container-default uring_cmd
  ringwarden explain site.toml -p app.toml openat2 'flags=O_WRONLY|O_CREAT'
  ringwarden explain policy.toml setup entries=64 'flags=SQPOLL|SQ_AFF'
  ringwarden explain policy.toml register buffers")]
pub(crate) struct Explain {
    /// A policy file, - for standard input, or a preset
    #[arg(value_name = "POLICY")]
    policy: String,
    /// A further policy, all of which must allow
    #[arg(short, long = "policy", value_name = "POLICY")]
    policies: Vec<String>,
    /// The operation that is asked for; or setup, or register
    #[arg(value_name = "OP", value_parser = subject)]
    subject: Subject,
    /// The fields that are not 0, as in a test: port=443, flags='O_WRONLY|O_CREAT'; of setup entries=64, cq_entries=128,
    /// flags='SQPOLL|SQ_AFF'; of register the name of an opcode
    #[arg(value_name = "FIELD=VALUE")]
    fields: Vec<String>,
    #[arg(long, value_name = "KERNEL", help = kernels::needed("The kernel that the policy is compiled for"))]
    kernel: Option<KernelModel>,
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// What the question is about.
#[derive(Clone, Copy)]
enum Subject {
    Request(Opcode),
    Setup,
    Register,
}

/// A subject by its name.
fn subject(name: &str) -> Result<Subject, String> {
    match name {
        "setup" => Ok(Subject::Setup),
        "register" => Ok(Subject::Register),
        _ => compile::operation(name).map(Subject::Request),
    }
}

/// All about one request or call.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Report {
    /// As the command takes it.
    request: String,
    /// The kernel that policies are compiled for.
    kernel: String,
    /// What becomes of it.
    allowed: bool,
    /// Those that decide: one of each layer where it is allowed, or the one that refuses it. A layer that says nothing
    /// of calls has none.
    rules: Vec<Rule>,
    /// What filters see of it.
    seen: Vec<Seen>,
    /// Of every filter, in the order of layers. None: what has no filter is allowed, or refused by DENY_REST.
    programs: Vec<Run>,
}

impl Document for Report {}

#[derive(JsonSchema, Serialize)]
struct Rule {
    /// Which of the policies, from 0.
    layer: usize,
    #[serde(flatten)]
    rule: rule::Rule,
}

/// The value of a field, as policies write it.
#[derive(JsonSchema, Serialize)]
struct Seen {
    /// Its name.
    field: &'static str,
    /// As policies write it.
    value: String,
}

/// A program, as it runs on the request.
#[derive(JsonSchema, Serialize)]
struct Run {
    /// Which of the policies it is of, from 0.
    layer: usize,
    /// How many it has.
    instructions: usize,
    /// The instructions that are executed.
    steps: Vec<Step>,
}

/// An instruction that is executed.
#[derive(JsonSchema, Serialize)]
struct Step {
    /// Which instruction, from 0.
    index: usize,
    /// As `compile` prints it.
    instruction: String,
    #[serde(flatten)]
    found: Found,
}

/// What comes of it.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
enum Found {
    /// The request is allowed, or not.
    Allows(bool),
    /// The index of the next instruction.
    Goto(usize),
    /// What X becomes.
    X(u32),
    /// What A becomes.
    A {
        /// The number.
        value: u32,
        /// Fields that are in the word which was loaded.
        fields: Vec<&'static str>,
    },
}

impl Explain {
    pub(crate) fn execute(self) -> ExitCode {
        let names: Vec<_> = [&self.policy].into_iter().chain(&self.policies).cloned().collect();
        let loaded = layers::parse(&names).and_then(|policies| {
            let kernel = self.kernel.unwrap_or_else(|| Enforcement::needed(&policies));
            Ok((layers::enforce(&policies, kernel)?, policies))
        });
        let ((enforcement, policies), question) = match (loaded, self.question()) {
            (Ok(loaded), Ok(question)) => (loaded, question),
            (loaded, question) => {
                if let Err(unusable) = loaded {
                    unusable.print();
                }
                if let Err(errors) = question {
                    style::complain_whole(format_args!("{}", errors.render(style::stderr_is_coloured())));
                }
                return ExitCode::from(UNUSABLE);
            }
        };
        let kernel = enforcement.filters().model();
        let report = match &question {
            Question::Request(request) => match request.context(kernel) {
                Ok(context) => self.of_request(&enforcement, &policies, request, &context),
                Err(errno) => {
                    let message = format_args!("the kernel answers {errno} before it asks a filter");
                    return style::fail(message, UNUSABLE);
                }
            },
            Question::Call(call) => of_call(&policies, call, kernel),
            _ => return style::fail("this cannot be explained", UNUSABLE),
        };
        let status = if report.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        if self.format == Format::Json {
            return format::json(&report, status);
        }
        report.print_verdict(policies.len() > 1);
        match self.subject {
            Subject::Request(op) => report.print_programs(op, &enforcement),
            Subject::Setup | Subject::Register => {
                tell!("\nNo filter sees it: it is decided when the call is made")
            }
        }
        status
    }

    fn question(&self) -> Result<Question, Diagnostics> {
        match self.subject {
            Subject::Request(op) => Request::parse(op, &self.fields).map(Question::Request),
            Subject::Setup => Call::parse_setup(&self.fields).map(Question::Call),
            Subject::Register => Call::parse_register(&self.fields.join(" ")).map(Question::Call),
        }
    }

    fn of_request(
        &self,
        enforcement: &Enforcement,
        policies: &[Policy],
        request: &Request,
        context: &Context,
    ) -> Report {
        let allowing = |(layer, policy): (usize, &Policy)| {
            let (_, rule) = policy.decide(context.words());
            Rule::new(layer, rule)
        };
        let (allowed, rules) = match enforcement.filters().verdict(context) {
            Verdict::Allow => (true, policies.iter().enumerate().map(allowing).collect()),
            Verdict::Deny(denial) => {
                let origin = enforcement.origin(&denial, context);
                (false, origin.into_iter().map(|origin| Rule::new(origin.layer, &origin.rule)).collect())
            }
        };
        let (operation, kernel) = (request.operation(), enforcement.filters().model());
        let fields = Field::all_of(operation).filter(|field| field.since <= kernel);
        let seen =
            fields.filter_map(|field| Some(Seen { field: field.name, value: field.show(context.words())? }));
        let filters = enforcement.filters().filters(operation).zip(enforcement.rules(operation));
        let programs = filters.map(|(filter, origin)| Run {
            layer: origin.layer,
            instructions: filter.program.insns().len(),
            steps: steps(&filter.program, context),
        });
        Report {
            request: request.to_string(),
            kernel: kernel.to_string(),
            allowed,
            rules,
            seen: seen.collect(),
            programs: programs.collect(),
        }
    }
}

/// The instructions that decide, and what each finds.
fn steps(program: &Program, context: &Context) -> Vec<Step> {
    let steps = program.trace(context.words());
    let listing = disassemble(program.insns());
    let step_of = |(at, step): (usize, &ringwarden::cbpf::Step)| {
        let insn = program.insns()[step.index];
        let found = match (insn.code & BPF_CLASS_MASK, steps.get(at + 1)) {
            (BPF_RET, _) | (_, None) => Found::Allows(program.run(context.words()) != 0),
            (BPF_JMP, Some(next)) => Found::Goto(next.index),
            (_, Some(next)) if next.x != step.x => Found::X(next.x),
            (_, Some(next)) => Found::A { value: next.a, fields: loaded(context.opcode(), insn) },
        };
        let instruction = listing.statement(step.index)?.to_string().trim().to_owned();
        Some(Step { index: step.index, instruction, found })
    };
    steps.iter().enumerate().filter_map(step_of).collect()
}

/// The names of what a load of the context finds.
fn loaded(operation: Opcode, insn: Insn) -> Vec<&'static str> {
    if insn.code != BPF_LD | BPF_W | BPF_ABS {
        return Vec::new();
    }
    let word = insn.k as usize / 4;
    let fields = Field::all_of(operation).filter(|field| field.words().contains(&word));
    fields.map(|field| field.name).collect()
}

fn of_call(policies: &[Policy], call: &Call, kernel: KernelModel) -> Report {
    let decide = |(layer, policy): (usize, &Policy)| {
        let (decision, origin) = policy.decide_call(call);
        (decision, origin.map(|origin| Rule::new(layer, origin)))
    };
    let mut decided: Vec<_> = policies.iter().enumerate().map(decide).collect();
    // One layer is enough to refuse.
    let refusing = decided.iter().position(|(decision, _)| *decision == Decision::Deny);
    if let Some(refusing) = refusing {
        decided = vec![decided.swap_remove(refusing)];
    }
    Report {
        request: call.to_string(),
        kernel: kernel.to_string(),
        allowed: refusing.is_none(),
        rules: decided.into_iter().filter_map(|(_, rule)| rule).collect(),
        seen: Vec::new(),
        programs: Vec::new(),
    }
}

impl Rule {
    fn new(layer: usize, origin: &RuleOrigin) -> Self {
        Self { layer, rule: rule::Rule::new(origin) }
    }
}

impl Report {
    /// `layered`: it is of use to say of which layer something is.
    fn print_verdict(&self, layered: bool) {
        let Self { request, allowed, rules, .. } = self;
        if *allowed {
            tell!("{GOOD}allowed{GOOD:#}  {request}");
        } else {
            tell!("{BAD}refused{BAD:#}  {request}");
        }
        for Rule { layer, rule: rule::Rule { rule, at, .. } } in rules {
            let layer = if layered { format!(", layer {layer}") } else { String::new() };
            tell!("by {BOLD}{rule}{BOLD:#}\nat {at}{layer}");
        }
        if rules.is_empty() {
            tell!("no rule is against it");
        }
    }

    fn print_programs(&self, op: Opcode, enforcement: &Enforcement) {
        let Self { kernel, seen, programs, .. } = self;
        tell!("\nWhat filters of {} see of it:", layers::whose(kernel));
        let width = seen.iter().map(|seen| seen.field.len()).fold(10, usize::max);
        for Seen { field, value } in seen {
            tell!("  {field:<width$} {value}");
        }
        if programs.is_empty() {
            let rest = enforcement.filters().is_rest_denied(op);
            let why = if rest { "DENY_REST refuses what has none" } else { "what has none is allowed" };
            tell!("\n{op} has no filter: {why}");
        }
        for Run { layer, instructions, steps } in programs {
            let of = if programs.len() > 1 { format!(" of layer {layer}") } else { String::new() };
            tell!("\nThe program{of}, as it runs on this request:");
            for Step { index, instruction, found } in steps {
                tell!("  {index:>4}  {instruction:<26} {}", found.text());
            }
            tell!("  {DIM}{} of {instructions} instructions{DIM:#}", steps.len());
        }
    }
}

impl Found {
    fn text(&self) -> String {
        match self {
            Self::Allows(true) => format!("{GOOD}allows{GOOD:#}"),
            Self::Allows(false) => format!("{BAD}refuses{BAD:#}"),
            Self::Goto(index) => format!("goes to {index}"),
            Self::X(value) => format!("X = {value:#x}"),
            Self::A { value, fields } if fields.is_empty() => format!("A = {value:#x}"),
            Self::A { value, fields } => format!("A = {value:#x}  {DIM}{}{DIM:#}", fields.join(", ")),
        }
    }
}
