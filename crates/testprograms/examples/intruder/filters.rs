//! The guard's memory and time, spent on filters of the program's own.

use crate::memory::ancestor;
use crate::process::{fork, shared_number, wait};
use crate::pulse::Pulse;
use crate::{Attempts, own, requests};
use ringwarden_testring::{Ring, SetupFlags, Sqe};
use ringwarden_uapi::Opcode;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{fs, io};

/// Registrations that one process tries: a quarter of a gigabyte of instructions.
const MANY: usize = 8192;
const PROCESSES: usize = 4;
const BATCH: u32 = 4096;

/// Registers filters until there are no more, in several processes, for the thread and for a ring.
pub(crate) fn memory() -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    let before = resident(ancestor(1)?)?;
    let most = shared_number()?;
    let mut children = Vec::new();
    for index in 0..PROCESSES {
        children.push(fork(|| {
            let ring = requests::ring()?;
            let target = if index % 2 == 0 { own::TASK } else { ring.as_fd().as_raw_fd() };
            let program = own::longest();
            for count in 0..MANY {
                let registered = own::filter(target, Opcode::NOP, &program);
                most.fetch_max(count as u64, Ordering::Relaxed);
                match registered.map_err(|error| error.raw_os_error()) {
                    Ok(()) => {}
                    Err(Some(libc::ENOMEM)) => return Ok(0),
                    Err(_) => return Ok(1),
                }
            }
            Ok(2)
        })?);
    }
    // 0: ended in ENOMEM. 1: in something else. 2: not at all.
    for (index, child) in children.into_iter().enumerate() {
        let status = wait(child, Duration::from_secs(60))?;
        attempts.count(&format!("process {index}: end"), status.map_or(99, |status| status as usize >> 8));
    }
    let after = resident(ancestor(1)?)?;
    attempts.count("most registered", most.load(Ordering::Relaxed) as usize);
    attempts.count("guard's growth in MiB", after.saturating_sub(before) / 1024);
    Ok(attempts)
}

/// Puts as many filters as there may be on one ring, and submits a batch through them beside a sibling.
pub(crate) fn time() -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    let pulse = Pulse::start()?;
    let child = fork(|| {
        let ring = Ring::new(BATCH, SetupFlags::SUBMIT_ALL)?;
        let program = own::longest();
        let begun = Instant::now();
        for _ in 0..MANY {
            let registered = own::filter(ring.as_fd().as_raw_fd(), Opcode::NOP, &program);
            if registered.is_err() || begun.elapsed() > Duration::from_secs(2) {
                break;
            }
        }
        for _ in 0..3 {
            while ring.push(&Sqe::default()) {}
            // SAFETY: NOPs hold no pointers.
            unsafe { ring.enter(BATCH, 0)? };
            while ring.pop().is_some() {}
        }
        Ok(0)
    })?;
    let status = wait(child, Duration::from_secs(60))?;
    attempts.count("batches: status", status.map_or(100, |status| status as usize));
    pulse.stop(&mut attempts)?;
    Ok(attempts)
}

/// What a process has in memory, in KiB.
fn resident(pid: i32) -> io::Result<usize> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    size.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
