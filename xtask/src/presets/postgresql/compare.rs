//! What a policy costs PostgreSQL: the same work by turns, natively, under `@postgres` in both lanes, and with the
//! worker processes that PostgreSQL has for systems without io_uring.

use super::server::Postgres;
use super::{PRESET, PROCESSED, transactions};
use crate::presets::launch::Launch;
use crate::presets::root::Root;
use std::path::Path;

const WAYS: [(&str, Launch, &str); 4] = [
    ("io_uring", Launch::Natively, "io_method=io_uring"),
    ("io_uring under @postgres", Launch::Under(PRESET), "io_method=io_uring"),
    ("io_uring under @postgres, audited", Launch::Audited(PRESET), "io_method=io_uring"),
    ("worker", Launch::Natively, "io_method=worker"),
];
const WORK: [(&str, &[&str]); 2] = [
    ("transactions", &["--client=8", "--jobs=2"]),
    ("table scans", &["--client=2", "--no-vacuum", "--file=/run/scan.sql"]),
];

/// Prints how often each way did its work, as medians and as ratios to native io_uring.
pub(super) fn run(root: &Root, run: &Path, rounds: usize, seconds: u32) -> anyhow::Result<()> {
    let time = format!("--time={seconds}");
    let mut done = vec![vec![Vec::new(); WAYS.len()]; WORK.len()];
    for round in 1..=rounds {
        for (way, (name, launch, method)) in WAYS.into_iter().enumerate() {
            eprintln!("round {round}: {name}");
            let server = Postgres::start(root, run, launch, &[method])?;
            for (work, (_, args)) in WORK.into_iter().enumerate() {
                let args: Vec<&str> = args.iter().copied().chain([time.as_str()]).collect();
                done[work][way].push(transactions(&server.pgbench(&args)?, PROCESSED)?);
            }
            server.stop()?;
        }
    }
    println!("Medians of {rounds} rounds of {seconds} s, and ratios to native io_uring:");
    for ((work, _), done) in WORK.into_iter().zip(&mut done) {
        let medians: Vec<u64> = done.iter_mut().map(|counts| median(counts)).collect();
        for ((name, ..), median) in WAYS.into_iter().zip(&medians) {
            let rate = *median as f64 / f64::from(seconds);
            println!("  {work:13} {name:34} {rate:8.1} /s  {:.2}", *median as f64 / medians[0] as f64);
        }
    }
    Ok(())
}

fn median(counts: &mut [u64]) -> u64 {
    counts.sort_unstable();
    counts[counts.len() / 2]
}
