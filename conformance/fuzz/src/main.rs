//! Holds the filter engine (`ringwarden-filter`, `ringwarden-cbpf`) against the kernel it runs on.
//!
//! Random [cases](case) are acted out twice, with [system calls](kernel) and by the [engine]: filters that
//! are registered, valid ones and others, and requests that they judge. What calls return, the payload
//! size written back and what completions say has to be the same. What requests that run result in is the
//! kernel's own business, and requests are such that it comes at once and leaves nothing behind
//! (`generate/request.rs` says what is left out for that).
//!
//! A case depends on nothing but the seed and its number. One that is seen differently is tried again,
//! [made smaller](shrink) and printed.

#![deny(unsafe_code)]

mod argument;
mod case;
#[allow(unsafe_code)]
mod child;
mod engine;
mod generate;
#[allow(unsafe_code)]
mod kernel;
#[allow(unsafe_code)]
mod memory;
mod outcome;
mod shrink;
mod text;
mod trial;

use child::Child;
use clap::Parser;
use ringwarden_filter::KernelModel;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use trial::{Disagreement, Seen, Trial};

/// Compare the filter engine with this kernel on random filters and requests
///
/// Exits with 0 if they never disagree, 1 if they do, 2 if that could not be found out.
#[derive(Parser)]
struct Args {
    /// The kernel that the engine is to be
    #[arg(long, value_name = "MODEL")]
    model: KernelModel,
    /// Where randomness begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Programs to register, at least
    #[arg(long, default_value_t = 50_000)]
    programs: u64,
    /// Processes
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Only the case of this number
    #[arg(long)]
    case: Option<u64>,
    /// Disagreements after which a process ends
    #[arg(long, default_value_t = 5)]
    most: u64,
}

/// What one process has seen.
#[derive(Default, Serialize, Deserialize)]
struct Tally {
    cases: u64,
    programs: u64,
    disagreements: u64,
    /// Seen once and not again.
    unsteady: u64,
    seen: Seen,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("kernel-fuzz: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs all processes and gives the number of disagreements.
fn run(args: &Args) -> anyhow::Result<u64> {
    spare_module_loading();
    let start = Instant::now();
    let children = (0..args.jobs).map(|job| Child::start(|| work(args, job)));
    let children = children.collect::<anyhow::Result<Vec<_>>>()?;
    let mut sum = Tally::default();
    for child in children {
        let tally: Tally = child.end()?;
        sum.cases += tally.cases;
        sum.programs += tally.programs;
        sum.disagreements += tally.disagreements;
        sum.unsteady += tally.unsteady;
        sum.seen.add(tally.seen);
    }
    let Tally { cases, programs, disagreements, unsteady, seen } = sum;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{programs} programs in {cases} cases, {} registered; {} requests, {} denied, {} cancelled, {} compared in order; {seconds:.0} s, {:.0} programs a second",
        seen.registered,
        seen.completed,
        seen.denied,
        seen.cancelled,
        seen.ordered,
        programs as f64 / seconds,
    );
    println!("seed {}: {disagreements} disagreements, {unsteady} unsteady", args.seed);
    Ok(disagreements)
}

/// Where nothing can load modules, has the kernel not try to for every unknown kind of socket.
fn spare_module_loading() {
    const HELPER: &str = "/proc/sys/kernel/modprobe";
    let exists = |path: String| Path::new(path.trim()).exists();
    if fs::read_to_string(HELPER).is_ok_and(|path| !exists(path)) {
        // It only takes longer otherwise.
        let _ = fs::write(HELPER, "\n");
    }
}

/// One process's share: every so many'th case.
fn work(args: &Args, job: u64) -> anyhow::Result<Tally> {
    let mut trial = Trial::new(args.model)?;
    let mut tally = Tally::default();
    if let Some(number) = args.case {
        if job == 0 {
            attempt(args, &mut trial, number, &mut tally)?;
        }
        return Ok(tally);
    }
    for number in (job..).step_by(args.jobs as usize) {
        if tally.programs >= args.programs.div_ceil(args.jobs) || tally.disagreements >= args.most {
            break;
        }
        attempt(args, &mut trial, number, &mut tally)?;
    }
    tally.seen = trial.seen;
    Ok(tally)
}

fn attempt(args: &Args, trial: &mut Trial, number: u64, tally: &mut Tally) -> anyhow::Result<()> {
    let case = generate::case(args.model, args.seed, number);
    tally.cases += 1;
    tally.programs += case.programs();
    let Some(seen) = trial.run(&case)? else { return Ok(()) };
    // A kernel that is late may do something else the next time.
    let mut steady = |case: &case::Case| (0..2).all(|_| matches!(trial.run(case), Ok(Some(_))));
    if !steady(&case) {
        tally.unsteady += 1;
        let difference = Difference(&case, &seen);
        return report(&format!("unsteady: seed {}, case {number}\n{difference}", args.seed));
    }
    tally.disagreements += 1;
    let case = shrink::shrink(case, &mut steady);
    let seen = trial.run(&case)?.unwrap_or(seen);
    report(&format!("seed {}, case {number}\n{case}{}", args.seed, Difference(&case, &seen)))
}

/// Both views of the step that is seen differently.
struct Difference<'a>(&'a case::Case, &'a Disagreement);

impl std::fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(case, Disagreement { step, kernel, engine }) = self;
        write!(f, "step {step}: {}\n  kernel -> {kernel}\n  engine -> {engine}\n", case.steps[*step])
    }
}

/// In one piece: other processes print too.
fn report(text: &str) -> anyhow::Result<()> {
    io::stdout().write_all(format!("{text}\n").as_bytes())?;
    Ok(())
}
