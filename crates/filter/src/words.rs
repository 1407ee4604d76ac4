//! The words of a context that the programs of a stack load, and no others.
//!
//! A [`Context`](crate::Context) has all that filters can see, so that it can be shown to people as well. Most programs load
//! two or three words of it, and for their verdict the rest would be made in vain.

use crate::context::forces_async;
use crate::stack::Stack;
use crate::{KernelModel, payload, scalars, sqe_words};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::BpfCtx;
use ringwarden_uapi::ring::{Sqe, SqeFlags};

/// Where the SQE begins in the context that shows it.
const BEHIND: usize = size_of::<BpfCtx>() / 4;
/// The words of the largest context.
const MOST: usize = BEHIND + sqe_words::WORDS;

/// Sets of words, as [`Program::loads`](ringwarden_cbpf::Program::loads) gives them: the one with opcode and flags,
/// the payload, and the SQE behind.
const HEAD: u32 = 1 << 2;
const PAYLOAD: u32 = 0x3f << 4;
const SQE: u32 = !0 << BEHIND;

/// Gives `judge` the words of a request's [header](crate::Context::header), of which those may be 0 that no program of the
/// stack loads. There may be more of them than the kernel's context has.
///
/// They are lent and not given, since words that are read soon after they were written must not be moved in between.
#[inline]
pub(crate) fn lend<T>(model: KernelModel, sqe: &Sqe, stack: &Stack, judge: impl FnOnce(&[u32]) -> T) -> T {
    let (opcode, loads) = (Opcode(sqe.opcode), stack.loads());
    let mut words = [0; MOST];
    words[0] = sqe.user_data as u32;
    words[1] = (sqe.user_data >> 32) as u32;
    // Nothing for most operations, and for most programs.
    let shown = if loads & (HEAD | PAYLOAD) != 0 { payload::of_sqe(model, sqe) } else { None };
    if loads & HEAD != 0 {
        let mut flags = SqeFlags::from_bits_truncate(sqe.flags);
        if forces_async(opcode, sqe) {
            flags |= SqeFlags::ASYNC;
        }
        flags |= shown.map_or(SqeFlags::empty(), |shown| shown.flags);
        words[2] = u32::from_ne_bytes([opcode.0, flags.bits(), stack.payload_size(), 0]);
    }
    if let Some(shown) = shown.filter(|_| loads & PAYLOAD != 0 && stack.payload_size() != 0) {
        let payload: payload::Words = zerocopy::transmute!(shown.payload);
        words[4..10].copy_from_slice(&payload);
    }
    if loads & SQE != 0 {
        words[BEHIND..].copy_from_slice(&scalars::shown(model, sqe, stack.payload_size()));
    }
    judge(&words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FilterSet, Registration};
    use ringwarden_cbpf::asm::assemble;
    use zerocopy::FromBytes;

    /// The words that are not 0 of a request of which no field is.
    fn made(opcode: Opcode, program: &str) -> Vec<usize> {
        let mut set = FilterSet::new(KernelModel::Guard);
        set.register(Registration::new(opcode, &assemble(program).unwrap())).unwrap();
        let sqe = Sqe { opcode: opcode.0, ..Sqe::read_from_bytes(&[0xff; 64]).unwrap() };
        let mut stack = Stack::new(set.model().payload_size(opcode));
        set.filters(opcode).for_each(|filter| stack.push(filter.clone()));
        lend(set.model(), &sqe, &stack, |words| (0..words.len()).filter(|&word| words[word] != 0).collect())
    }

    #[test]
    fn what_nobody_loads_is_not_made() {
        assert_eq!(made(Opcode::SOCKET, "ld [4]\nret a"), [0, 1]);
        assert_eq!(made(Opcode::SOCKET, "ld [8]\nret a"), [0, 1, 2]);
        assert_eq!(made(Opcode::SOCKET, "ld [16]\nld [24]\nret a"), [0, 1, 4, 5, 6]);
        // Opcode and flags are not shown a second time.
        assert_eq!(made(Opcode::READ, "ld [44]\nret a")[..3], [0, 1, 10]);
    }
}
