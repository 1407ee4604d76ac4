//! `cargo xtask fuzz`: the targets of `fuzz/`, each for a while.
//!
//! libFuzzer asks for counters and comparisons that LLVM's own pass puts into programs, by options that every compiler
//! takes; only the sanitizers, which `cargo fuzz` adds, need a nightly one.

use crate::architecture::Architecture;
use crate::target_folder::target_folder;
use anyhow::{Context, bail, ensure};
use std::ffi::OsStr;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{env, fs, thread};

/// Run the fuzz targets of fuzz/, each for a while
///
/// A corpus grows for each in `fuzz` in the target folder. What one of them fails with is kept there, too, and named.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask fuzz                               # all, a minute each
  cargo xtask fuzz policy_parse --seconds 3600
  cargo xtask fuzz cbpf_asm --input FILE         # once, with what was found

Needs Debian's package g++.")]
pub(crate) struct Args {
    /// Only these
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each is run, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many run at a time [default: as many as there are processors]
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZero<usize>>,
    /// Run it with this file alone
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz");
/// Policies and profiles, with which targets that read text begin.
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");

/// What `cargo fuzz` asks of the compiler, without its sanitizers.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions";

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let all = targets()?;
    let wanted = if args.targets.is_empty() { &all } else { &args.targets };
    if let Some(unknown) = wanted.iter().find(|target| !all.contains(target)) {
        bail!("there is no target `{unknown}`; there are {}", all.join(", "));
    }
    let folder = target_folder()?.join("fuzz");
    let built = build(&folder)?;
    let fuzzers = wanted.iter().map(|target| {
        let mut fuzzer = Command::new(built.join(target));
        match &args.input {
            Some(input) => fuzzer.arg(input),
            None => fuzzer.args(for_a_while(&folder.join("corpus").join(target), args.seconds)?),
        };
        // What is found is named by libFuzzer, which ends with another status then.
        let found = folder.join("found").join(target);
        fs::create_dir_all(&found)?;
        fuzzer.arg(format!("-artifact_prefix={}/", found.display()));
        Ok((target.as_str(), fuzzer))
    });
    let jobs = args.jobs.map_or_else(thread::available_parallelism, Ok)?.get();
    run_all(fuzzers.collect::<anyhow::Result<Vec<_>>>()?, jobs)
}

/// Runs all of them, so many at a time. What one of several says is shown when it has ended.
fn run_all(fuzzers: Vec<(&str, Command)>, jobs: usize) -> anyhow::Result<()> {
    let together = jobs.min(fuzzers.len()) > 1;
    let waiting = Mutex::new(fuzzers.into_iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> anyhow::Result<()> {
        while let Some((target, mut fuzzer)) = next() {
            println!("{target}: begins");
            let cannot = || format!("cannot run {target}");
            let status = if together {
                let output = fuzzer.output().with_context(cannot)?;
                // libFuzzer writes to standard error.
                io::stderr().lock().write_all(&output.stderr)?;
                output.status
            } else {
                fuzzer.status().with_context(cannot)?
            };
            println!("{target}: ended");
            ensure!(status.success(), "{target} has found something: see above");
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })
}

/// The names of the files of targets.
fn targets() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for file in fs::read_dir(Path::new(FUZZ).join("fuzz_targets"))? {
        names.extend(file?.path().file_stem().and_then(OsStr::to_str).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// All targets, and where they lie. The machine's own processor is named as target, so that what runs while they are
/// built is not instrumented.
fn build(folder: &Path) -> anyhow::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--target", Architecture::X86_64.target()]);
    command.args(["--manifest-path", &format!("{FUZZ}/Cargo.toml")]);
    command
        .env("RUSTFLAGS", INSTRUMENTED)
        .env("CARGO_TARGET_DIR", folder)
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    ensure!(command.status().context("cannot run cargo")?.success(), "building the fuzz targets failed");
    Ok(folder.join(Architecture::X86_64.target()).join("release"))
}

/// Arguments of a fuzzer that goes on from what is in its corpus and in the project's files.
fn for_a_while(corpus: &Path, seconds: u64) -> anyhow::Result<Vec<String>> {
    fs::create_dir_all(corpus)?;
    let folders = [corpus.display().to_string(), SEEDS.to_owned()];
    let options = [format!("-max_total_time={seconds}"), "-timeout=10".into(), "-print_final_stats=1".into()];
    Ok(folders.into_iter().chain(options).collect())
}
