//! What a filter program sees of a request.
//!
//! The kernel fills the context after the operation's own preparation has run, so it shows what the
//! kernel made of the SQE, not what the program wrote there (conformance/contexts.toml): flags that
//! preparation added, open flags it dropped, an address only as far as its length covers it.
//!
//! The guard's filters see the SQE behind that, as the program wrote it ([`scalars`]).

use crate::payload::{self, Payload, Shown};
use crate::scalars;
use crate::sqe_words;
use ringwarden_uapi::bpf::BpfCtx;
use ringwarden_uapi::ring::{Sqe, SqeFlags};
use ringwarden_uapi::{Errno, KernelModel, Opcode};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `POSIX_FADV_NORMAL`, `_RANDOM` and `_SEQUENTIAL` only set a hint and so need no worker thread.
const FADVISE_INLINE: std::ops::RangeInclusive<u32> = 0..=2;

/// The words that a program loads, in host order: 10 of them, 16 for [`KernelModel::Posted`], 26 for
/// [`KernelModel::Guard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    fields: Fields,
    words: u8,
    complete: bool,
}

/// The 40 bytes that kernels fill, and what is behind them: zeros in the context as posted, the SQE for the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Fields {
    ctx: BpfCtx,
    behind: [u32; sqe_words::WORDS],
}

impl Context {
    /// What filters see of a request that stands alone in its submission; for what its neighbours
    /// add see [`Requests`](crate::Requests) and [`with_flags`](Self::with_flags).
    ///
    /// # Errors
    /// What the operation's preparation answers to its payload, before any filter runs: EFAULT if
    /// it needs one and `payload` is not of its kind; EINVAL for an `open_how` under 24 bytes or an
    /// address over 128; E2BIG for an `open_how` with anything but zeros after byte 24.
    pub fn new(model: KernelModel, sqe: &Sqe, payload: Payload<'_>) -> Result<Self, Errno> {
        let mut context = Self::header(model, sqe);
        if !context.complete {
            context.show(&payload::of_memory(context.opcode(), payload)?);
            context.complete = true;
        }
        Ok(context)
    }

    /// What filters see of a request as far as its SQE says it: everything but the payload of
    /// OPENAT2, CONNECT and BIND, and for OPENAT2 the IOSQE_ASYNC that its payload may force.
    ///
    /// Enough for every opcode of which [`FilterSet::reads_payload`](crate::FilterSet::reads_payload)
    /// is false; where it is true, the set denies such a context.
    pub fn header(model: KernelModel, sqe: &Sqe) -> Self {
        let opcode = Opcode(sqe.opcode);
        let pdu_size = model.payload_size(opcode);
        let ctx = BpfCtx {
            user_data: sqe.user_data,
            opcode: sqe.opcode,
            sqe_flags: sqe.flags & SqeFlags::all().bits(),
            pdu_size,
            ..BpfCtx::default()
        };
        let mut context = Self {
            fields: Fields { ctx, behind: scalars::shown(model, sqe, pdu_size) },
            words: (model.facts().context_size / 4) as u8,
            complete: payload::bits(opcode, pdu_size).is_empty(),
        };
        if let Some(shown) = payload::of_sqe(model, sqe) {
            context.show(&shown);
        }
        if forces_async(opcode, sqe) {
            context = context.with_flags(SqeFlags::ASYNC);
        }
        context
    }

    /// The same with more `IOSQE_*` flags: those that the request's place in its submission adds.
    #[must_use]
    pub fn with_flags(mut self, flags: SqeFlags) -> Self {
        self.fields.ctx.sqe_flags |= flags.bits();
        self
    }

    /// What filters of the kernel see of the same request that [`KernelModel::Guard`] is like. Other contexts are left
    /// as they are.
    #[must_use]
    pub fn as_kernels_show(mut self) -> Self {
        let (from, to) = (KernelModel::Guard, KernelModel::Guard.kernel());
        if usize::from(self.words) * 4 != from.facts().context_size {
            return self;
        }
        self.words = (to.facts().context_size / 4) as u8;
        self.fields.behind = [0; sqe_words::WORDS];
        let size = to.payload_size(self.opcode());
        if self.fields.ctx.pdu_size != size {
            self.fields.ctx.pdu_size = size;
            self.fields.ctx.payload = [0; 24];
            self.complete = payload::bits(self.opcode(), size).is_empty();
        }
        self
    }

