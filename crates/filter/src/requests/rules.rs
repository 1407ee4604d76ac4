//! What requests are held to, and what is decided about one.

use super::RequestId;
use crate::{Context, Denial, Errno, FilterSet, Restrictions};

/// What the requests of a submission are held to. Nothing by default: every request that is well formed passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'a> {
    /// Allow lists.
    pub restrictions: Restrictions,
    /// Filters: a [snapshot](crate::SharedFilters::load) where others may register some meanwhile. Their kernel has to
    /// be that of the [`Requests`](crate::Requests), or one whose contexts are the same.
    pub filters: Option<&'a FilterSet>,
}

impl<'a> From<&'a FilterSet> for Rules<'a> {
    fn from(filters: &'a FilterSet) -> Self {
        Self { filters: Some(filters), ..Self::default() }
    }
}

/// What was decided about a request that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Submitted {
    /// What [`Started`](crate::Started) calls it, should it start.
    pub id: RequestId,
    /// How many slots of the submission queue it takes: 2 for one of 128 bytes among those of 64.
    pub slots: u32,
    /// What filters saw of it; `None` where it failed before.
    pub shown: Option<Context>,
    /// Why it is not going to run. One without a refusal may still be cancelled, with its link.
    pub refusal: Option<Refusal>,
    /// Whether the submission goes on to the next request: not after one that is refused outside a link, or as its
    /// last, on a ring without IORING_SETUP_SUBMIT_ALL.
    pub goes_on: bool,
}

/// Why a request does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The SQE is malformed: its opcode, its flags, or what the operation's preparation found.
    Invalid(Errno),
    /// An allow list does not have it.
    Restricted,
    /// A filter denies it.
    Filtered(Denial),
}

impl Refusal {
    /// What `cqe.res` carries, negated.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Invalid(errno) => *errno,
            Self::Restricted => Errno::EACCES,
            Self::Filtered(denial) => denial.errno(),
        }
    }
}
