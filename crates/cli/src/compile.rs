//! `ringwarden compile`: the filters that policies become.

mod form;

pub(crate) use form::Report;

use crate::{UNUSABLE, kernels, layers, output, style};
use clap::{Args, ValueEnum};
use ringwarden::Enforcement;
use ringwarden::policy::{self, Compiled, SYSCALL_EQUIVALENTS, closest};
use ringwarden::uapi::{KernelModel, OPCODES, Opcode};
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the filters that policies become.
///
/// The filters are in the order in which they are to be registered. Several policies are layers: all of
/// their filters are registered, and every one must allow a request.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when it is done;
  2  a policy cannot be read, has errors, or is not for this kernel, or FILE cannot be written

Examples:
  ringwarden compile policy.toml
  ringwarden compile policy.toml --op socket --format raw | ringwarden disasm -")]
pub(crate) struct Compile {
    /// Policy files, or - for standard input
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<String>,
    #[arg(long, value_name = "KERNEL", help = kernels::needed("The kernel to compile for"))]
    kernel: Option<KernelModel>,
    /// Only the filters of one operation
    #[arg(long, value_name = "OPERATION", value_parser = operation)]
    op: Option<Opcode>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Where to [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Assembly, with the rules as comments
    Text,
    /// One JSON object
    Json,
    /// Arrays of struct sock_filter
    C,
    /// The bytes of one program: an array of struct sock_filter
    Raw,
}

/// An operation by its name.
pub(crate) fn operation(name: &str) -> Result<Opcode, String> {
    let plain = name.to_ascii_lowercase();
    let plain = plain.strip_prefix("ioring_op_").unwrap_or(&plain);
    Opcode::from_name(name).ok_or_else(|| {
        let stand_for = SYSCALL_EQUIVALENTS.iter().filter(|row| row.calls().contains(&plain));
        let stand_for: Vec<_> = stand_for.map(|row| format!("`{}`", row.operation)).collect();
        match closest(plain, OPCODES.iter().map(|info| info.name)) {
            _ if name.starts_with('@') => "a group, and one operation is asked for".to_owned(),
            Some(closest) if closest == plain => format!("did you mean `{closest}`?"),
            _ if !stand_for.is_empty() => {
                format!("a system call; what does its work: {}", stand_for.join(", "))
            }
            Some(closest) => format!("no such operation; did you mean `{closest}`?"),
            None => "no such operation; `ringwarden ops` lists them".to_owned(),
        }
    })
}

impl Compile {
    pub(crate) fn execute(self) -> ExitCode {
        let policies = match layers::parse(&self.policies) {
            Ok(policies) => policies,
            Err(unusable) => {
                unusable.print();
                return ExitCode::from(UNUSABLE);
            }
        };
        let kernel = self.kernel.unwrap_or_else(|| Enforcement::needed(&policies));
        let mut compiled = match policy::compile(&policies, kernel) {
            Ok(compiled) => compiled,
            Err(errors) => {
                style::complain_whole(format_args!("{}", errors.render(style::stderr_is_coloured())));
                return ExitCode::from(UNUSABLE);
            }
        };
        if let Some(op) = self.op {
            compiled.filters.retain(|filter| filter.opcode == op);
        }
        match self.written(&compiled, kernel) {
            Err(reason) => style::fail(reason, UNUSABLE),
            Ok(bytes) => output::write(self.output.as_deref(), &bytes),
        }
    }

    fn written(&self, compiled: &Compiled, kernel: KernelModel) -> Result<Vec<u8>, String> {
        match self.format {
            Format::Text => Ok(form::text(compiled, kernel).into_bytes()),
            Format::Json => form::json(compiled, kernel).map_err(|error| error.to_string()),
            Format::C if kernel == KernelModel::Guard => {
                Err("no kernel takes the guard's filters, so there is nothing to register".to_owned())
            }
            Format::C => Ok(form::c(compiled, kernel).into_bytes()),
            Format::Raw => match &compiled.filters[..] {
                [filter] => Ok(filter.insns.iter().flat_map(|insn| insn.to_ne_bytes()).collect()),
                [] => Err("there is no filter: every request is allowed, or DENY_REST refuses it".to_owned()),
                filters => Err(format!(
                    "there are {} filters, and raw is one program: choose an operation by `--op`",
                    filters.len()
                )),
            },
        }
    }
}
