//! A program that attacks the guard that runs it, instead of racing with it.
//!
//! Each subcommand is one kind of attack and prints one JSON object: what was tried, and what came
//! of it (`"done"`, or the error). It knows nothing of what should come of it; `tests/intruder.rs`
//! does. Run it under the policy beside this file.

mod filters;
mod freezer;
mod hang;
mod memory;
mod orphans;
mod own;
mod page;
mod process;
mod pulse;
mod replay;
mod requests;
mod rings;
mod segment;
mod stalls;
mod stub;

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
    /// Put a System V segment in the page's place
    Segment {
        /// An empty folder
        folder: PathBuf,
    },
    /// Name files like lines of `smaps`
    Names {
        /// An empty folder
        folder: PathBuf,
    },
    /// Mount a forged `smaps` over this process's
    Mount {
        /// An empty folder
        folder: PathBuf,
    },
    /// Submit again what was approved before own filters and restrictions
    Replay {
        /// An empty folder
        folder: PathBuf,
    },
    /// Use up places for arguments with rings that come and go
    Fragments {
        /// An empty folder
        folder: PathBuf,
    },
    /// Use them up with rings that stay
    Greed {
        /// An empty folder
        folder: PathBuf,
    },
    /// Register long filters until there are no more
    FilterMemory,
    /// Submit through many long filters
    FilterTime,
    /// Take away the instruction by which the guard makes calls
    Jump {
        /// Of which call
        injected: stalls::Injected,
        /// In a thread whose name is not text
        #[arg(long)]
        garbled: bool,
    },
    /// Be frozen while making rings
    Freeze {
        /// A control group, of version 2
        group: PathBuf,
    },
    /// Put a socket that lingers where the guard closes a descriptor
    Linger,
    /// Hold the lock of the address space
    Lock,
    /// Have much memory mapped
    Much,
    /// Have the guard read memory that hangs
    Hang {
        /// As what
        argument: hang::Argument,
        /// A file whose reads are never answered
        file: PathBuf,
        /// Comes to be when the file is read
        asked: PathBuf,
        /// Have a thread's call hang, and then execute something else
        #[arg(long)]
        escapes: bool,
    },
    /// Fork, and be at work until killed
    LiveOn,
    /// Hold a lock of a process that has a ring
    Hold {
        /// Which
        lock: hang::Lock,
        /// A file whose closing or writing hangs
        file: PathBuf,
        /// Comes to be when it hangs, and ends that when it is removed
        asked: PathBuf,
        /// The sibling limits itself
        #[arg(long)]
        limited: bool,
    },
    /// Leave a ring that cannot be closed to the guard
    Close {
        /// A file whose reads are never answered
        file: PathBuf,
        /// Comes to be when the file is read
        asked: PathBuf,
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
        Attack::Segment { folder } => segment::attack(&folder)?,
        Attack::Names { folder } => segment::names(&folder)?,
        Attack::Mount { folder } => segment::mount(&folder)?,
        Attack::Replay { folder } => replay::attack(&folder)?,
        Attack::Fragments { folder } => rings::fragments(&folder)?,
        Attack::Greed { folder } => rings::greed(&folder)?,
        Attack::FilterMemory => filters::memory()?,
        Attack::FilterTime => filters::time()?,
        Attack::Jump { injected, garbled } => stalls::jump(injected, garbled)?,
        Attack::Freeze { group } => freezer::freeze(&group)?,
        Attack::Linger => stalls::linger()?,
        Attack::Lock => stalls::lock()?,
        Attack::Much => stalls::much()?,
        Attack::Hang { argument, file, asked, escapes } => hang::argument(argument, &file, &asked, escapes)?,
        Attack::LiveOn => hang::live_on(),
        Attack::Hold { lock, file, asked, limited } => hang::hold(lock, &file, &asked, limited)?,
        Attack::Close { file, asked } => hang::close(&file, &asked)?,
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
