//! `cargo xtask bench verdicts`: how long a verdict takes, by what runs the programs, side by side in one run; and how many
//! instructions.
//!
//! Rounds of all engines alternate, and what is shown are medians of processor time: what the machine does meanwhile hits
//! all of them.

#![deny(unsafe_code)]

mod cases;
mod count;
mod ebpf;
mod engine;
mod plot;
mod table;

use anyhow::{Context, ensure};
use cases::Case;
use clap::Parser;
use engine::{Named, Order, Others};
use ringwarden_cbpf::Machine;
use std::fs;
use std::hint::black_box;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use table::{Cell, Table};

/// How long verdicts take, by what runs the programs, and how many instructions
///
/// Measured are the way from an SQE to its verdict; programs alone, on contexts that are there, against libpcap's
/// interpreter (Debian's package libpcap0.8), rbpf's interpreter and compiler, and the kernel's own as it runs filters of
/// sockets, which takes root or CAP_BPF; and registering. All have to give the same verdicts.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask bench verdicts",
    after_help = "\
Examples:
  cargo xtask bench verdicts --markdown --svg docs/plots
  cargo xtask bench verdicts --only stack --rounds 11
  cargo xtask bench verdicts --count             # fail where it is not as recorded
  cargo xtask bench verdicts --count --update    # record what it takes now"
)]
struct Args {
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Rounds of each measurement
    #[arg(long, default_value_t = 101)]
    rounds: usize,
    /// Print Markdown tables
    #[arg(long)]
    markdown: bool,
    /// Draw the tables of verdicts, too, each as an SVG in this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "only")]
    svg: Option<PathBuf>,
    /// Count the instructions of verdicts, and compare them with those that were recorded (xtask/verdicts/instructions.toml)
    ///
    /// valgrind counts (Debian's package of that name), on x86-64. Less than was recorded fails as well, so that what
    /// was gained is recorded.
    #[arg(long, conflicts_with_all = ["rounds", "svg"])]
    count: bool,
    /// Record the instructions that are counted
    #[arg(long, requires = "count", conflicts_with = "only")]
    update: bool,
    /// Judge all requests once, for valgrind to count
    #[arg(long, hide = true)]
    counted: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(!cfg!(debug_assertions), "this is not built for speed: `cargo xtask bench verdicts` is");
    let cases: Vec<_> = cases::all()?.into_iter().filter(|case| case.name.contains(&args.only)).collect();
    ensure!(!cases.is_empty(), "no case has a name with `{}`", args.only);
    if args.counted {
        count::judge(&cases)
    } else if args.count {
        count::run(&cases, &args.only, args.update, args.markdown)
    } else {
        measure(&cases, &args)
    }
}

fn measure(cases: &[Case], args: &Args) -> anyhow::Result<()> {
    let others = Others::find();
    let mut from_sqe = Table::new("from SQE to verdict, ns");
    let mut in_turn = Table::new("programs alone, ns");
    let mut repeated = Table::new("the same request again and again, ns");
    let mut registering = Table::new("to register, ns");
    for case in cases {
        if stderr().is_terminal() {
            eprintln!("measuring: {}", case.name);
        }
        let order = Order::InTurn(case.times);
        from_sqe.push(case.name, medians(engine::verdicts(case)?, order, args.rounds)?);
        if !case.programs.is_empty() {
            for (table, order) in [(&mut in_turn, order), (&mut repeated, Order::Repeated(16 * case.times))] {
                table.push(case.name, medians(engine::programs(case, &others, order)?, order, args.rounds)?);
            }
        }
        if case.programs.len() == 1 {
            registering.push(case.name, registrations(case, args.rounds));
        }
    }
    for table in [&from_sqe, &in_turn, &repeated, &registering] {
        table.print(args.markdown);
    }
    if let Some(folder) = &args.svg {
        for (name, table) in [("from-sqe", &from_sqe), ("in-turn", &in_turn), ("repeated", &repeated)] {
            let path = folder.join(format!("verdicts-{name}.svg"));
            fs::write(&path, plot::svg(table)?).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// The median of each engine, in nanoseconds a verdict.
fn medians(
    mut engines: Vec<Named<'_>>,
    order: Order,
    rounds: usize,
) -> anyhow::Result<Vec<(&'static str, Cell)>> {
    let mut times = vec![Vec::new(); engines.len()];
    for _ in 0..rounds.max(1) {
        for ((_, engine), times) in engines.iter_mut().zip(&mut times) {
            if let Ok(engine) = engine {
                times.push(engine.time(order)?);
            }
        }
    }
    let medians = engines.iter().zip(times);
    Ok(medians
        .map(|((name, engine), times)| (*name, engine.as_ref().map(|_| median(times)).map_err(|&no| no)))
        .collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What it takes to check a program and to make what runs it, and to be rid of it again.
fn registrations(case: &Case, rounds: usize) -> Vec<(&'static str, Cell)> {
    const TIMES: usize = 50;
    let machines =
        [("interpreter", Machine::Interpreter), ("decoded", Machine::Decoded), ("native", Machine::Native)];
    let mut times = machines.map(|_| Vec::new());
    for _ in 0..rounds.max(1) {
        for ((_, machine), times) in machines.into_iter().zip(&mut times) {
            let start = engine::spent();
            for _ in 0..TIMES {
                black_box(engine::registered(case, machine));
            }
            times.push((engine::spent() - start) / TIMES as f64);
        }
    }
    machines.into_iter().zip(times).map(|((name, _), times)| (name, Ok(median(times)))).collect()
}
