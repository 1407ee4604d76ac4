//! Very many rings.

use crate::{Attempts, checked, requests};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Rings that one process tries to have.
const MANY: usize = 2000;
/// After this, memory that has not come back is lost.
const RELEASE: Duration = Duration::from_secs(20);
const CHILDREN: usize = 64;
const RINGS_PER_CHILD: usize = 8;

/// Opens rings until one is refused, once with few descriptors and once with what the machine gives;
/// then sees whether a ring can be had again.
pub(crate) fn exhaust() -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place for the limit.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    for (name, descriptors) in [("few", 64), ("many", limit.rlim_max)] {
        limit.rlim_cur = descriptors.min(limit.rlim_max);
        // SAFETY: a valid limit.
        checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
        let mut rings = Vec::new();
        while rings.len() < MANY {
            match requests::ring() {
                Ok(ring) => rings.push(ring),
                Err(error) => {
                    attempts.record(format!("{name}: end"), Err::<(), _>(error));
                    break;
                }
            }
        }
        attempts.count(&format!("{name}: rings"), rings.len());
        let works = rings.iter().filter(|ring| requests::nop(ring).is_ok()).count();
        attempts.count(&format!("{name}: working"), works);
        drop(rings);
        attempts.record(format!("{name}: afterwards"), again());
    }
    Ok(attempts)
}

/// A ring after all others were closed. The kernel gives their memory back in the background.
fn again() -> io::Result<i32> {
    let start = Instant::now();
    loop {
        match requests::ring() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && start.elapsed() < RELEASE => {
                thread::yield_now();
            }
            ring => return requests::nop(&ring?),
        }
    }
}

/// Processes that all open rings at the same time; in each ring an allowed request must succeed and
/// a forbidden one must not.
pub(crate) fn forks(folder: &Path) -> io::Result<Attempts> {
    let mut children = Vec::new();
    for _ in 0..CHILDREN {
        // SAFETY: this process has a single thread.
        match checked(unsafe { libc::fork() })? {
            0 => std::process::exit(open_rings(folder).map_or(100, |wrong| wrong as i32)),
            child => children.push(child as i32),
        }
    }
    let mut attempts = Attempts::default();
    let mut failed = 0;
    for child in children {
        let mut status = 0;
        // SAFETY: a valid place for the status.
        checked(unsafe { libc::waitpid(child, &mut status, 0) })?;
        failed += usize::from(status != 0);
    }
    attempts.count("children", CHILDREN);
    attempts.count("failed", failed);
    Ok(attempts)
}

/// How many rings behaved wrongly.
fn open_rings(folder: &Path) -> io::Result<usize> {
    let mut rings = Vec::new();
    for _ in 0..RINGS_PER_CHILD {
        rings.push(requests::ring()?);
    }
    let made = folder.join("made");
    let wrong = |ring: &&_| {
        let refused = requests::mkdir(ring, &made).map_err(|error| error.raw_os_error());
        requests::nop(ring).is_err() || refused != Err(Some(libc::EACCES))
    };
    Ok(rings.iter().filter(wrong).count())
}
