//! `ringwarden diff`: what a change to a policy, or to a filter, allows and refuses.

mod apart;
pub(crate) mod calls;
pub(crate) mod example;
mod relation;
pub(crate) mod report;
pub(crate) mod side;

use crate::format::{self, Format};
use crate::{FAILED, UNUSABLE, compile, kernels, style};
pub(crate) use apart::Apart;
use clap::Args;
pub(crate) use report::Report;
use ringwarden::Enforcement;
use ringwarden::diff::CompareError;
use ringwarden::uapi::{KernelModel, OPCODES, Opcode};
use side::{Read, Side};
use std::process::ExitCode;

/// Say exactly how two policies, or two filters, differ.
///
/// For every operation: whether NEW equals OLD, tightens it (allows less), loosens it (allows more) or
/// does neither, with a request for each direction in which they differ and the rules that decide it.
///
/// OLD and NEW are policies, or layers of policies separated by commas; or a filter's program as `disasm`
/// reads it, which needs `--op`.
///
/// With `--apart` the question is another one: whether there is no request that both allow.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when both allow the same;
  1  they differ, or it could not be found out for some operation;
     with --apart: some request is allowed by both, or it could not be found out
  2  a file cannot be read or used

Examples:
  ringwarden diff policy.toml policy-new.toml
  ringwarden diff base.toml base.toml,extra.toml
  ringwarden diff --op socket old.bin new.bin
  ringwarden diff --apart frontend.toml backend.toml")]
pub(crate) struct Diff {
    /// What there was
    #[arg(value_name = "OLD")]
    old: String,
    /// What takes its place
    #[arg(value_name = "NEW")]
    new: String,
    #[arg(long, value_name = "KERNEL", help = kernels::needed("The kernel that both are for"))]
    kernel: Option<KernelModel>,
    /// Only this operation; the one that a filter is for
    #[arg(long, value_name = "OPERATION", value_parser = compile::operation)]
    op: Option<Opcode>,
    /// Say instead whether both allow no request in common
    #[arg(long)]
    apart: bool,
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Diff {
    pub(crate) fn execute(self) -> ExitCode {
        let read = [&self.old, &self.new].map(|name| Read::of(name, self.op));
        let needed = read.iter().flatten().flat_map(Read::policies);
        let kernel = self.kernel.unwrap_or_else(|| Enforcement::needed(needed));
        let sides = read.map(|read| Side::new(read?, kernel, self.op));
        let (old, new) = match sides {
            [Ok(old), Ok(new)] => (old, new),
            sides => {
                sides.into_iter().filter_map(Result::err).for_each(|unusable| unusable.print());
                return ExitCode::from(UNUSABLE);
            }
        };
        let opcodes: Vec<_> = match self.op {
            Some(op) => vec![op],
            None => OPCODES.iter().map(|info| info.opcode).filter(|op| kernel.has_opcode(*op)).collect(),
        };
        if self.apart {
            return self.apart(Apart::new(&old, &new, &opcodes));
        }
        let report = match Report::new(&old, &new, &opcodes) {
            Ok(report) => report,
            Err(error) => return style::fail(error, FAILED),
        };
        let status = if report.is_equal() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        match self.format {
            Format::Json => format::json(&report, status),
            Format::Human => {
                report.print();
                status
            }
        }
    }

    fn apart(&self, apart: Result<Apart, CompareError>) -> ExitCode {
        let apart = match apart {
            Ok(apart) => apart,
            Err(error) => return style::fail(error, FAILED),
        };
        let status = if apart.is_apart() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        match self.format {
            Format::Json => format::json(&apart, status),
            Format::Human => {
                apart.print();
                status
            }
        }
    }
}
