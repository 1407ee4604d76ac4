//! The SQE as the guard's filters see it.
//!
//! A kernel's filters see what the kernel made of a request, and that is what rules should speak of. So what a
//! context shows of the SQE already is left out here, and two words never say the same of one request:
//! opcode, flags, `user_data`, and what the payloads of operations are made of.

use crate::sqe_words::{ALL, IOPRIO, WORDS};
use crate::{KernelModel, payload};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::BpfCtx;
use ringwarden_uapi::ring::Sqe;
use zerocopy::transmute;

/// What is behind the 40 bytes that kernels show, of which the payload has that `size`.
#[inline]
pub(crate) fn shown(model: KernelModel, sqe: &Sqe, size: u8) -> [u32; WORDS] {
    if !model.facts().shows_sqe {
        return [0; WORDS];
    }
    let (bits, words): (_, [u32; WORDS]) = (beside(Opcode(sqe.opcode), size), transmute!(*sqe));
    std::array::from_fn(|word| words[word] & bits[word])
}

/// Words 2 to 7: `off`, `addr`, `len` and the operation's flags.
const MOST: [u32; WORDS] = [IOPRIO, ALL, ALL, ALL, ALL, ALL, ALL, ALL, 0, 0, ALL, ALL, ALL, ALL, ALL, ALL];

/// The bits that a context does not show already, if its payload has that size.
#[inline]
fn beside(opcode: Opcode, size: u8) -> &'static [u32; WORDS] {
    match opcode.payload() {
        Some(kind) if size != 0 => payload::beside(kind),
        _ => &MOST,
    }
}

/// The bits of each word of an SQE that its context shows beside what kernels show of it.
pub fn sqe_bits(model: KernelModel, opcode: Opcode) -> [u32; 16] {
    if model.facts().shows_sqe { *beside(opcode, model.payload_size(opcode)) } else { [0; WORDS] }
}

/// As much of the SQE as the words of a context show beside what kernels show of it; the rest is 0.
pub fn sqe_shown(words: &[u32]) -> Sqe {
    let shown = words.get(BpfCtx::SIZE / 4..).and_then(|words| <[u32; WORDS]>::try_from(words).ok());
    transmute!(shown.unwrap_or_default())
}
