//! `cargo xtask conformance`: the case tables on real kernels. In the engine and under the guard they are tests.

mod liburing;
mod tables;

use crate::architecture::Architecture;
use crate::guest::Programs;
use crate::kernel::{Kernel, Series};
use clap::ValueEnum;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// What a virtual machine may take: ten times what it usually does.
const LIMIT: Duration = Duration::from_secs(300);

/// Hold the case tables of conformance/ against real kernels
///
/// A table says what a kernel does with io_uring filters; kernels have the last word. For each kernel
/// asked for, the newest such one that Debian has (sid, experimental, trixie) is fetched once, booted in
/// a virtual machine (QEMU, without KVM), and acts out every case that is about it. A kernel without
/// filters (6.12) acts out what comes before a filter, and must refuse that as an unknown call. Then
/// liburing's own tests of filters and restrictions run there, and under the guard here. `cargo test` holds
/// the engine and the guard against the same tables.
///
/// Each disagreement is a line: kernel, table, case, step, what the table says, what came. Any of them
/// makes this command fail. docs/kernels.md says what to do then.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask conformance                        # 7.2 and 7.3, everything
  cargo xtask conformance --kernel 6.12 --only tables
  cargo build -p ringwarden-player               # one case alone
  cargo xtask boot --kernel 7.2 -- target/debug/player batches \"the first of three\"

Needs Debian's packages qemu-system-x86, zstd, lz4 and xz-utils; for liburing also gcc, g++,
make and dpkg-dev; apt and, the first time, a network.")]
pub(crate) struct Args {
    /// A kernel, such as 6.12; can be given several times [default: 7.2 7.3]
    #[arg(long = "kernel", value_name = "VERSION")]
    kernels: Vec<Series>,
    /// Only some of it; can be given several times [default: everything]
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// The ringwarden binary for what runs here [default: built from this tree with --release]
    #[arg(long, value_name = "PATH")]
    guard: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The tables on the kernels
    Tables,
    /// liburing's tests on the kernels, and under the guard on this one
    Liburing,
}

impl Args {
    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// How many things were looked at, and which of them are not as they should be.
struct Tally {
    /// How many cases, or tests that stand for them.
    cases: usize,
    /// The same in words, and more: `444 cases, 5000 steps`.
    looked_at: String,
    /// A line each.
    disagreements: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut tallies = on_kernels(args)?;
    if args.has(Part::Liburing) {
        tallies.push((
            "the guard".to_owned(),
            liburing::run_under_guard(&liburing::build()?, args.guard.as_deref())?,
        ));
    }
    Ok(report(&tallies))
}

/// What came of the virtual machines, by kernel.
fn on_kernels(args: &Args) -> anyhow::Result<Vec<(String, Tally)>> {
    let wanted = match args.kernels[..] {
        [] => &[Series { major: 7, minor: 2 }, Series { major: 7, minor: 3 }],
        ref wanted => wanted,
    };
    let mut kernels = Kernel::fetch(Architecture::X86_64, wanted)?;
    kernels.dedup_by(|a, b| a.release == b.release);
    let programs = Programs::build(Architecture::X86_64)?;
    let liburing = if args.has(Part::Liburing) { Some(liburing::build()?) } else { None };
    let mut tallies = Vec::new();
    thread::scope(|scope| {
        let mut running = Vec::new();
        for kernel in &kernels {
            let (programs, liburing) = (&programs, liburing.as_ref());
            running.push(scope.spawn(move || {
                let name = kernel.to_string();
                let mut tallies = Vec::new();
                if args.has(Part::Tables) {
                    eprintln!("{name}: the tables");
                    tallies.push((name.clone(), tables::play(kernel, programs)?));
                }
                if let Some(liburing) = liburing {
                    eprintln!("{name}: liburing's tests");
                    tallies.push((name, liburing::run(liburing, kernel, programs)?));
                }
                anyhow::Ok(tallies)
            }));
        }
        for thread in running {
            tallies.extend(thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??);
        }
        anyhow::Ok(())
    })?;
    Ok(tallies)
}

/// Every disagreement, then the counts.
fn report(tallies: &[(String, Tally)]) -> ExitCode {
    let lines = tallies.iter().flat_map(|(who, tally)| tally.disagreements.iter().map(move |it| (who, it)));
    lines.for_each(|(who, line)| println!("{who}: {line}"));
    let (mut cases, mut disagreements) = (0, 0);
    for (who, tally) in tallies {
        println!("{who}: {}, {} disagreements", tally.looked_at, tally.disagreements.len());
        cases += tally.cases;
        disagreements += tally.disagreements.len();
    }
    println!("{cases} cases and tests, {disagreements} disagreements");
    if disagreements == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
