//! What whoever emulates a ring is asked to do, and what it answers.

use super::RawSqe;
use crate::prep::Copied;
use ringwarden_uapi::ring::{Cqe, SqeFlags};

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Carry a request out, and [complete](crate::Requests::complete) it, at once or whenever it is over.
    Start(Started),
    /// Put that into the completion queue.
    Post(Cqe),
}

/// A request that was let through, as it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// What it is completed by.
    pub id: RequestId,
    /// Its SQE. The ring may have another by now.
    pub sqe: RawSqe,
    /// Its `IOSQE_*` flags, and those that its preparation and its place among others added.
    pub flags: SqeFlags,
    /// What its preparation read from the submitter's memory. The memory may have something else by now.
    pub copied: Copied,
    /// The kernel has a worker do it: it may block, or was asked to wait.
    pub worker: bool,
    /// The LINK_TIMEOUT behind it, to be armed; its time is [copied](Copied) from `addr`. If it expires before the
    /// request is over, complete it with -ETIME, and cancel the request; otherwise forget it.
    pub timeout: Option<Box<Started>>,
}

/// Tells requests of a ring apart, also those that are over from those that have come in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// What became of a request that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `cqe.res`: a count, a descriptor, or `-errno`.
    pub res: i32,
    /// `cqe.flags`, `IORING_CQE_F_*`.
    pub flags: u32,
    /// Whether it ends an IO_LINK, and is told whatever CQE_SKIP_SUCCESS says. For the kernel a read or write that is
    /// shorter than asked for is such a failure, too; some operations fail without one (STATX, UNLINKAT, MKDIRAT,
    /// MADVISE).
    pub failed: bool,
}

impl From<i32> for Outcome {
    /// A failure if it is negative.
    fn from(res: i32) -> Self {
        Self { res, flags: 0, failed: res < 0 }
    }
}

/// A request cannot be completed that has not started, or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request is not running: {0:?}")]
pub struct NotRunning(pub RequestId);
