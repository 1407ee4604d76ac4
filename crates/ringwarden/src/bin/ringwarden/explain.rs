//! `ringwarden explain`: what becomes of one request, and why.

use crate::format::{self, Format};
use crate::style::{self, BAD, BOLD, DIM, GOOD, say};
use crate::{UNUSABLE, compile, layers, request};
use clap::Args;
use ringwarden::Enforcement;
use ringwarden::cbpf::disasm::disassemble;
use ringwarden::cbpf::insn::{BPF_ABS, BPF_JMP, BPF_LD, BPF_RET, BPF_W};
use ringwarden::cbpf::{Insn, Program};
use ringwarden::filter::{Context, Verdict};
use ringwarden::policy::{Field, Policy, Request, RuleOrigin};
use ringwarden::uapi::{KernelModel, Opcode};
use serde::Serialize;
use std::process::ExitCode;

/// The bits of a code that say what kind of instruction it is, `BPF_CLASS`.
const BPF_CLASS_MASK: u16 = 0x07;

/// Say what becomes of a request under a policy: by which rule, what filters see of it, and what their
/// programs do with it, step by step.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when the request is allowed;
  1  it is refused
  2  the policy or the request cannot be used

Example:
  ringwarden explain policy.toml connect addr=10.1.2.3 port=443
  ringwarden explain @container-default uring_cmd
  ringwarden explain site.toml -p app.toml openat2 'flags=O_WRONLY|O_CREAT'")]
pub(crate) struct Explain {
    /// A policy file, - for standard input, or a preset
    #[arg(value_name = "POLICY")]
    policy: String,
    /// A further policy, all of which must allow
    #[arg(short, long = "policy", value_name = "POLICY")]
    policies: Vec<String>,
    /// The operation that is asked for
    #[arg(value_name = "OP", value_parser = compile::operation)]
    op: Opcode,
    /// The fields that are not 0, as in a test: port=443, flags='O_WRONLY|O_CREAT'
    #[arg(value_name = "FIELD=VALUE")]
    fields: Vec<String>,
    /// The kernel that the policy is compiled for: posted, 7.0, 7.2, 7.3
    #[arg(long, value_name = "KERNEL", default_value_t)]
    kernel: KernelModel,
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// All about one request. The keys and their order are part of the format.
#[derive(Serialize)]
struct Report {
    request: String,
    kernel: String,
    allowed: bool,
    /// Those that decide: one of each layer where it is allowed, or the one that refuses it.
    rules: Vec<Rule>,
    /// What filters see of it.
    seen: Vec<Seen>,
    /// Of every filter, in the order of layers. None: what has no filter is allowed, or refused by DENY_REST.
    programs: Vec<Run>,
}

#[derive(Serialize)]
struct Rule {
    layer: usize,
    /// As `key = value`, in one line.
    rule: String,
    /// The policy file and line.
    at: String,
}

/// The value of a field, as policies write it.
#[derive(Serialize)]
struct Seen {
    field: &'static str,
    value: String,
}

/// A program, as it runs on the request.
#[derive(Serialize)]
struct Run {
    layer: usize,
    /// How many it has.
    instructions: usize,
    steps: Vec<Step>,
}

/// An instruction that is executed.
#[derive(Serialize)]
struct Step {
    index: usize,
    /// As `compile` prints it.
    instruction: String,
    #[serde(flatten)]
    found: Found,
}

/// What comes of it.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Found {
    /// The request is allowed, or not.
    Allows(bool),
    /// The index of the next instruction.
    Goto(usize),
    X(u32),
    A {
        value: u32,
        /// Fields that are in the word which was loaded.
        fields: Vec<&'static str>,
    },
}

