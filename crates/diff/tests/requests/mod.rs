//! Random requests worth asking about.

use crate::generate::{self, Random};
use ringwarden_filter::{Context, KernelModel, Payload, sqe_shown};
use ringwarden_uapi::ring::{Sqe, SqeFlags};
use ringwarden_uapi::{OpTraits, Opcode};

/// A request whose numbers are near those in `pool`, and which preparation lets pass.
pub(crate) fn near(model: KernelModel, opcode: Opcode, pool: &[u32], random: &mut Random) -> Context {
    let words = generate::context(opcode, pool, random);
    let mut flags = SqeFlags::from_bits_truncate((words[2] >> 8) as u8);
    if !opcode.traits().contains(OpTraits::BUFFER_SELECT) {
        flags -= SqeFlags::BUFFER_SELECT;
    }
    let mut sqe = Sqe {
        opcode: opcode.0,
        flags: flags.bits(),
        user_data: u64::from(words[0]) | u64::from(words[1]) << 32,
        ..if model.facts().shows_sqe { sqe_shown(&words) } else { Sqe::default() }
    };
    let bytes: Vec<u8> = words[4..10].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let address = [&bytes[..2], &bytes[4..8], &bytes[8..], &[0; 8]].concat();
    let payload = match opcode {
        Opcode::SOCKET => {
            (sqe.fd, sqe.off, sqe.len) = (words[4] as i32, u64::from(words[5] & 0x8080f), words[6]);
            Payload::None
        }
        Opcode::OPENAT => {
            (sqe.op_flags, sqe.len) = (words[4], words[6]);
            Payload::None
        }
        Opcode::OPENAT2 => Payload::OpenHow(&bytes),
        Opcode::CONNECT | Opcode::BIND => Payload::Sockaddr(&address),
        _ => Payload::None,
    };
    Context::new(model, &sqe, payload).expect("preparation takes it")
}
