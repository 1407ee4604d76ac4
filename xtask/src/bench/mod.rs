//! `cargo xtask bench`: what the guard costs, as ratios to native in one run.
//!
//! Every measurement alternates between native and guarded rounds, and its ratio is the median over the pairs of
//! neighbours, so that what the machine does meanwhile hits both. Nothing here is an absolute figure.

pub(crate) mod client;
mod emulate;
mod fio;
mod memory;
mod start;
mod verdicts;

use crate::guard::Guard;
use anyhow::{Context, bail, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::path::PathBuf;
use std::process::Command;

/// Measure the guard against native io_uring
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The ringwarden binary [default: built from this tree with --release]
    #[arg(long, value_name = "PATH")]
    guard: Option<PathBuf>,
    /// The lane, as `ringwarden run` takes it
    #[arg(long, value_name = "LANE", default_value = "split")]
    lane: String,
    /// Only measurements whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Rounds of each measurement, natively and under the guard
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each round lasts
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// A disk-backed folder for fio's file [default: in the cache]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Print Markdown tables
    #[arg(long)]
    markdown: bool,
}

/// What else is measured.
#[derive(clap::Subcommand)]
enum What {
    Emulate(emulate::Args),
    Verdicts(verdicts::Args),
}

/// Has the same done by a program that is built for speed.
fn run_optimised() -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--release", "--locked", "--package", "xtask", "--"]);
    let status = command.args(std::env::args_os().skip(1)).status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo: {status}");
    Ok(())
}

/// Something that happens so and so often in a second.
struct Measurement {
    name: &'static str,
    wanted: Promise,
    job: Job,
    /// Further arguments of our client where it is not under the guard, and whether a policy that denies SQPOLL is
    /// enough for it.
    natively: &'static [&'static str],
    without_sqpoll: bool,
}

/// The ratios that the project promises, 0 where it promises nothing.
#[derive(Clone, Copy)]
struct Promise {
    split: f64,
    /// In the lanes where the kernel itself holds rings.
    kernel: f64,
}

impl Promise {
    fn of(self, lane: &str) -> f64 {
        if lane == "split" { self.split } else { self.kernel }
    }
}

const fn promise(split: f64, kernel: f64) -> Promise {
    Promise { split, kernel }
}

enum Job {
    /// Our own client, with these arguments; on one core together with the guard if `pinned`.
    Client { args: &'static [&'static str], pinned: bool },
    /// fio's random reads.
    Fio(fio::Source),
}

