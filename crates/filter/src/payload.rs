//! Arguments of operations, as far as filters see them: how a payload is made of a request, and a request of a
//! payload.
//!
//! [`Opcode::payload`] is the table: which operation has which kind of payload, and [`PayloadKind`] where its argument
//! is. A file here for each kind says what the kernel makes of it; nothing else of this crate, or of those that use
//! it, asks an opcode for that.

use crate::sqe_words::{BESIDE_PAYLOAD, WORDS};
use crate::{Errno, KernelModel};
use ringwarden_uapi::ring::{Sqe, SqeFlags};
use ringwarden_uapi::{Opcode, PayloadKind};

mod open;
mod sockaddr;
mod socket;

/// What the kernel copied from the program's memory while it prepared the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Nothing: the operation has no argument in memory that filters can see, or it could not be
    /// read.
    #[default]
    None,
    /// OPENAT2: the `sqe.len` bytes at `sqe.off`, a `struct open_how` or longer.
    OpenHow(&'a [u8]),
    /// CONNECT and BIND: the bytes at `sqe.addr`, as many as the low 32 bits of `sqe.off` say.
    Sockaddr(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// The argument of that operation, which [`Opcode::argument`] leads to; none where filters could not see it.
    pub fn of(opcode: Opcode, bytes: &'a [u8]) -> Self {
        match opcode.payload() {
            Some(PayloadKind::OpenHow) => Self::OpenHow(bytes),
            Some(PayloadKind::Sockaddr) => Self::Sockaddr(bytes),
            Some(PayloadKind::Socket | PayloadKind::Openat) | None => Self::None,
        }
    }
}

/// The words of a context that payloads share.
pub(crate) type Words = [u32; 6];

/// What a request shows beyond what the requests of all operations do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The payload, with zeros behind it.
    pub(crate) payload: [u8; size_of::<Words>()],
    /// The flags that preparation adds for what it says.
    pub(crate) flags: SqeFlags,
}

/// As much of a request's payload as its SQE says; nothing where it is in memory.
#[inline]
pub(crate) fn of_sqe(model: KernelModel, sqe: &Sqe) -> Option<Shown> {
    match Opcode(sqe.opcode).payload()? {
        PayloadKind::Socket => Some(socket::encode(sqe)),
        PayloadKind::Openat => Some(open::built(model, sqe)),
        PayloadKind::OpenHow | PayloadKind::Sockaddr => None,
    }
}

/// What a request shows whose argument is in memory.
///
/// # Errors
/// What preparation answers; EFAULT where `payload` is not what the operation takes.
#[inline]
pub(crate) fn of_memory(opcode: Opcode, payload: Payload<'_>) -> Result<Shown, Errno> {
    match (opcode.payload(), payload) {
        (Some(PayloadKind::OpenHow), Payload::OpenHow(bytes)) => open::copied(bytes),
        (Some(PayloadKind::Sockaddr), Payload::Sockaddr(bytes)) => sockaddr::encode(bytes),
        _ => Err(Errno::EFAULT),
    }
}

/// Has an SQE show the words of a payload, and gives the argument that it has to point at. Of words that no request
/// shows it makes others.
pub(crate) fn decode(words: &Words, sqe: &mut Sqe) -> Vec<u8> {
    match Opcode(sqe.opcode).payload() {
        Some(PayloadKind::Socket) => socket::decode(words, sqe),
        Some(PayloadKind::Openat) => open::say(words, sqe),
        Some(PayloadKind::OpenHow) => return open::how(words),
        Some(PayloadKind::Sockaddr) => return sockaddr::decode(words),
        None => {}
    }
    Vec::new()
}

/// The flags that what is in memory may add.
fn flags_of_memory(kind: PayloadKind) -> SqeFlags {
    match kind {
        PayloadKind::OpenHow => open::ADDS,
        PayloadKind::Socket | PayloadKind::Openat | PayloadKind::Sockaddr => SqeFlags::empty(),
    }
}

/// The bits of a context that memory outside the SQE decides, word by word: the payload, if it has that `size`, and for
/// OPENAT2 IOSQE_ASYNC too, which O_CREAT in its `open_how` forces. None for other operations.
#[inline]
pub(crate) fn bits(opcode: Opcode, size: u8) -> &'static [u32] {
    const NOTHING: u32 = 0;
    const ALL: u32 = !0;
    // Behind the opcode, in the same word.
    const ASYNC: u32 = u32::from_ne_bytes([0, SqeFlags::ASYNC.bits(), 0, 0]);
    // Words 0 and 1 are `user_data`, 3 is empty, and 4 to 9 are the payload.
    const FLAGS: &[u32] = &[NOTHING, NOTHING, ASYNC];
    const PAYLOAD: &[u32] = &[NOTHING, NOTHING, NOTHING, NOTHING, ALL, ALL, ALL, ALL, ALL, ALL];
    const BOTH: &[u32] = &[NOTHING, NOTHING, ASYNC, NOTHING, ALL, ALL, ALL, ALL, ALL, ALL];
    let Some(kind) = opcode.payload().filter(|kind| kind.argument().is_some()) else { return &[] };
    match (flags_of_memory(kind).contains(SqeFlags::ASYNC), size) {
        (false, 0) => &[],
        (true, 0) => FLAGS,
        (false, _) => PAYLOAD,
        (true, _) => BOTH,
    }
}

/// The bits of each word of an SQE that a payload says nothing of.
#[inline]
pub(crate) const fn beside(kind: PayloadKind) -> &'static [u32; WORDS] {
    match kind {
        PayloadKind::Socket => &socket::BESIDE,
        PayloadKind::Openat | PayloadKind::OpenHow | PayloadKind::Sockaddr => &BESIDE_PAYLOAD,
    }
}

/// The SQE without what its preparation drops unread, where it makes a payload of the rest: filters do not see that,
/// and a later kernel might act on it.
#[inline]
pub fn without_dropped(model: KernelModel, sqe: &Sqe) -> Option<Sqe> {
    match Opcode(sqe.opcode).payload()? {
        PayloadKind::Openat => Some(open::without_dropped(model, sqe)),
        PayloadKind::Socket | PayloadKind::OpenHow | PayloadKind::Sockaddr => None,
    }
}
