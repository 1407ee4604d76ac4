//! A request and what was decided about it.

use crate::Errno;
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::SqeFlags;

/// One request of a batch, already judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Comes back in its CQE.
    pub user_data: u64,
    /// Its opcode.
    pub opcode: Opcode,
    /// `sqe.flags` and those its place added ([`Sequence::next`](crate::Sequence::next)).
    pub flags: SqeFlags,
    /// Whether it waits for a drain ([`Sequence::is_draining`](crate::Sequence::is_draining)).
    pub draining: bool,
    /// How many SQE slots it takes: 2 for a 128-byte one among 64-byte ones.
    pub slots: u32,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is malformed or restricted: refused before its preparation is through.
    Refused(Errno),
    /// A filter denies it, after its preparation.
    Denied,
    /// It runs and has its result, negative for a failure, at once.
    Done(i32),
    /// It runs and has its result later.
    Later {
        /// The result.
        res: i32,
        /// Whether that is a failure, which ends an IO_LINK chain.
        failure: bool,
    },
}
