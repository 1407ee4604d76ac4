//! `cargo xtask kernel-fuzz`: the engine against real kernels, on filters and requests that nobody thought of.

use crate::architecture::Architecture;
use crate::guest::{self, Programs};
use crate::kernel::{Kernel, Series};
use crate::vm::Machine;
use anyhow::Context;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Hold the engine against kernels, on random filters and requests
///
/// Each kernel is booted in a virtual machine (see `conformance`), where one program registers random
/// filters, submits random requests, asks the engine what comes of them, and compares: what calls return,
/// payload sizes written back, completions. A disagreement is made smaller and printed with the seed and
/// the case's number, which lead to it again. Any makes this command fail; its place is then a row in
/// conformance/.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask kernel-fuzz                          # 7.2 and 7.3, 100000 programs each
  cargo xtask kernel-fuzz --kernel 7.3 --seed 7 --programs 1000000 --timeout 7200
  cargo xtask kernel-fuzz --kernel 7.2 --seed 1 --case 1406")]
pub(crate) struct Args {
    /// A kernel; can be given several times [default: 7.2 7.3]
    #[arg(long = "kernel", value_name = "VERSION")]
    kernels: Vec<Series>,
    /// Programs to register on each
    #[arg(long, default_value_t = 100_000)]
    programs: u64,
    /// Where randomness begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the case of this number
    #[arg(long)]
    case: Option<u64>,
    /// Seconds that a kernel may take
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let wanted = match args.kernels[..] {
        [] => &[Series { major: 7, minor: 2 }, Series { major: 7, minor: 3 }],
        ref wanted => wanted,
    };
    let programs = Programs::build(Architecture::X86_64)?;
    let fuzz = guest::build(&["kernel-fuzz"])?.join("kernel-fuzz");
    let mut agreed = true;
    // One after the other: each has work for two processors.
    for kernel in Kernel::fetch(Architecture::X86_64, wanted)? {
        agreed &= on_kernel(&kernel, args, &programs, &fuzz)?;
    }
    Ok(if agreed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether this kernel and the engine agree.
fn on_kernel(kernel: &Kernel, args: &Args, programs: &Programs, fuzz: &Path) -> anyhow::Result<bool> {
    let model = kernel.model().with_context(|| format!("{kernel} has no filters"))?;
    println!("{kernel}:");
    let mut machine = Machine::new(programs)?;
    machine.files().file(fuzz, Path::new("/kernel-fuzz"))?;
    let Args { programs, seed, .. } = args;
    let mut command = format!("/kernel-fuzz --model {model} --programs {programs} --seed {seed}");
    if let Some(case) = args.case {
        command += &format!(" --case {case}");
    }
    let command: Vec<_> = command.split(' ').map(Into::into).collect();
    let ended = machine.run(kernel, &command, None, Duration::from_secs(args.timeout))?;
    anyhow::ensure!(matches!(ended.status, 0 | 1), "kernel-fuzz ended with {}", ended.status);
    Ok(ended.status == 0)
}
