//! A program that tries to get forbidden requests past a guard by racing with it.
//!
//! Several rings hold requests that the policy (`policy.toml` beside this file) approves. While one
//! set of threads submits them, others flip single words of the requests, and of the memory they
//! point at, to forbidden values and back; forge head, tail and index array in the shared headers;
//! put other rings, and things that are no rings, behind the descriptor that is being submitted to;
//! and submit more than there is. One thread watches for [effects](arena) of forbidden requests.
//!
//! Prints one JSON object: `violations` per [bait], and `progress`, the number of completed
//! ordinary requests at each quarter of the time. Without a guard the violations run into the
//! thousands; that shows that the races are real.
//!
//! `ringwarden run -p policy.toml -- adversary --seconds 120 EMPTY_FOLDER`

mod arena;
mod bait;
mod race;
mod random;

use arena::Arena;
use clap::Parser;
use race::Race;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Races io_uring requests against whoever judges them.
#[derive(Parser)]
struct Args {
    /// An empty folder for the files that the requests aim at
    folder: PathBuf,
    /// How long to go on
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// End early once every bait was taken
    #[arg(long)]
    until_taken: bool,
    /// Only these baits
    #[arg(long, value_delimiter = ',')]
    bait: Vec<String>,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    arena::limit_descriptors()?;
    let arena = Arena::new(&args.folder)?;
    let mut baits = bait::table(&arena);
    baits.retain(|bait| {
        args.bait.is_empty() || bait.name == "progress" || args.bait.iter().any(|name| name == bait.name)
    });
    let report = Race::new(arena, baits)?.run(Duration::from_secs_f64(args.seconds), args.until_taken)?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
