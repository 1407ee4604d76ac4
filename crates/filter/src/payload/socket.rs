//! SOCKET: family, type and protocol, as the SQE has them (`io_socket_prep`, `io_uring/net.c`).

use super::{Shown, Words};
use crate::sqe_words::{BESIDE_PAYLOAD, WORDS};
use ringwarden_uapi::bpf::SocketPayload;
use ringwarden_uapi::ring::{Sqe, SqeFlags};
use zerocopy::transmute;

/// What it says nothing of: the family is where others have a descriptor.
pub(super) const BESIDE: [u32; WORDS] = {
    let mut beside = BESIDE_PAYLOAD;
    beside[1] = 0;
    beside
};

#[inline]
pub(super) fn encode(sqe: &Sqe) -> Shown {
    let shown = SocketPayload { family: sqe.fd as u32, kind: sqe.off as u32, protocol: sqe.len };
    let payload: [[u8; size_of::<SocketPayload>()]; 2] = [transmute!(shown), [0; size_of::<SocketPayload>()]];
    Shown { payload: transmute!(payload), flags: SqeFlags::empty() }
}

pub(super) fn decode(&[family, kind, protocol, ..]: &Words, sqe: &mut Sqe) {
    (sqe.fd, sqe.off, sqe.len) = (family as i32, kind.into(), protocol);
}
