//! [`Item`]: what a trace is made of.

use zerocopy::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The words of a request's context as the guard's filters see it: those of `KernelModel::Guard`.
pub const WORDS: usize = 26;

/// [`Request::rule`] where no rule refuses.
pub const NO_RULE: u32 = u32::MAX;

/// What an item begins with, 4 bytes.
pub(crate) const REQUEST: u32 = 1;
pub(crate) const RULE: u32 = 2;
pub(crate) const RING: u32 = 3;
pub(crate) const REGISTER: u32 = 4;
pub(crate) const LOST: u32 = 5;

/// The most bytes of a rule.
pub(crate) const LONGEST_RULE: usize = 64 << 10;

/// One item of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A request that filters have judged.
    Request(Request),
    /// A rule, to which requests that follow refer by its number: the first is 0. At most 64 KiB; what is longer is cut.
    Rule(String),
    /// A ring was asked for.
    Ring {
        /// Its SQEs.
        entries: u32,
        /// `IORING_SETUP_*`.
        flags: u32,
        /// Its CQEs, where the flags ask for a number.
        cq_entries: u32,
    },
    /// An `io_uring_register` call with that opcode was made.
    Register(u32),
    /// So many requests came too fast to be told of.
    Lost(u64),
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// It was allowed.
    Allow = 0,
    /// It was refused.
    Deny = 1,
    /// The rules refuse it, and it passed all the same: nothing was enforced.
    Permit = 2,
}

impl Verdict {
    /// The verdict of that number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Allow, Self::Deny, Self::Permit].into_iter().find(|verdict| *verdict as u8 == number)
    }
}

/// A request that filters have judged, 152 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Request {
    /// When, in nanoseconds since 1970.
    pub time: U64,
    /// The ring, by a number of its own; 0 where that is not known.
    pub ring: U64,
    /// The process.
    pub pid: I32,
    /// The thread.
    pub tid: I32,
    /// The thread's name, with zeros behind it.
    pub program: [u8; 16],
    /// The number of the rule that refuses it, or [`NO_RULE`].
    pub rule: U32,
    /// [`Verdict`].
    pub verdict: u8,
    /// 1 if all that filters see is in `words`, 0 if something of it is not known.
    pub complete: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// What filters see.
    pub words: [U32; WORDS],
}

const _: () = assert!(size_of::<Request>() == 152);

/// Puts an item at the end of a buffer.
pub fn push(buffer: &mut Vec<u8>, item: &Item) {
    let mut number = |number: u32| buffer.extend_from_slice(&number.to_le_bytes());
    match item {
        Item::Request(request) => {
            number(REQUEST);
            buffer.extend_from_slice(request.as_bytes());
        }
        Item::Rule(rule) => {
            let mut end = rule.len().min(LONGEST_RULE);
            while !rule.is_char_boundary(end) {
                end -= 1;
            }
            number(RULE);
            number(end as u32);
            buffer.extend_from_slice(&rule.as_bytes()[..end]);
        }
        Item::Ring { entries, flags, cq_entries } => {
            [RING, *entries, *flags, *cq_entries].into_iter().for_each(number);
        }
        Item::Register(op) => [REGISTER, *op].into_iter().for_each(number),
        Item::Lost(count) => [LOST, *count as u32, (count >> 32) as u32].into_iter().for_each(number),
    }
}
