//! Rings: submission and completion entries, set-up parameters, flags.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct io_uring_sqe`, 64 bytes, with the unions named after their most general member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Sqe {
    /// Byte 0: `IORING_OP_*`.
    pub opcode: u8,
    /// Byte 1: `IOSQE_*`.
    pub flags: u8,
    /// Byte 2.
    pub ioprio: u16,
    /// Byte 4: a descriptor, or what the opcode makes of it (the family of SOCKET).
    pub fd: i32,
    /// Byte 8: `off`, `addr2`, or `cmd_op` in the low half.
    pub off: u64,
    /// Byte 16: `addr`, `splice_off_in`, or `level` and `optname`.
    pub addr: u64,
    /// Byte 24.
    pub len: u32,
    /// Byte 28: `rw_flags`, `open_flags`, `msg_flags`, … whichever the opcode names it.
    pub op_flags: u32,
    /// Byte 32: handed back in the CQE.
    pub user_data: u64,
    /// Byte 40: `buf_index` or `buf_group`.
    pub buf_index: u16,
    /// Byte 42.
    pub personality: u16,
    /// Byte 44: `splice_fd_in`, `file_index`, `optlen`, `addr_len` (low half), …
    pub file_index: u32,
    /// Byte 48: `addr3`, `optval` or `attr_ptr`.
    pub addr3: u64,
    /// Byte 56: `__pad2`, `attr_type_mask` …
    pub pad2: u64,
}
const _: () = assert!(size_of::<Sqe>() == 64);

/// A field of an SQE that leads to memory of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointer {
    /// `addr`.
    Addr,
    /// `off`, which is `addr2` then.
    Off,
}

impl Pointer {
    /// The address in it.
    pub const fn get(self, sqe: &Sqe) -> u64 {
        match self {
            Self::Addr => sqe.addr,
            Self::Off => sqe.off,
        }
    }

    /// Has it lead to another.
    pub const fn set(self, sqe: &mut Sqe, address: u64) {
        match self {
            Self::Addr => sqe.addr = address,
            Self::Off => sqe.off = address,
        }
    }
}

/// `struct io_uring_cqe` without the 16 extra bytes of CQE32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Cqe {
    /// The SQE's `user_data`.
    pub user_data: u64,
    /// The result: a count or descriptor, or `-errno`.
    pub res: i32,
    /// `IORING_CQE_F_*`.
    pub flags: u32,
}
const _: () = assert!(size_of::<Cqe>() == 16);

/// `struct io_sqring_offsets`, 40 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)] // the header's own names, offsets in bytes into the mapped ring
pub struct SqRingOffsets {
    pub head: u32,
    pub tail: u32,
    pub ring_mask: u32,
    pub ring_entries: u32,
    pub flags: u32,
    pub dropped: u32,
    pub array: u32,
    pub resv1: u32,
    pub user_addr: u64,
}

/// `struct io_cqring_offsets`, 40 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)] // the header's own names, offsets in bytes into the mapped ring
pub struct CqRingOffsets {
    pub head: u32,
    pub tail: u32,
    pub ring_mask: u32,
    pub ring_entries: u32,
    pub overflow: u32,
    pub cqes: u32,
    pub flags: u32,
    pub resv1: u32,
    pub user_addr: u64,
}

/// `struct io_uring_params`, 120 bytes: read and written by `io_uring_setup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)] // the header's own names
pub struct Params {
    pub sq_entries: u32,
    pub cq_entries: u32,
    pub flags: u32,
    pub sq_thread_cpu: u32,
    pub sq_thread_idle: u32,
    pub features: u32,
    pub wq_fd: u32,
    pub resv: [u32; 3],
    pub sq_off: SqRingOffsets,
    pub cq_off: CqRingOffsets,
}
const _: () = assert!(size_of::<Params>() == 120);