const fn nop(name: &'static str, wanted: Promise, args: &'static [&'static str]) -> Measurement {
    Measurement { job: Job::Client { args, pinned: true }, ..client(name, wanted, args) }
}

const fn client(name: &'static str, wanted: Promise, args: &'static [&'static str]) -> Measurement {
    let job = Job::Client { args, pinned: false };
    Measurement { name, wanted, job, natively: &[], without_sqpoll: false }
}

/// The same where a policy that denies SQPOLL lets the kernel answer by its bitmap, against what any seccomp filter
/// costs.
const fn against_seccomp(measurement: Measurement) -> Measurement {
    Measurement { natively: &["--filter"], without_sqpoll: true, ..measurement }
}

const MEASUREMENTS: [Measurement; 12] = [
    nop("NOP, batch 1, one core", promise(0.0, 0.9), &["nop", "--batch", "1"]),
    against_seccomp(nop(
        "NOP, batch 1, one core, against a seccomp filter",
        promise(0.0, 0.99),
        &["nop", "--batch", "1"],
    )),
    nop("NOP, batch 4, one core", promise(0.0, 0.0), &["nop", "--batch", "4"]),
    nop("NOP, batch 16, one core", promise(0.0, 0.97), &["nop", "--batch", "16"]),
    nop("NOP, batch 64, one core", promise(0.45, 0.98), &["nop", "--batch", "64"]),
    nop("NOP, batch 256, one core", promise(0.65, 0.98), &["nop", "--batch", "256"]),
    Measurement {
        job: Job::Fio(fio::Source::Disk),
        ..client("fio randread 4k O_DIRECT, depth 32, batch 16", promise(0.9, 0.98), &[])
    },
    Measurement {
        job: Job::Fio(fio::Source::Memory),
        ..client("fio randread 4k tmpfs, depth 32, batch 1", promise(0.0, 0.95), &[])
    },
    client("wait for a completion", promise(0.95, 0.95), &["wait"]),
    client("enter with nothing to submit", promise(0.95, 0.0), &["enter"]),
    against_seccomp(client("enter, against a seccomp filter", promise(0.0, 1.0), &["enter"])),
    client("ring set-up and tear-down", promise(0.125, 0.25), &["setup"]),
];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        Some(What::Verdicts(args)) => return verdicts::run(args),
        // What measures is not to be what is measured.
        _ if cfg!(debug_assertions) => return run_optimised(),
        Some(What::Emulate(args)) => return emulate::run(args),
        None => {}
    }
    let guard = Guard::allowing_everything(args.guard.as_deref())?.with_lane(&args.lane);
    let guard_without_sqpoll =
        Guard::allowing_everything(args.guard.as_deref())?.with_lane(&args.lane).without_sqpoll()?;
    let reads = fio::Reads::new(args.folder.as_deref(), args.seconds)?;
    let mut rows = vec![["what", "native /s", "guard /s", "ratio", "wanted"].map(str::to_owned)];
    // Filters of tasks say nothing of rings.
    let fits = |measurement: &&Measurement| !(measurement.without_sqpoll && args.lane == "tasks");
    let chosen = MEASUREMENTS.iter().filter(fits);
    for measurement in chosen.filter(|measurement| measurement.name.contains(&args.only)) {
        let _pin = match measurement.job {
            Job::Client { pinned: true, .. } => Some(OneCore::new()?),
            _ => None,
        };
        let guard = if measurement.without_sqpoll { &guard_without_sqpoll } else { &guard };
        let (mut native, mut guarded) = (Vec::new(), Vec::new());
        for round in 0..args.rounds.max(1) {
            let natively_first = round % 2 == 0;
            if natively_first {
                native.push(rate(measurement, &reads, args.seconds, None)?);
            }
            guarded.push(rate(measurement, &reads, args.seconds, Some(guard))?);
            if !natively_first {
                native.push(rate(measurement, &reads, args.seconds, None)?);
            }
        }
        let ratio = median(guarded.iter().zip(&native).map(|(guarded, native)| guarded / native).collect());
        let (native, guarded) = (median(native), median(guarded));
        eprintln!("{}: {ratio:.2}", measurement.name);
        let wanted = measurement.wanted.of(&args.lane);
        let wanted = if wanted > 0.0 { format!("{wanted}") } else { String::new() };
        rows.push([
            measurement.name.to_owned(),
            format!("{native:.0}"),
            format!("{guarded:.0}"),
            format!("{ratio:.2}"),
            wanted,
        ]);
    }
    print_table(&rows, args.markdown);
    if start::NAME.contains(&args.only) {
        println!();
        print_table(&start::table(&guard, args.rounds)?, args.markdown);
    }
    if "memory".contains(&args.only) {
        println!();
        print_table(&memory::table(&guard)?, args.markdown);
    }
    Ok(())
}

/// One round: how often it happened in a second.
fn rate(
    measurement: &Measurement,
    reads: &fio::Reads,
    seconds: f64,
    guard: Option<&Guard>,
) -> anyhow::Result<f64> {
    let args = match measurement.job {
        Job::Client { args, .. } => args,
        Job::Fio(source) => return reads.rate(source, guard),
    };
    let mut command = client_command(guard)?;
    let more = if guard.is_none() { measurement.natively } else { &[] };
    command.args(args).args(more).arg("--seconds").arg(seconds.to_string());
    let output = command.output()?;
    if !output.status.success() {
        bail!("{}: {command:?}: {output:?}", measurement.name);
    }
    String::from_utf8_lossy(&output.stdout).trim().parse().context("the client printed no rate")
}

/// This program as the client, natively or under `guard`.
fn client_command(guard: Option<&Guard>) -> anyhow::Result<Command> {
    let own = std::env::current_exe()?;
    let mut command = match guard {
        Some(guard) => guard.command(own),
        None => Command::new(own),
    };
    command.arg("bench-client");
    Ok(command)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Keeps this thread, and the programs that it starts, on one core.
struct OneCore {
    before: CpuSet,
}

impl OneCore {
    fn new() -> anyhow::Result<Self> {
        let before = sched_getaffinity(None)?;
        let last = (0..CpuSet::MAX_CPU).rfind(|&core| before.is_set(core)).context("no core to run on")?;
        let mut one = CpuSet::new();
        one.set(last);
        sched_setaffinity(None, &one)?;
        Ok(Self { before })
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        // It was in force before.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// Prints `rows`, the first of which names the columns.
fn print_table<const N: usize>(rows: &[[String; N]], markdown: bool) {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let [left, between, right] = if markdown { ["| ", " | ", " |"] } else { ["", "  ", ""] };
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{left}{}{right}", cells.join(between));
        if markdown && number == 0 {
            println!("|{}", "---|".repeat(N));
        }
    }
}
