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
    let mut done = vec![vec![Vec::<u64>::new(); WAYS.len()]; WORK.len()];
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
    println!(
        "Medians of {rounds} rounds of {seconds} s, and of the ratios to native io_uring in each round:"
    );
    for ((work, _), done) in WORK.into_iter().zip(&done) {
        for ((name, ..), counts) in WAYS.into_iter().zip(done) {
            let ratios = counts.iter().zip(&done[0]).map(|(&count, &native)| count as f64 / native as f64);
            let rate = median(counts.iter().map(|&count| count as f64)) / f64::from(seconds);
            println!("  {work:13} {name:34} {rate:8.1} /s  {:.2}", median(ratios));
        }
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
