//! A process that is frozen from outside while it makes rings, beside a sibling that is not.

use crate::process::{fork, shared_number, wait};
use crate::pulse::Pulse;
use crate::{Attempts, requests};
use ringwarden_testring::{Ring, SetupFlags};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// For longer than the guard waits for one call.
const FROZEN: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(10);
const ROUNDS: usize = 3;

/// Freezes and thaws a process in `group`, a folder of cgroup v2, `ROUNDS` times.
pub(crate) fn freeze(group: &Path) -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    let (stop, made) = (shared_number()?, shared_number()?);
    let child = fork(|| {
        fs::write(group.join("cgroup.procs"), "0")?;
        while stop.load(Ordering::Relaxed) == 0 {
            requests::nop(&Ring::new(4, SetupFlags::SINGLE_ISSUER)?)?;
            made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(0)
    })?;
    let pulse = Pulse::start()?;
    for round in 0..ROUNDS {
        let went_on = goes_on(|| made.load(Ordering::Relaxed));
        attempts.count(&format!("round {round}: before"), usize::from(went_on));
        fs::write(group.join("cgroup.freeze"), "1")?;
        let frozen = until(|| {
            fs::read_to_string(group.join("cgroup.events")).is_ok_and(|text| text.contains("frozen 1"))
        });
        attempts.count(&format!("round {round}: frozen"), usize::from(frozen));
        thread::sleep(FROZEN);
        fs::write(group.join("cgroup.freeze"), "0")?;
        let went_on = goes_on(|| made.load(Ordering::Relaxed));
        attempts.count(&format!("round {round}: after"), usize::from(went_on));
    }
    stop.store(1, Ordering::Relaxed);
    let status = wait(child, PATIENCE)?;
    attempts.count("status", status.map_or(0xffff, |status| status as usize));
    pulse.stop(&mut attempts)?;
    Ok(attempts)
}

fn goes_on(count: impl Fn() -> u64) -> bool {
    let before = count();
    until(|| count() > before + 10)
}

fn until(done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if done() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}