bitflags! {
    /// `IOSQE_*`, `sqe.flags`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SqeFlags: u8 {
        /// `fd` is an index into the registered files.
        const FIXED_FILE = 1 << 0;
        /// Start after everything before it has completed.
        const IO_DRAIN = 1 << 1;
        /// The next request starts when this one has succeeded.
        const IO_LINK = 1 << 2;
        /// The next request starts when this one has completed.
        const IO_HARDLINK = 1 << 3;
        /// Start in a worker thread.
        const ASYNC = 1 << 4;
        /// Pick a provided buffer.
        const BUFFER_SELECT = 1 << 5;
        /// Post no CQE on success.
        const CQE_SKIP_SUCCESS = 1 << 6;
    }
}

bitflags! {
    /// `IORING_SETUP_*`, `params.flags`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SetupFlags: u32 {
        /// Completions are polled for.
        const IOPOLL = 1 << 0;
        /// A kernel thread submits.
        const SQPOLL = 1 << 1;
        /// `sq_thread_cpu` is valid.
        const SQ_AFF = 1 << 2;
        /// `cq_entries` is valid.
        const CQSIZE = 1 << 3;
        /// Clamp sizes instead of refusing them.
        const CLAMP = 1 << 4;
        /// Share the workers of `wq_fd`.
        const ATTACH_WQ = 1 << 5;
        /// Start disabled.
        const R_DISABLED = 1 << 6;
        /// A failed request does not end the batch.
        const SUBMIT_ALL = 1 << 7;
        /// No inter-processor interrupts for completions.
        const COOP_TASKRUN = 1 << 8;
        /// Tell of pending task work in the SQ flags.
        const TASKRUN_FLAG = 1 << 9;
        /// 128-byte SQEs.
        const SQE128 = 1 << 10;
        /// 32-byte CQEs.
        const CQE32 = 1 << 11;
        /// One task submits.
        const SINGLE_ISSUER = 1 << 12;
        /// Task work runs only when events are asked for.
        const DEFER_TASKRUN = 1 << 13;
        /// The program supplies the memory.
        const NO_MMAP = 1 << 14;
        /// No descriptor, only a registered index.
        const REGISTERED_FD_ONLY = 1 << 15;
        /// No SQ index array.
        const NO_SQARRAY = 1 << 16;
        /// Hybrid polling.
        const HYBRID_IOPOLL = 1 << 17;
        /// 16- and 32-byte CQEs in one ring (Linux 6.18).
        const CQE_MIXED = 1 << 18;
        /// 64- and 128-byte SQEs in one ring (Linux 6.19).
        const SQE_MIXED = 1 << 19;
    }
}

bitflags! {
    /// `IORING_ENTER_*`, the flags of `io_uring_enter`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct EnterFlags: u32 {
        /// Wait for completions.
        const GETEVENTS = 1 << 0;
        /// Wake the SQPOLL thread.
        const SQ_WAKEUP = 1 << 1;
        /// Wait for room in the submission queue.
        const SQ_WAIT = 1 << 2;
        /// `arg` is a `struct io_uring_getevents_arg`.
        const EXT_ARG = 1 << 3;
        /// `fd` is an index registered with `IORING_REGISTER_RING_FDS`.
        const REGISTERED_RING = 1 << 4;
        /// The timeout is absolute (Linux 6.12).
        const ABS_TIMER = 1 << 5;
        /// `arg` is an offset into the registered wait region (Linux 6.13).
        const EXT_ARG_REG = 1 << 6;
        /// Do not count the wait as iowait (Linux 6.15).
        const NO_IOWAIT = 1 << 7;
    }
}

/// `IORING_SQ_NEED_WAKEUP`, a bit of the SQ flags word: the SQPOLL thread sleeps.
pub const SQ_NEED_WAKEUP: u32 = 1 << 0;

/// `mmap` offset of the SQ (and, with `FEAT_SINGLE_MMAP`, CQ) ring.
pub const OFF_SQ_RING: u64 = 0;
/// `mmap` offset of the CQ ring.
pub const OFF_CQ_RING: u64 = 0x0800_0000;
/// `mmap` offset of the SQE array.
pub const OFF_SQES: u64 = 0x1000_0000;

/// `IORING_MAX_ENTRIES`: the most SQEs a ring can have (`io_uring/io_uring.h`).
pub const MAX_ENTRIES: u32 = 32768;
