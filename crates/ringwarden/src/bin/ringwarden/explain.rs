//! `ringwarden explain`: what becomes of one request, and why.

use crate::style::{self, BAD, BOLD, GOOD};
use crate::{UNUSABLE, compile, layers, request};
use clap::Args;
use ringwarden::Enforcement;
use ringwarden::cbpf::disasm::disassemble;
use ringwarden::filter::{Context, Verdict};
use ringwarden::policy::{Field, Policy, Request, RuleOrigin};
use ringwarden::uapi::{KernelModel, Opcode};
use std::process::ExitCode;

/// Say what becomes of a request under a policy, by which rule, and what the filter looks at.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when the request is allowed;
  1  it is refused
  2  the policy or the request cannot be used

Example:
  ringwarden explain policy.toml connect addr=10.1.2.3 port=443")]
pub(crate) struct Explain {
    /// A policy file
    #[arg(value_name = "POLICY")]
    policy: String,
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
        let loaded = layers::parse(std::slice::from_ref(&self.policy))
            .and_then(|policies| Ok((layers::enforce(&policies, self.kernel)?, policies)));
        let (enforcement, policies) = match loaded {
            Ok(loaded) => loaded,
            Err(unusable) => {
                unusable.print();
                return ExitCode::from(UNUSABLE);
            }
        };
        let request = match Request::parse(self.op, &self.fields) {
            Ok(request) => request,
            Err(errors) => {
                anstream::eprint!("{}", errors.render(style::stderr_is_coloured()));
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
        let (allowed, rule) = match enforcement.filters().verdict(context) {
            Verdict::Allow => (true, policies.first().map(|policy| policy.decide(context.words()).1.clone())),
            Verdict::Deny(denial) => (false, enforcement.origin(&denial, context).map(|origin| origin.rule)),
        };
        if allowed {
            anstream::println!("{GOOD}allowed{GOOD:#}  {request}");
        } else {
            anstream::println!("{BAD}refused{BAD:#}  {request}");
        }
        if let Some(RuleOrigin { file, line, key, text, .. }) = rule {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            anstream::println!("by {BOLD}{key} = {text}{BOLD:#}\nat {file}:{line}");
        }
        anstream::println!("\nWhat filters of kernel {} see of it:", self.kernel);
        let fields = Field::all_of(self.op).filter(|field| field.since <= self.kernel);
        for (field, value) in fields.filter_map(|field| Some((field, field.show(context.words())?))) {
            anstream::println!("  {:<10} {value}", field.name);
        }
        let mut filters = enforcement.filters().filters(self.op).peekable();
        if filters.peek().is_none() {
            let rest = enforcement.filters().is_rest_denied(self.op);
            let why = if rest { "DENY_REST refuses what has none" } else { "what has none is allowed" };
            anstream::println!("\n{} has no filter: {why}", self.op);
        }
        for filter in filters {
            anstream::println!(
                "\nThe program:\n{}",
                disassemble(filter.program.insns()).to_string().trim_end()
            );
        }
        if allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
