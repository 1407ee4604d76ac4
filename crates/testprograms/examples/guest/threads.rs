//! Very many threads with rings, and very many rings.

use crate::Findings;
use ringwarden_testring::{Ring, SetupFlags, Sqe};
use std::{fs, io};

/// The guard is the parent. `None` where this program may not look at it.
fn descriptors_of_the_guard() -> Option<u64> {
    // SAFETY: takes nothing.
    let parent = unsafe { libc::getppid() };
    Some(fs::read_dir(format!("/proc/{parent}/fd")).ok()?.count() as u64)
}

/// Each thread makes a ring, uses it, closes it and ends.
pub(crate) fn rings(findings: &mut Findings, count: usize) -> io::Result<()> {
    nop()?;
    let before = descriptors_of_the_guard();
    let mut failed = 0;
    for _ in 0..count {
        failed += u64::from(!std::thread::spawn(nop).join().is_ok_and(|result| result.is_ok()));
    }
    findings.count("failed", failed);
    if let (Some(before), Some(after)) = (before, descriptors_of_the_guard()) {
        findings.count("before", before);
        findings.count("after", after);
    }
    Ok(())
}

fn nop() -> io::Result<()> {
    use_once(&Ring::new(4, SetupFlags::empty())?)
}

fn use_once(ring: &Ring) -> io::Result<()> {
    ring.push(&Sqe::default());
    // SAFETY: a NOP holds no pointers.
    unsafe { ring.enter(1, 1)? };
    ring.pop().map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Has that many rings, as far as it gets, and uses each.
pub(crate) fn at_once(findings: &mut Findings, count: usize) {
    let mut rings = Vec::new();
    while rings.len() < count {
        match Ring::new(4, SetupFlags::empty()) {
            Ok(ring) => rings.push(ring),
            Err(error) => {
                findings.record("end", Err::<(), _>(error));
                break;
            }
        }
    }
    findings.count("rings", rings.len() as u64);
    findings.count("working", rings.iter().filter(|ring| use_once(ring).is_ok()).count() as u64);
}
