//! PostgreSQL 18 with `io_method=io_uring`: a cluster is made, filled, worked on, checked and shut down under
//! `@postgres`, worked on again with an audit and under `@container-default`, and a policy without `readv` is seen to
//! fail in words that an administrator understands.

mod compare;
mod server;

use super::launch::{self, Launch};
use super::root::Root;
use crate::debian::output;
use anyhow::{Context, ensure};
use server::Postgres;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long PostgreSQL works, and how often for a comparison.
#[derive(clap::Args)]
#[group(id = "postgresql")]
pub(crate) struct Args {
    /// Seconds that each of pgbench's runs lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    seconds: u32,
    /// Rounds in which PostgreSQL's io_uring under @postgres, native io_uring and io_method=worker are compared
    #[arg(long, value_name = "ROUNDS", default_value_t = 0)]
    compare: usize,
}

const PRESET: &str = "@postgres";
/// The wrong policy, as a file.
const WITHOUT_READV: &str = "version = 1\nname = \"without-readv\"\nextends = [\"@postgres\"]\n\n\
     [ops]\nreadv = \"deny\"\n";
const SCAN: &str = "select sum(abalance) from pgbench_accounts";

pub(super) fn run(root: &Root, args: &Args) -> anyhow::Result<()> {
    let run = root.empty_run()?;
    launch::is_held_by_the_kernel(root, PRESET)?;
    fs::write(run.join("scan.sql"), format!("{SCAN};\n"))?;
    output(Launch::Under(PRESET).command(root, "initdb").args(["-D", "/run/data", "-A", "trust"]).args([
        "-c",
        "io_method=io_uring",
        "--no-sync",
    ]))?;
    work(root, &run, args.seconds)?;
    for launch in [Launch::Audited(PRESET), Launch::Audited("@container-default")] {
        let server = Postgres::start(root, &run, launch, &[])?;
        let (scans, requests) = scan(&server, 1)?;
        server.stop()?;
        launch::nothing_was_refused(&run)?;
        println!("  {scans} scans with {requests} requests audited, none refused");
    }
    refusal(root, &run)?;
    if args.compare > 0 {
        compare::run(root, &run, args.compare, args.seconds)?;
    }
    Ok(())
}

/// Fills the cluster and works on it under the preset, and looks whether all is well.
fn work(root: &Root, run: &Path, seconds: u32) -> anyhow::Result<()> {
    let server = Postgres::start(root, run, Launch::Under(PRESET), &[])?;
    let version = server.value("show server_version")?;
    ensure!(server.value("show io_method")? == "io_uring", "PostgreSQL does not use io_uring");
    // More than PostgreSQL's own buffers hold, so that scans read from files.
    server.pgbench(&["--initialize", "--scale=20", "--quiet"])?;
    let work = server.pgbench(&["--client=8", "--jobs=2", &format!("--time={seconds}")])?;
    let failed = transactions(&work, "number of failed transactions:")?;
    let work = transactions(&work, PROCESSED)?;
    ensure!(failed == 0, "{failed} transactions failed:\n{}", server.log()?);
    let (scans, requests) = scan(&server, seconds)?;
    // What each of the transactions has added to four tables.
    let sums = "select count(distinct sum), (select count(*) from pgbench_history) from (
         select sum(abalance) from pgbench_accounts union all select sum(bbalance) from pgbench_branches
         union all select sum(tbalance) from pgbench_tellers union all select sum(delta) from pgbench_history
         ) as sums";
    let sums = server.value(sums)?;
    ensure!(sums == format!("1|{work}"), "{work} transactions, but the tables say {sums}");
    server.stop()?;
    let checked = output(root.command("pg_checksums").args(["--check", "-D", "/run/data"]))?;
    ensure!(checked.contains("Bad checksums:  0\n"), "{checked}");
    println!("PostgreSQL {version} under {PRESET}: initdb to shutdown, as an ordinary user");
    println!("  {work} transactions and {scans} table scans, none failed; sums and checksums are right");
    println!("  {requests} requests through io_uring by the kernel's count");
    Ok(())
}

/// Reads tables for a while: how often, and the requests that have gone through io_uring since the start.
fn scan(server: &Postgres<'_>, seconds: u32) -> anyhow::Result<(u64, u64)> {
    let seconds = format!("--time={seconds}");
    let report = server.pgbench(&["--client=2", "--no-vacuum", "--file=/run/scan.sql", &seconds])?;
    let scans = transactions(&report, PROCESSED)?;
    let requests = server.requests()?;
    ensure!(requests > scans, "{scans} scans, but only {requests} requests through io_uring");
    Ok((scans, requests))
}

/// How a refusal is told of, and how long that may take.
const TOLD: &str = "ringwarden: refused readv";
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows what a policy that refuses too much looks like, on both sides.
fn refusal(root: &Root, run: &Path) -> anyhow::Result<()> {
    fs::write(run.join("without-readv.toml"), WITHOUT_READV)?;
    // One request at a time: PostgreSQL panics where a batch ends early.
    let launch = Launch::Audited("/run/without-readv.toml");
    let server = Postgres::start(root, run, launch, &["effective_io_concurrency=1"])?;
    let failed = server.attempt(SCAN)?;
    ensure!(!failed.status.success(), "the scan did not fail: {failed:?}");
    // The guard waits for nobody who reads what it tells.
    let told = Instant::now();
    let log = loop {
        let log = server.log()?;
        if log.contains(TOLD) || told.elapsed() > PATIENCE {
            break log;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let line = |start: &str| {
        let found = log.lines().find_map(|line| line.find(start).map(|at| &line[at..]));
        found.with_context(|| format!("no line with `{start}`:\n{log}"))
    };
    let (error, told) = (line("ERROR:  could not read blocks")?, line(TOLD)?);
    ensure!(error.ends_with("Permission denied"), "{error}");
    ensure!(server.value("select 1")? == "1", "the server did not survive");
    println!("The same without readv: the scan fails, the server lives");
    println!("  PostgreSQL's log: {error}\n  {told}");
    server.stop()
}

const PROCESSED: &str = "number of transactions actually processed:";

/// The number behind `label` in a report of pgbench's.
fn transactions(report: &str, label: &str) -> anyhow::Result<u64> {
    let number = report.lines().find_map(|line| line.strip_prefix(label)?.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).with_context(|| format!("no `{label}` in:\n{report}"))
}
