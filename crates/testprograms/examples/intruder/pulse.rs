//! An innocent sibling, which notes for how long it was ever kept from its next request.

use crate::process::{fork, shared_number, wait};
use crate::{Attempts, own, requests};
use ringwarden_testring::Ring;
use ringwarden_uapi::Opcode;
use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between two requests.
const REST: Duration = Duration::from_millis(1);
/// Time between two rings: locked memory is given back a moment after a ring is closed.
const LONG_REST: Duration = Duration::from_millis(10);

/// A process that submits one NOP after the other; beside it another that only looks at the time.
pub(crate) struct Pulse {
    child: i32,
    bystander: i32,
    stop: &'static AtomicU64,
    longest: &'static AtomicU64,
    /// For how long the bystander had no processor at most: then nobody may have had one.
    without_processor: &'static AtomicU64,
    count: &'static AtomicU64,
}

impl Pulse {
    /// Returns when it beats.
    pub(crate) fn start() -> io::Result<Self> {
        Self::beating(REST, |ring| requests::nop(ring).map(drop))
    }

    /// The same, each with a ring of its own that is used by index as well.
    pub(crate) fn of_rings() -> io::Result<Self> {
        Self::beating(LONG_REST, |_| {
            let ring = requests::ring()?;
            let index = requests::register(ring.as_fd())?;
            requests::nop(&ring)?;
            requests::unregister(ring.as_fd(), index)
        })
    }

    /// The same, each with a request that a filter of its own looks at, once `asked` exists.
    pub(crate) fn limited(asked: &Path) -> io::Result<Self> {
        let limited = Cell::new(false);
        Self::beating(LONG_REST, |ring| {
            if !limited.get() && asked.exists() {
                own::filter(own::TASK, Opcode::OPENAT2, &own::read_only())?;
                limited.set(true);
            }
            if limited.get() {
                // It may be refused.
                let _ = requests::open(&requests::ring()?, Path::new("/dev/null"), libc::O_RDONLY);
            }
            requests::nop(ring).map(drop)
        })
    }

    fn beating(rest: Duration, beat: impl Fn(&Ring) -> io::Result<()>) -> io::Result<Self> {
        let (stop, longest, count) = (shared_number()?, shared_number()?, shared_number()?);
        let child = fork(|| {
            let ring = requests::ring()?;
            while stop.load(Ordering::Relaxed) == 0 {
                let start = Instant::now();
                beat(&ring)?;
                longest.fetch_max(start.elapsed().as_millis() as u64, Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(rest);
            }
            Ok(0)
        })?;
        let without_processor = shared_number()?;
        let bystander = fork(|| {
            while stop.load(Ordering::Relaxed) == 0 {
                let start = Instant::now();
                std::thread::sleep(REST);
                without_processor.fetch_max(start.elapsed().as_millis() as u64, Ordering::Relaxed);
            }
            Ok(0)
        })?;
        while count.load(Ordering::Relaxed) == 0 {
            std::thread::sleep(REST);
        }
        Ok(Self { child, bystander, stop, longest, without_processor, count })
    }

    /// Stops it and records what it has noted.
    pub(crate) fn stop(self, attempts: &mut Attempts) -> io::Result<()> {
        self.stop.store(1, Ordering::Relaxed);
        let status = wait(self.child, Duration::from_secs(20))?;
        attempts.count("sibling: status", status.map_or(100, |status| status as usize));
        wait(self.bystander, Duration::from_secs(20))?;
        // Of the guard's making: it and the sibling each have to wait for a processor, too.
        let [longest, without] = [self.longest, self.without_processor].map(|ms| ms.load(Ordering::Relaxed));
        attempts.count("sibling: longest pause", longest.saturating_sub(2 * without) as usize);
        attempts.count("sibling: requests", self.count.load(Ordering::Relaxed) as usize);
        Ok(())
    }
}