    /// The words that a program loads: word *n* is the one at byte 4*n*.
    pub fn words(&self) -> &[u32] {
        const WORDS: usize = size_of::<Fields>() / 4;
        // The fields are a multiple of four bytes long and more strictly aligned than words are.
        <[u32; WORDS]>::ref_from_bytes(self.fields.as_bytes())
            .map_or(&[], |all| &all[..usize::from(self.words)])
    }

    /// The request's opcode.
    pub fn opcode(&self) -> Opcode {
        Opcode(self.fields.ctx.opcode)
    }

    /// The request's `user_data`.
    pub fn user_data(&self) -> u64 {
        self.fields.ctx.user_data
    }

    /// The `IOSQE_*` flags as filters see them.
    pub fn sqe_flags(&self) -> SqeFlags {
        SqeFlags::from_bits_retain(self.fields.ctx.sqe_flags)
    }

    /// Whether everything that the kernel shows is there; false only for the
    /// [`header`](Self::header) of an OPENAT2, or of a CONNECT or BIND where it has a payload.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Adds what single operations show, the payload if this kernel has one for the opcode.
    fn show(&mut self, shown: &Shown) {
        self.fields.ctx.sqe_flags |= shown.flags.bits();
        if self.fields.ctx.pdu_size != 0 {
            self.fields.ctx.payload = shown.payload;
        }
    }
}

/// Whether a request waits in a queue, as a drain does, or the operation's preparation always sends it to a worker
/// thread, so that it shows IOSQE_ASYNC. Where a payload decides, [`payload`] says so.
pub(crate) fn forces_async(opcode: Opcode, sqe: &Sqe) -> bool {
    match opcode {
        _ if sqe.flags & SqeFlags::IO_DRAIN.bits() != 0 => true,
        Opcode::FADVISE => !FADVISE_INLINE.contains(&sqe.op_flags),
        Opcode::FSYNC
        | Opcode::SYNC_FILE_RANGE
        | Opcode::FALLOCATE
        | Opcode::STATX
        | Opcode::MADVISE
        | Opcode::SPLICE
        | Opcode::TEE
        | Opcode::SHUTDOWN
        | Opcode::RENAMEAT
        | Opcode::UNLINKAT
        | Opcode::MKDIRAT
        | Opcode::SYMLINKAT
        | Opcode::LINKAT
        | Opcode::FSETXATTR
        | Opcode::SETXATTR
        | Opcode::FGETXATTR
        | Opcode::GETXATTR
        | Opcode::FTRUNCATE => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever has no [`Requests`](crate::Requests) still sees what the request brings about itself.
    #[test]
    fn a_drain_waits_in_a_queue() {
        let sqe = Sqe { flags: SqeFlags::IO_DRAIN.bits(), ..Sqe::default() };
        let context = Context::header(KernelModel::V7_3, &sqe);
        assert_eq!(context.sqe_flags(), SqeFlags::IO_DRAIN | SqeFlags::ASYNC);
    }

    #[test]
    fn words_are_as_many_as_the_kernel_has() {
        for model in KernelModel::WITH_GUARD {
            let words = Context::header(model, &Sqe::default()).words().len();
            assert_eq!(words * 4, model.facts().context_size, "{model}");
        }
    }

    #[test]
    fn an_argument_that_could_not_be_read_is_efault() {
        let sqe = |opcode: Opcode| Sqe { opcode: opcode.0, ..Sqe::default() };
        let new = |model, opcode| Context::new(model, &sqe(opcode), Payload::None).map(|_| ());
        assert_eq!(new(KernelModel::V7_2, Opcode::OPENAT2), Err(Errno::EFAULT));
        assert_eq!(new(KernelModel::V7_2, Opcode::CONNECT), Err(Errno::EFAULT));
        // There it has no payload.
        assert_eq!(new(KernelModel::V7_0, Opcode::CONNECT), Ok(()));
    }
}