impl Explain {
    pub(crate) fn execute(self) -> ExitCode {
        let names: Vec<_> = [&self.policy].into_iter().chain(&self.policies).cloned().collect();
        let loaded = layers::parse(&names)
            .and_then(|policies| Ok((layers::enforce(&policies, self.kernel)?, policies)));
        let ((enforcement, policies), request) = match (loaded, Request::parse(self.op, &self.fields)) {
            (Ok(loaded), Ok(request)) => (loaded, request),
            (loaded, request) => {
                if let Err(unusable) = loaded {
                    unusable.print();
                }
                if let Err(errors) = request {
                    anstream::eprint!("{}", errors.render(style::stderr_is_coloured()));
                }
                return ExitCode::from(UNUSABLE);
            }
        };
        match request::context(self.kernel, &request) {
            Ok(context) => {
                let report = self.report(&enforcement, &policies, &request, &context);
                let status = if report.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE };
                match self.format {
                    Format::Json => return format::json(&report, status),
                    Format::Human => report.print(policies.len() > 1, self.op, &enforcement),
                }
                status
            }
            Err(errno) => {
                style::fail(format_args!("the kernel answers {errno} before it asks a filter"), UNUSABLE)
            }
        }
    }

    fn report(
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
        let fields = Field::all_of(self.op).filter(|field| field.since <= self.kernel);
        let seen =
            fields.filter_map(|field| Some(Seen { field: field.name, value: field.show(context.words())? }));
        let filters = enforcement.filters().filters(self.op).zip(enforcement.rules(self.op));
        let programs = filters.map(|(filter, origin)| Run {
            layer: origin.layer,
            instructions: filter.program.insns().len(),
            steps: self.steps(&filter.program, context),
        });
        Report {
            request: request.to_string(),
            kernel: self.kernel.to_string(),
            allowed,
            rules,
            seen: seen.collect(),
            programs: programs.collect(),
        }
    }

    /// The instructions that decide, and what each finds.
    fn steps(&self, program: &Program, context: &Context) -> Vec<Step> {
        let steps = program.trace(context.words());
        let listing = disassemble(program.insns());
        let step_of = |(at, step): (usize, &ringwarden::cbpf::Step)| {
            let insn = program.insns()[step.index];
            let found = match (insn.code & BPF_CLASS_MASK, steps.get(at + 1)) {
                (BPF_RET, _) | (_, None) => Found::Allows(program.run(context.words()) != 0),
                (BPF_JMP, Some(next)) => Found::Goto(next.index),
                (_, Some(next)) if next.x != step.x => Found::X(next.x),
                (_, Some(next)) => Found::A { value: next.a, fields: self.loaded(insn) },
            };
            let instruction = listing.statement(step.index)?.to_string().trim().to_owned();
            Some(Step { index: step.index, instruction, found })
        };
        steps.iter().enumerate().filter_map(step_of).collect()
    }

    /// The names of what a load of the context finds.
    fn loaded(&self, insn: Insn) -> Vec<&'static str> {
        if insn.code != BPF_LD | BPF_W | BPF_ABS {
            return Vec::new();
        }
        let word = insn.k as usize / 4;
        let fields = Field::all_of(self.op).filter(|field| field.words().contains(&word));
        fields.map(|field| field.name).collect()
    }
}

impl Rule {
    fn new(layer: usize, RuleOrigin { file, line, key, text, .. }: &RuleOrigin) -> Self {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { layer, rule: format!("{key} = {text}"), at: format!("{file}:{line}") }
    }
}

impl Report {
    /// `layered`: it is of use to say of which layer something is.
    fn print(&self, layered: bool, op: Opcode, enforcement: &Enforcement) {
        let Self { request, kernel, allowed, rules, seen, programs } = self;
        if *allowed {
            say!("{GOOD}allowed{GOOD:#}  {request}");
        } else {
            say!("{BAD}refused{BAD:#}  {request}");
        }
        for Rule { layer, rule, at } in rules {
            let layer = if layered { format!(", layer {layer}") } else { String::new() };
            say!("by {BOLD}{rule}{BOLD:#}\nat {at}{layer}");
        }
        say!("\nWhat filters of kernel {kernel} see of it:");
        for Seen { field, value } in seen {
            say!("  {field:<10} {value}");
        }
        if programs.is_empty() {
            let rest = enforcement.filters().is_rest_denied(op);
            let why = if rest { "DENY_REST refuses what has none" } else { "what has none is allowed" };
            say!("\n{op} has no filter: {why}");
        }
        for Run { layer, instructions, steps } in programs {
            let of = if programs.len() > 1 { format!(" of layer {layer}") } else { String::new() };
            say!("\nThe program{of}, as it runs on this request:");
            for Step { index, instruction, found } in steps {
                say!("  {index:>4}  {instruction:<26} {}", found.text());
            }
            say!("  {DIM}{} of {instructions} instructions{DIM:#}", steps.len());
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
