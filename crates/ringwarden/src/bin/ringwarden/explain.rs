//! `ringwarden explain`: what becomes of one request, and why.

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
            Ok(context) => self.explain(&enforcement, &policies, &request, &context),
            Err(errno) => {
                style::fail(format_args!("the kernel answers {errno} before it asks a filter"), UNUSABLE)
            }
        }
    }

    fn explain(
        &self,
        enforcement: &Enforcement,
        policies: &[Policy],
        request: &Request,
        context: &Context,
    ) -> ExitCode {
        let allowing = |(layer, policy): (usize, &Policy)| {
            let (_, rule) = policy.decide(context.words());
            (layer, rule.clone())
        };
        let (allowed, rules): (bool, Vec<_>) = match enforcement.filters().verdict(context) {
            Verdict::Allow => (true, policies.iter().enumerate().map(allowing).collect()),
            Verdict::Deny(denial) => {
                let origin = enforcement.origin(&denial, context);
                (false, origin.into_iter().map(|origin| (origin.layer, origin.rule)).collect())
            }
        };
        if allowed {
            say!("{GOOD}allowed{GOOD:#}  {request}");
        } else {
            say!("{BAD}refused{BAD:#}  {request}");
        }
        for (layer, RuleOrigin { file, line, key, text, .. }) in rules {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let layer = if policies.len() > 1 { format!(", layer {layer}") } else { String::new() };
            say!("by {BOLD}{key} = {text}{BOLD:#}\nat {file}:{line}{layer}");
        }
        say!("\nWhat filters of kernel {} see of it:", self.kernel);
        let fields = Field::all_of(self.op).filter(|field| field.since <= self.kernel);
        for (field, value) in fields.filter_map(|field| Some((field, field.show(context.words())?))) {
            say!("  {:<10} {value}", field.name);
        }
        let mut filters = enforcement.filters().filters(self.op).peekable();
        if filters.peek().is_none() {
            let rest = enforcement.filters().is_rest_denied(self.op);
            let why = if rest { "DENY_REST refuses what has none" } else { "what has none is allowed" };
            say!("\n{} has no filter: {why}", self.op);
        }
        let several = enforcement.filters().filters(self.op).count() > 1;
        for (filter, origin) in filters.zip(enforcement.rules(self.op)) {
            let of = if several { format!(" of layer {}", origin.layer) } else { String::new() };
            say!("\nThe program{of}, as it runs on this request:");
            self.step_through(&filter.program, context);
        }
        if allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// The instructions that decide, and what each finds.
    fn step_through(&self, program: &Program, context: &Context) {
        let steps = program.trace(context.words());
        let listing = disassemble(program.insns());
        for (at, step) in steps.iter().enumerate() {
            let Some(statement) = listing.statement(step.index) else { continue };
            let insn = program.insns()[step.index];
            let next = steps.get(at + 1);
            let found = match (insn.code & BPF_CLASS_MASK, next) {
                (BPF_RET, _) | (_, None) => match program.run(context.words()) {
                    0 => format!("{BAD}refuses{BAD:#}"),
                    _ => format!("{GOOD}allows{GOOD:#}"),
                },
                (BPF_JMP, Some(next)) => format!("goes to {}", next.index),
                (_, Some(next)) if next.x != step.x => format!("X = {:#x}", next.x),
                (_, Some(next)) => format!("A = {:#x}{}", next.a, self.loaded(insn)),
            };
            say!("  {:>4}  {:<26} {found}", step.index, statement.to_string().trim());
        }
        let (run, all) = (steps.len(), program.insns().len());
        say!("  {DIM}{run} of {all} instructions{DIM:#}");
    }

    /// The names of what a load of the context finds.
    fn loaded(&self, insn: Insn) -> String {
        if insn.code != BPF_LD | BPF_W | BPF_ABS {
            return String::new();
        }
        let word = insn.k as usize / 4;
        let fields = Field::all_of(self.op).filter(|field| field.words().contains(&word));
        let names: Vec<_> = fields.map(|field| field.name).collect();
        if names.is_empty() { String::new() } else { format!("  {DIM}{}{DIM:#}", names.join(", ")) }
    }
}
