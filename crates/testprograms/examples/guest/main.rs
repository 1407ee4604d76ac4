//! A program that does nothing wrong, but does it in ways that break easily: run it under the guard.
//!
//! Each subcommand is one habit of a real program, and prints one JSON object with what came of it;
//! `tests/programs.rs` and `tests/users.rs` know what should.

mod counts;
mod kinds;
mod signals;
mod threads;

use clap::Parser;
use serde_json::{Map, Value};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Uses io_uring in ways that are allowed, and rare.
#[derive(Parser)]
enum Habit {
    /// Fork very often, interrupted by a timer
    Forks {
        /// How often
        count: u32,
        /// Between two signals, in microseconds
        #[arg(default_value_t = 1000)]
        interval: u64,
    },
    /// Submit one request at a time, interrupted by a timer
    Interrupted {
        /// How many
        count: u32,
        /// Between two signals, in microseconds
        interval: u64,
    },
    /// Say that there are eight requests where there are fewer
    Eight,
    /// Queue more than the ring has room for
    Overrun,
    /// Share a ring among threads that submit whatever is queued
    Shared,
    /// Wake a submission thread as libraries do
    Wake,
    /// Make and close a ring in many threads, one after the other
    Threads {
        /// How many
        count: usize,
    },
    /// Have many rings at once
    Rings {
        /// How many
        count: usize,
    },
    /// Make a ring of each kind, and submit
    Kinds {
        /// A file to open
        file: PathBuf,
    },
    /// Become another user and execute this program anew
    Become {
        /// The user's number
        user: u32,
        /// Go on without executing anything
        #[arg(long)]
        stay: bool,
        /// A file to open
        file: PathBuf,
    },
    /// Keep others from looking into this process
    Undumpable {
        /// A file to open
        file: PathBuf,
    },
    /// Have a thread whose name is not text
    Named {
        /// A file to open
        file: PathBuf,
    },
}

/// What was counted, and what came of calls.
#[derive(Default)]
struct Findings(Map<String, Value>);

impl Findings {
    fn count(&mut self, what: &str, count: u64) {
        self.0.insert(what.to_owned(), count.into());
    }

    fn record<T>(&mut self, what: &str, result: io::Result<T>) {
        let came = result.map_or_else(|error| error.to_string(), |_| "done".to_owned());
        self.0.insert(what.to_owned(), came.into());
    }
}

fn main() -> io::Result<()> {
    let mut findings = Findings::default();
    let findings_of = &mut findings;
    match Habit::parse() {
        Habit::Forks { count, interval } => {
            signals::forks(findings_of, count, Duration::from_micros(interval))?;
        }
        Habit::Interrupted { count, interval } => {
            signals::interrupted(findings_of, count, Duration::from_micros(interval))?;
        }
        Habit::Eight => counts::eight(findings_of)?,
        Habit::Overrun => counts::overrun(findings_of)?,
        Habit::Shared => counts::shared(findings_of)?,
        Habit::Wake => counts::wake(findings_of)?,
        Habit::Threads { count } => threads::rings(findings_of, count)?,
        Habit::Rings { count } => threads::at_once(findings_of, count),
        Habit::Kinds { file } => kinds::all(findings_of, &file),
        Habit::Become { user, stay, file } => {
            kinds::become_user(user, (!stay).then_some(&*file))?;
            kinds::all(findings_of, &file);
        }
        Habit::Undumpable { file } => {
            // SAFETY: takes numbers.
            checked(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })?;
            kinds::all(findings_of, &file);
        }
        Habit::Named { file } => {
            // SAFETY: a name that ends with a NUL; cut off within a letter, as long names are.
            checked(unsafe { libc::prctl(libc::PR_SET_NAME, c"\xd0\xb8\xd0\xbc\xd1".as_ptr()) })?;
            // One that nobody has seen under another name.
            std::thread::scope(|scope| scope.spawn(|| kinds::all(findings_of, &file)).join()).ok();
        }
    }
    println!("{}", Value::Object(findings.0));
    Ok(())
}

/// The result of a system call that returns -1 and sets errno.
fn checked(ret: impl Into<i64>) -> io::Result<i64> {
    match ret.into() {
        -1 => Err(io::Error::last_os_error()),
        ret => Ok(ret),
    }
}
