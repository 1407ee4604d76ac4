//! An innocent sibling, which notes for how long it was ever kept from its next request.

use crate::process::{fork, shared_number, wait};
use crate::{Attempts, requests};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between two requests.
const REST: Duration = Duration::from_millis(1);

/// A process that submits one NOP after the other.
pub(crate) struct Pulse {
    child: i32,
    stop: &'static AtomicU64,
    longest: &'static AtomicU64,
    count: &'static AtomicU64,
}

impl Pulse {
    /// Returns when it beats.
    pub(crate) fn start() -> io::Result<Self> {
        let (stop, longest, count) = (shared_number()?, shared_number()?, shared_number()?);
        let child = fork(|| {
            let ring = requests::ring()?;
            while stop.load(Ordering::Relaxed) == 0 {
                let start = Instant::now();
                requests::nop(&ring)?;
                longest.fetch_max(start.elapsed().as_millis() as u64, Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(REST);
            }
            Ok(0)
        })?;
        while count.load(Ordering::Relaxed) == 0 {
            std::thread::sleep(REST);
        }
        Ok(Self { child, stop, longest, count })
    }

    /// Stops it and records what it has noted.
    pub(crate) fn stop(self, attempts: &mut Attempts) -> io::Result<()> {
        self.stop.store(1, Ordering::Relaxed);
        let status = wait(self.child, Duration::from_secs(20))?;
        attempts.count("sibling: status", status.map_or(100, |status| status as usize));
        attempts.count("sibling: longest pause", self.longest.load(Ordering::Relaxed) as usize);
        attempts.count("sibling: requests", self.count.load(Ordering::Relaxed) as usize);
        Ok(())
    }
}
