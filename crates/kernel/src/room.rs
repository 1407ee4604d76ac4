//! What rings take of the machine: memory, and of what RLIMIT_MEMLOCK counts.

use crate::ring;
use ringwarden_trial::{self as trial, TrialError};
use ringwarden_uapi::ring::{Cqe, Params, Sqe};
use rustix::io::Errno;
use rustix::param::page_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// `IORING_FEAT_RW_ATTR`, which is as old as rings whose pages are counted one by one (Linux 6.14,
/// `io_create_region`).
const FEAT_RW_ATTR: u32 = 1 << 16;

/// What one ring without flags takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingSize {
    /// Of the kernel's memory, charged to the memory cgroup of the task that makes it.
    pub memory: u64,
    /// Of RLIMIT_MEMLOCK, where rings count.
    pub locked: u64,
}

impl RingSize {
    /// Of a ring with room for `entries` SQEs, which the kernel rounds up to a power of two.
    ///
    /// # Errors
    /// Why no ring can be made to see how large their header is.
    pub fn of(entries: u32) -> Result<Self, TrialError> {
        let [errno, params] = trial::answer(|| match ring::open(1) {
            Ok((_, params)) => [Params::default(), params],
            Err(error) => {
                [Params { flags: error.raw_os_error() as u32, ..Params::default() }, Params::default()]
            }
        })?;
        match errno.flags {
            0 => Ok(Self::calculate(&params, entries, page_size() as u64)),
            errno => Err(TrialError::Failed(Errno::from_raw_os_error(errno as i32))),
        }
    }

    /// As `rings_size` and `io_uring_create` have it: a header, CQEs (twice as many), indices of SQEs; and SQEs apart.
    fn calculate(any_ring: &Params, entries: u32, page: u64) -> Self {
        let entries = u64::from(entries.next_power_of_two());
        let queues = u64::from(any_ring.cq_off.cqes) + 2 * entries * size_of::<Cqe>() as u64 + 4 * entries;
        let sqes = entries * size_of::<Sqe>() as u64;
        let pages = [queues, sqes].map(|bytes| bytes.div_ceil(page));
        // One piece of memory each, and such pieces come in powers of two.
        let pieces: u64 = pages.iter().map(|pages| pages.next_power_of_two()).sum();
        let exact = any_ring.features & FEAT_RW_ATTR != 0;
        let locked = if exact { pages.iter().sum() } else { pieces };
        // And what describes it, such as the table of requests that can be cancelled: never more, measured on 6.18
        // with 1 to 4096 entries.
        let rest = 2048 + pieces * page / 24;
        Self { memory: pieces * page + rest, locked: locked * page }
    }
}

/// Whether rings of this process count as locked memory. Before Linux 5.12 and from 6.14 on (to 7.3-rc7) they do, but
/// not those of processes with CAP_IPC_LOCK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockedMemory {
    /// They do not.
    Uncounted,
    /// All of the user's processes together have locked so many bytes; at least so many, if RLIMIT_MEMLOCK leaves no
    /// room for a ring.
    Counted(u64),
}

impl LockedMemory {
    /// Finds out by making rings under lower and lower limits, in a throw-away child: no file says it.
    ///
    /// # Errors
    /// Why that could not be done.
    pub fn find() -> Result<Self, TrialError> {
        const UNCOUNTED: u64 = u64::MAX;
        let [errno, pages] = trial::answer(|| match search() {
            Ok(pages) => [0, pages.unwrap_or(UNCOUNTED)],
            Err(errno) => [errno.raw_os_error() as u64, 0],
        })?;
        match (errno, pages) {
            (0, UNCOUNTED) => Ok(Self::Uncounted),
            (0, pages) => Ok(Self::Counted(pages * page_size() as u64)),
            (errno, _) => Err(TrialError::Failed(Errno::from_raw_os_error(errno as i32))),
        }
    }
}

/// Whether one more process of this user can be started.
///
/// # Errors
/// Why not.
pub fn room_for_a_process() -> Result<(), TrialError> {
    trial::ask(|| Ok(0)).map(drop)
}

/// The pages that the user has locked; `None` where rings do not count.
fn search() -> Result<Option<u64>, Errno> {
    /// Of the smallest ring, on every kernel: queues and SQEs.
    const RING: u64 = 2;
    /// Nobody has locked more.
    const MOST: u64 = 1 << 36;
    let (page, limit) = (page_size() as u64, getrlimit(Resource::Memlock));
    let try_with = |pages: u64| {
        let lowered = Rlimit { current: Some(pages * page), ..limit };
        // What is above the maximum is not allowed, and not enough either.
        setrlimit(Resource::Memlock, lowered).map_err(|_| Errno::NOMEM)?;
        ring::open(1)
    };
    // Rings are given back some time after they are closed, so they are kept, and known.
    let mut kept = Vec::new();
    match try_with(0) {
        Ok(_) => return Ok(None),
        Err(Errno::NOMEM) => {}
        Err(other) => return Err(other),
    }
    let (mut least, mut most) = (0, limit.maximum.map_or(MOST, |bytes| (bytes / page).min(MOST)));
    while least < most {
        let middle = least.midpoint(most);
        match try_with(middle + (kept.len() as u64 + 1) * RING) {
            Ok(ring) => {
                kept.push(ring);
                most = middle;
            }
            Err(Errno::NOMEM) => least = middle + 1,
            Err(other) => return Err(other),
        }
    }
    Ok(Some(least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_uapi::ring::CqRingOffsets;

    #[test]
    fn sizes_are_those_that_were_measured() {
        let header = Params { cq_off: CqRingOffsets { cqes: 64, ..Default::default() }, ..Params::default() };
        let newer = Params { features: FEAT_RW_ATTR, ..header };
        // On Linux 6.18: entries, pages of RLIMIT_MEMLOCK, bytes of a memory cgroup.
        let measured =
            [(1, 2, 9_438), (64, 2, 9_700), (256, 7, 35_128), (1024, 26, 136_274), (4096, 101, 545_260)];
        for (entries, pages, bytes) in measured {
            let size = RingSize::calculate(&newer, entries, 4096);
            assert_eq!(size.locked, pages * 4096, "{entries}");
            assert!(size.memory >= bytes && size.memory < bytes + bytes / 5, "{entries}: {size:?}");
        }
        assert_eq!(RingSize::calculate(&newer, 100, 4096).locked, 4 * 4096);
        // Before 5.12, in powers of two.
        assert_eq!(RingSize::calculate(&header, 256, 4096).locked, (4 + 4) * 4096);
    }
}
