//! Very many rings.

use crate::{Attempts, checked, requests};
use ringwarden_testring::{Ring, SetupFlags};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Rings that one process tries to have.
const MANY: usize = 2000;
/// After this, memory that has not come back is lost.
const RELEASE: Duration = Duration::from_secs(20);
const CHILDREN: usize = 64;
const RINGS_PER_CHILD: usize = 8;
/// As many requests as a ring can have, and numbers that are left of the same.
const LARGE: [u32; 6] = [32768; 6];
const SMALL: usize = 12;

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

/// A ring after all others were closed.
fn again() -> io::Result<i32> {
    requests::nop(&Ring::when_there_is_room(4, SetupFlags::empty())?)
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

/// Large rings that come and go, and small ones after them, each of which asks with an argument in memory.
pub(crate) fn fragments(folder: &Path) -> io::Result<Attempts> {
    let path = folder.join("file");
    std::fs::write(&path, "")?;
    let mut attempts = Attempts::default();
    for (index, entries) in LARGE.into_iter().enumerate() {
        let large = Ring::new(entries, SetupFlags::empty());
        let opened = large.and_then(|large| requests::open(&large, &path, libc::O_RDONLY));
        attempts.record(format!("large ring {index}"), opened);
    }
    let small = (0..SMALL).map(|_| requests::ring()).collect::<io::Result<Vec<_>>>()?;
    let works = |ring: &&Ring| requests::open(ring, &path, libc::O_RDONLY).is_ok();
    attempts.count("small", small.len());
    attempts.count("working", small.iter().filter(works).count());
    Ok(attempts)
}

/// The same at once, by one process, beside another that wants one small ring.
pub(crate) fn greed(folder: &Path) -> io::Result<Attempts> {
    let path = folder.join("file");
    std::fs::write(&path, "")?;
    let mut attempts = Attempts::default();
    let greedy: Vec<_> =
        (0..2 * LARGE.len()).filter_map(|_| Ring::new(LARGE[0], SetupFlags::empty()).ok()).collect();
    attempts.count("large", greedy.len());
    let child = crate::process::fork(|| {
        let ring = requests::ring()?;
        Ok(i32::from(requests::open(&ring, &path, libc::O_RDONLY).is_err()))
    })?;
    let status = crate::process::wait(child, RELEASE)?;
    attempts.count("sibling: status", status.map_or(100, |status| status as usize));
    Ok(attempts)
}
