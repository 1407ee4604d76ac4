//! Records of requests that nobody has made.

#![allow(dead_code)] // each test needs a part

use ringwarden::filter::{Context, Payload};
use ringwarden::uapi::ring::Sqe;
use ringwarden::uapi::{KernelModel, Opcode};
use ringwarden_records::Recording;
use ringwarden_trace::{Item, NO_RULE, Preamble, Request};
use std::path::Path;
use zerocopy::{FromBytes, IntoBytes};

/// Requests of every operation, and of some that do not exist, with arguments of all kinds.
pub fn contexts(seed: u64, count: usize) -> Vec<Context> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut contexts = Vec::new();
    while contexts.len() < count {
        let mut bytes = [0; 64];
        random.fill(&mut bytes);
        let mut sqe = Sqe::read_from_bytes(&bytes).expect("64 bytes");
        sqe.opcode = random.u8(..Opcode::LAST + 2);
        sqe.flags &= 0x7f;
        if random.bool() {
            // What rules often look at.
            (sqe.fd, sqe.off) = (random.i32(0..12), random.u64(0..32));
        }
        let op = Opcode(sqe.opcode);
        let mut argument = [0u8; 28];
        random.fill(&mut argument[..24]);
        argument[..2].copy_from_slice(&[[1, 2, 10][random.usize(..3)], 0]);
        let payload = match op {
            Opcode::CONNECT | Opcode::BIND => {
                sqe.off = 28;
                Payload::of(op, &argument)
            }
            Opcode::OPENAT2 => Payload::of(op, &argument[..24]),
            _ => Payload::None,
        };
        contexts.extend(Context::new(KernelModel::Guard, &sqe, payload));
    }
    contexts
}

/// The request of a trace that shows this.
pub fn request(context: &Context, row: usize) -> Request {
    let mut request = Request {
        time: (1_700_000_000_000_000_000 + row as u64).into(),
        pid: 7.into(),
        tid: 8.into(),
        rule: NO_RULE.into(),
        complete: 1,
        ..Request::default()
    };
    request.program[..4].copy_from_slice([b"some", b"that"][row % 2]);
    for (to, &word) in request.words.iter_mut().zip(context.words()) {
        *to = word.into();
    }
    request
}

/// Writes requests.
pub fn write(path: &Path, requests: impl IntoIterator<Item = Request>) {
    let preamble = Preamble { model: "guard".into(), ..Preamble::default() };
    let mut recording = Recording::create(path, &preamble).expect("a new file");
    recording.add(Item::Rule("openat at old.toml:3".into())).expect("written");
    recording.add(Item::Ring { entries: 8, flags: 0, cq_entries: 0 }).expect("written");
    for request in requests {
        assert_eq!(request.as_bytes().len(), 152);
        recording.add(Item::Request(request)).expect("written");
    }
    recording.finish().expect("written");
}

/// A record of requests that show these, a row each.
pub fn write_contexts(path: &Path, contexts: &[Context]) {
    write(path, contexts.iter().enumerate().map(|(row, context)| request(context, row)));
}
