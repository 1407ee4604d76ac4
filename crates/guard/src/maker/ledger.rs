//! How many rings there are at a time, and how large they are all together.

use ringwarden_uapi::ring::Params;
use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use std::sync::{Mutex, PoisonError};

/// What the rings of a program may come to, all that exist at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many rings.
    pub rings: u64,
    /// So many SQEs; a ring with more than two CQEs for each counts for half of those.
    pub entries: u64,
}

/// Counts rings for as long as anybody has them; copies of its descriptor, in whatever process, count together.
///
/// It is an epoll file, with which rings are registered: that holds no reference, and ends with the file.
#[derive(Debug)]
pub struct RingCount(OwnedFd);

impl RingCount {
    /// Counts from 0.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor can be had.
    pub fn new() -> Result<Self, Errno> {
        create(CreateFlags::CLOEXEC).map(Self)
    }

    /// The rings that there are, and their entries.
    ///
    /// # Errors
    /// `EIO` where `/proc` does not tell.
    fn now(&self) -> Result<Limits, Errno> {
        let path = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        let text = std::fs::read_to_string(path).map_err(|_| Errno::IO)?;
        let mut now = Limits { rings: 0, entries: 0 };
        for line in text.lines().filter(|line| line.starts_with("tfd:")) {
            let data = line.split_once("data:").and_then(|(_, rest)| rest.split_whitespace().next());
            let entries = data.and_then(|data| u64::from_str_radix(data, 16).ok()).ok_or(Errno::IO)?;
            now = now.and(entries);
        }
        Ok(now)
    }
}

impl From<OwnedFd> for RingCount {
    /// A copy of the descriptor of another.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for RingCount {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Limits {
    /// One more ring.
    fn and(self, entries: u64) -> Self {
        Self { rings: self.rings.saturating_add(1), entries: self.entries.saturating_add(entries) }
    }

    fn hold(self, most: Self) -> bool {
        self.rings <= most.rings && self.entries <= most.entries
    }
}

/// Holds rings to limits.
#[derive(Debug)]
pub(super) struct Ledger {
    most: Limits,
    count: RingCount,
    /// There are no more than these, but for those of others who count with the same.
    bound: Mutex<Limits>,
}

/// Why a ring is not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unentered {
    /// It could not be made, or counted.
    Failed(Errno),
    /// There would be more than these.
    Over(Limits),
}

impl Ledger {
    pub(super) fn new(most: Limits, count: RingCount) -> Self {
        // Beyond any limit, so that the first is counted.
        Self { most, count, bound: Mutex::new(Limits { rings: u64::MAX, entries: u64::MAX }) }
    }

    /// Has a ring made, and keeps it if there may be one of its size. One at a time: so nobody makes use of what another
    /// is about to take.
    ///
    /// # Errors
    /// See [`Unentered`].
    pub(super) fn enter(
        &self,
        make: impl FnOnce() -> Result<(OwnedFd, Params), Errno>,
    ) -> Result<(OwnedFd, Params), Unentered> {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if !bound.and(0).hold(self.most) {
            *bound = self.count.now().map_err(Unentered::Failed)?;
            if !bound.and(0).hold(self.most) {
                return Err(Unentered::Over(self.most));
            }
        }
        let (ring, told) = make().map_err(Unentered::Failed)?;
        let entries = u64::from(told.sq_entries.max(told.cq_entries / 2));
        let mut with = bound.and(entries);
        if !with.hold(self.most) {
            with = self.count.now().map_err(Unentered::Failed)?.and(entries);
        }
        if !with.hold(self.most) {
            return Err(Unentered::Over(self.most));
        }
        add(&self.count.0, &ring, EventData::new_u64(entries), EventFlags::empty())
            .map_err(Unentered::Failed)?;
        *bound = with;
        Ok((ring, told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_ring::setup;

    fn ring(entries: u32) -> Result<(OwnedFd, Params), Errno> {
        let mut params = Params::default();
        setup(entries, &mut params).map(|ring| (ring, params))
    }

    #[test]
    fn rings_count_for_as_long_as_somebody_has_them() {
        let count = RingCount::new().expect("a count");
        let other = RingCount(count.0.try_clone().expect("a copy"));
        let most = Limits { rings: 3, entries: 64 };
        let over = Err(Unentered::Over(most));
        let ledger = Ledger::new(most, count);
        let entered = |entries| ledger.enter(|| ring(entries));
        let (first, _) = entered(8).expect("a ring");
        let copy = first.try_clone().expect("a copy");
        drop(first);
        let second = entered(8).expect("a ring");
        assert_eq!(entered(64).map(drop), over, "too large");
        let third = entered(16).expect("a ring");
        assert_eq!(other.now(), Ok(Limits { rings: 3, entries: 32 }));
        assert_eq!(entered(1).map(drop), over, "too many");
        drop(copy);
        let fourth = entered(1).expect("the place of the first");
        let elsewhere = Ledger::new(most, other);
        assert_eq!(elsewhere.enter(|| ring(1)).map(drop), over, "they count together");
        drop((second, third));
        let last = elsewhere.enter(|| ring(32)).expect("a ring");
        assert_eq!(elsewhere.count.now(), Ok(Limits { rings: 2, entries: 33 }));
        drop((fourth, last));
        assert_eq!(elsewhere.count.now(), Ok(Limits { rings: 0, entries: 0 }));
    }
}
