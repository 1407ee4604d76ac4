//! [`Verdict`]: what a set of filters says about a request, and which of them refuses it.

use crate::Errno;
use ringwarden_uapi::Opcode;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No filter objects.
    Allow,
    /// A filter objects.
    Deny(Denial),
}

/// A request that is refused, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denial {
    /// The request's opcode.
    pub opcode: Opcode,
    /// Who refuses it.
    pub by: DeniedBy,
}

/// Who refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeniedBy {
    /// A program, the newest of those that give 0.
    Filter {
        /// The tag it was registered with.
        tag: u32,
    },
    /// `IO_URING_BPF_FILTER_DENY_REST`.
    Rest,
    /// The kernel modelled does not have the opcode.
    UnknownOpcode,
    /// The context lacks what the verdict of some program for the opcode depends on
    /// ([`FilterSet::reads_payload`](crate::FilterSet::reads_payload)), and no other program refuses it: what that one
    /// would answer cannot be known.
    PayloadUnread,
}

impl Denial {
    /// What `cqe.res` carries, negated: EACCES, but EINVAL for an opcode that does not exist.
    pub const fn errno(&self) -> Errno {
        match self.by {
            DeniedBy::UnknownOpcode => Errno::EINVAL,
            _ => Errno::EACCES,
        }
    }
}
