//! The SQE as the guard's filters see it.
//!
//! A kernel's filters see what the kernel made of a request, and that is what rules should speak of. So what a
//! context shows of the SQE already is left out here, and two words never say the same of one request:
//! opcode, flags, `user_data`, and what the payloads of operations are made of.

use crate::KernelModel;
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::BpfCtx;
use ringwarden_uapi::ring::Sqe;
use zerocopy::transmute;

/// The words of an SQE.
pub(crate) const WORDS: usize = size_of::<Sqe>() / 4;

/// What is behind the 40 bytes that kernels show.
pub(crate) fn shown(model: KernelModel, sqe: &Sqe) -> [u32; WORDS] {
    if !model.facts().shows_sqe {
        return [0; WORDS];
    }
    let (bits, words): (_, [u32; WORDS]) = (sqe_bits(model, Opcode(sqe.opcode)), transmute!(*sqe));
    std::array::from_fn(|word| words[word] & bits[word])
}

/// The bits of each word of an SQE that its context shows beside what kernels show of it.
pub fn sqe_bits(model: KernelModel, opcode: Opcode) -> [u32; 16] {
    const ALL: u32 = !0;
    // Behind opcode and flags; `user_data` is words 8 and 9.
    const IOPRIO: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
    // Words 2 to 7: `off`, `addr`, `len` and the operation's flags.
    const MOST: [u32; WORDS] =
        [IOPRIO, ALL, ALL, ALL, ALL, ALL, ALL, ALL, 0, 0, ALL, ALL, ALL, ALL, ALL, ALL];
    const BESIDE_PAYLOAD: [u32; WORDS] = [IOPRIO, ALL, 0, 0, 0, 0, 0, 0, 0, 0, ALL, ALL, ALL, ALL, ALL, ALL];
    const SOCKET: [u32; WORDS] = [IOPRIO, 0, 0, 0, 0, 0, 0, 0, 0, 0, ALL, ALL, ALL, ALL, ALL, ALL];
    match opcode {
        _ if !model.facts().shows_sqe => [0; WORDS],
        // Its family is where others have a descriptor.
        Opcode::SOCKET => SOCKET,
        _ if model.payload_size(opcode) != 0 => BESIDE_PAYLOAD,
        _ => MOST,
    }
}

/// As much of the SQE as the words of a context show beside what kernels show of it; the rest is 0.
pub fn sqe_shown(words: &[u32]) -> Sqe {
    let shown = words.get(BpfCtx::SIZE / 4..).and_then(|words| <[u32; WORDS]>::try_from(words).ok());
    transmute!(shown.unwrap_or_default())
}
