//! The words of an SQE, and which bits of them a context shows beside a payload.

use ringwarden_uapi::ring::Sqe;

/// The words of an SQE.
pub(crate) const WORDS: usize = size_of::<Sqe>() / 4;

/// All bits of a word.
pub(crate) const ALL: u32 = !0;

/// Behind opcode and flags; `user_data` is words 8 and 9.
pub(crate) const IOPRIO: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// What is shown beside a payload: `off`, `addr`, `len` and the operation's flags are what it is made of, or lead to it.
pub(crate) const BESIDE_PAYLOAD: [u32; WORDS] =
    [IOPRIO, ALL, 0, 0, 0, 0, 0, 0, 0, 0, ALL, ALL, ALL, ALL, ALL, ALL];
