//! Arguments of operations, as far as filters see them.

use crate::{Errno, KernelModel};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::{ConnectPayload, OpenPayload};
use ringwarden_uapi::open::{self, OPEN_HOW_SIZE_VER0};
use ringwarden_uapi::ring::{Sqe, SqeFlags};
use zerocopy::FromBytes;

/// `AF_INET`.
const AF_INET: u16 = 2;
/// `AF_INET6`.
const AF_INET6: u16 = 10;
/// `sizeof(struct sockaddr_storage)`, the longest address the kernel copies.
pub(crate) const SOCKADDR_MAX: usize = 128;
/// `sizeof(struct sockaddr_in)`.
const SOCKADDR_IN: usize = 16;
/// `SIN6_LEN_RFC2133`: an IPv6 address up to and including the address bytes.
const SOCKADDR_IN6_MIN: usize = 24;

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

/// The bits of a context that memory outside the SQE decides, word by word: the payload, and for OPENAT2
/// IOSQE_ASYNC too, which O_CREAT in its `open_how` forces. None for other operations.
pub(crate) fn bits(model: KernelModel, opcode: Opcode) -> &'static [u32] {
    const NOTHING: u32 = 0;
    const ALL: u32 = !0;
    // Behind the opcode, in the same word.
    const ASYNC: u32 = u32::from_ne_bytes([0, SqeFlags::ASYNC.bits(), 0, 0]);
    // Words 0 and 1 are `user_data`, 3 is empty, and 4 to 9 are the payload.
    const FLAGS: &[u32] = &[NOTHING, NOTHING, ASYNC];
    const PAYLOAD: &[u32] = &[NOTHING, NOTHING, NOTHING, NOTHING, ALL, ALL, ALL, ALL, ALL, ALL];
    const BOTH: &[u32] = &[NOTHING, NOTHING, ASYNC, NOTHING, ALL, ALL, ALL, ALL, ALL, ALL];
    match (opcode, model.payload_size(opcode)) {
        (Opcode::OPENAT2, 0) => FLAGS,
        (Opcode::OPENAT2, _) => BOTH,
        (Opcode::CONNECT | Opcode::BIND, 1..) => PAYLOAD,
        _ => &[],
    }
}

/// The `open_how` that OPENAT makes of its flags and mode (`build_open_how`, `fs/open.c`).
pub(crate) fn openat_how(model: KernelModel, sqe: &Sqe) -> OpenPayload {
    let mut flags = u64::from(sqe.op_flags) & model.facts().open_flags;
    if flags & open::O_PATH != 0 {
        flags &= open::O_PATH_FLAGS;
    }
    let creates = flags & (open::O_CREAT | open::O_TMPFILE_BIT) != 0;
    let mode = if creates { u64::from(sqe.len) & open::MODE_BITS } else { 0 };
    OpenPayload { flags, mode, resolve: 0 }
}

/// The `open_how` that OPENAT2 copies; longer ones must end in zeros (`copy_struct_from_user`).
pub(crate) fn open_how(bytes: &[u8]) -> Result<OpenPayload, Errno> {
    let (how, tail) = bytes.split_at_checked(OPEN_HOW_SIZE_VER0).ok_or(Errno::EINVAL)?;
    if tail.iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    OpenPayload::read_from_bytes(how).map_err(|_| Errno::EINVAL)
}

/// What CONNECT shows of its address, and to the guard's filters BIND: the family if there are two bytes for it, port and address if
/// all of them are there.
pub(crate) fn address(bytes: &[u8]) -> Result<ConnectPayload, Errno> {
    if bytes.len() > SOCKADDR_MAX {
        return Err(Errno::EINVAL);
    }
    let mut payload = ConnectPayload::default();
    let Some((family, rest)) = bytes.split_first_chunk() else { return Ok(payload) };
    let family = u16::from_ne_bytes(*family);
    payload.family = family.into();
    // `rest` starts at byte 2 of the address: the port, then v4 at 4 or, behind flowinfo, v6 at 8.
    match family {
        AF_INET if bytes.len() >= SOCKADDR_IN => {
            payload.port.copy_from_slice(&rest[..2]);
            payload.addr[..4].copy_from_slice(&rest[2..6]);
        }
        AF_INET6 if bytes.len() >= SOCKADDR_IN6_MIN => {
            payload.port.copy_from_slice(&rest[..2]);
            payload.addr.copy_from_slice(&rest[6..22]);
        }
        _ => {}
    }
    Ok(payload)
}
