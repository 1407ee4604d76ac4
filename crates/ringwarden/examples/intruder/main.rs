//! A program that attacks the guard that runs it, instead of racing with it.
//!
//! Each subcommand is one kind of attack and prints one JSON object: what was tried, and what came
//! of it (`"done"`, or the error). It knows nothing of what should come of it; `tests/intruder.rs`
//! does. Run it under the policy beside this file.

mod memory;
mod orphans;
mod page;
mod requests;
mod rings;

use clap::Parser;
use serde_json::{Map, Value};
use std::io;
use std::path::PathBuf;

/// Attacks the guard that runs this program.
#[derive(Parser)]
enum Attack {
    /// Read, write, trace and rob the guard's processes
    Memory,
    /// Change, move or replace the page with the guard's copies of arguments
    Page {
        /// An empty folder
        folder: PathBuf,
    },
    /// Put own memory in the place of that page in a forked child
    Replace {
        /// An empty folder
        folder: PathBuf,
    },
    /// Kill one of the guard's processes and go on
    Kill {
        /// Which: 1 is the parent, 2 the parent's parent
        generation: usize,
        /// An empty folder
        folder: PathBuf,
    },
    /// Open rings until there are no more
    Exhaust,
    /// Open rings in many processes at once
    Forks {
        /// An empty folder
        folder: PathBuf,
    },
}

/// What was tried, and what came of it.
#[derive(Default)]
struct Attempts(Map<String, Value>);

impl Attempts {
    fn record<T>(&mut self, attempt: impl Into<String>, result: io::Result<T>) {
        let came = match result {
            Ok(_) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        self.0.insert(attempt.into(), came.into());
    }

    fn count(&mut self, what: &str, count: usize) {
        self.0.insert(what.into(), count.into());
    }
}

fn main() -> io::Result<()> {
    let attempts = match Attack::parse() {
        Attack::Memory => memory::attack()?,
        Attack::Page { folder } => page::attack(&folder)?,
        Attack::Replace { folder } => page::replace(&folder)?,
        Attack::Kill { generation, folder } => orphans::attack(generation, &folder)?,
        Attack::Exhaust => rings::exhaust()?,
        Attack::Forks { folder } => rings::forks(&folder)?,
    };
    println!("{}", Value::Object(attempts.0));
    Ok(())
}

/// The result of a system call that returns -1 and sets errno.
fn checked(ret: impl Into<i64>) -> io::Result<i64> {
    match ret.into() {
        -1 => Err(io::Error::last_os_error()),
        ret => Ok(ret),
    }
}
