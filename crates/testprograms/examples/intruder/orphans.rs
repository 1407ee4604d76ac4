//! What is left of a program when its guard is killed.

use crate::memory::ancestor;
use crate::{Attempts, checked, requests};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Descendants, one below the other.
const DEPTH: usize = 4;

/// Kills the guard while this process and a line of daemons keep asking for folders. They go on until
/// somebody ends them, or for ten seconds. Their process numbers are in the names of the files `pid-N`
/// in `folder`.
pub(crate) fn attack(generation: usize, folder: &Path) -> io::Result<Attempts> {
    let guard = ancestor(generation)?;
    let ring = requests::ring()?;
    // Every process is the child of the one before; the second leads a session of its own.
    let mut generations = 0;
    // SAFETY: this process has a single thread, and so have its children.
    while generations < DEPTH && checked(unsafe { libc::fork() })? == 0 {
        generations += 1;
        if generations == 1 {
            // SAFETY: takes nothing.
            checked(unsafe { libc::setsid() })?;
        }
    }
    std::fs::write(folder.join(format!("pid-{}", std::process::id())), "")?;
    let end = Instant::now() + Duration::from_secs(10);
    if generations == 0 {
        while std::fs::read_dir(folder)?.count() <= DEPTH {
            std::thread::yield_now();
        }
        // SAFETY: numbers only.
        checked(unsafe { libc::kill(guard, libc::SIGKILL) })?;
    }
    let mut executed = 0;
    while Instant::now() < end {
        let inherited = requests::mkdir(&ring, &folder.join("made"));
        let own = requests::ring().and_then(|ring| requests::mkdir(&ring, &folder.join("made")));
        executed += usize::from(inherited.is_ok()) + usize::from(own.is_ok());
    }
    let mut attempts = Attempts::default();
    attempts.count("executed", executed);
    Ok(attempts)
}
