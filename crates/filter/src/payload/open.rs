//! OPENAT and OPENAT2: how to open, made of the SQE's flags and mode, or copied (`io_openat_prep` and
//! `io_openat2_prep`, `io_uring/openclose.c`).

use super::{Shown, Words};
use crate::{Errno, KernelModel};
use ringwarden_uapi::bpf::OpenPayload;
use ringwarden_uapi::open::{
    MODE_BITS, O_CREAT, O_LARGEFILE, O_PATH, O_PATH_FLAGS, O_TMPFILE_BIT, O_TRUNC, OPEN_HOW_SIZE_VER0,
};
use ringwarden_uapi::ring::{Sqe, SqeFlags};
use zerocopy::{FromBytes, transmute};

/// The flags that opening may add.
pub(super) const ADDS: SqeFlags = SqeFlags::ASYNC;

/// The `open_how` that OPENAT makes of its flags and mode (`build_open_how`, `fs/open.c`).
#[inline]
pub(super) fn built(model: KernelModel, sqe: &Sqe) -> Shown {
    let flags = u64::from(sqe.op_flags) & kept(model, sqe);
    let creates = flags & (O_CREAT | O_TMPFILE_BIT) != 0;
    let mode = if creates { u64::from(sqe.len) & MODE_BITS } else { 0 };
    prepared(OpenPayload { flags, mode, resolve: 0 })
}

/// The flags that OPENAT keeps, if it has them.
#[inline]
fn kept(model: KernelModel, sqe: &Sqe) -> u64 {
    let known = model.facts().open_flags;
    if u64::from(sqe.op_flags) & O_PATH == 0 { known } else { known & O_PATH_FLAGS }
}

/// An OPENAT without the flags that it ignores.
pub(super) fn without_dropped(model: KernelModel, sqe: &Sqe) -> Sqe {
    Sqe { op_flags: sqe.op_flags & kept(model, sqe) as u32, ..*sqe }
}

/// The `open_how` that OPENAT2 copies; longer ones must end in zeros (`copy_struct_from_user`).
#[inline]
pub(super) fn copied(bytes: &[u8]) -> Result<Shown, Errno> {
    let (how, tail) = bytes.split_at_checked(OPEN_HOW_SIZE_VER0).ok_or(Errno::EINVAL)?;
    if tail.iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    OpenPayload::read_from_bytes(how).map(prepared).map_err(|_| Errno::EINVAL)
}

/// What both make of it (`__io_openat_prep`): what may take long is for a worker thread.
#[inline]
fn prepared(mut how: OpenPayload) -> Shown {
    if how.flags & O_PATH == 0 {
        how.flags |= O_LARGEFILE;
    }
    let long = how.flags & (O_CREAT | O_TRUNC | O_TMPFILE_BIT) != 0;
    Shown { payload: transmute!(how), flags: if long { ADDS } else { SqeFlags::empty() } }
}

/// Has an OPENAT say flags and mode.
pub(super) fn say(&[flags, _, mode, ..]: &Words, sqe: &mut Sqe) {
    (sqe.op_flags, sqe.len) = (flags, mode);
}

/// The `struct open_how` of an OPENAT2.
pub(super) fn how(words: &Words) -> Vec<u8> {
    words.map(u32::to_ne_bytes).as_flattened().to_vec()
}
