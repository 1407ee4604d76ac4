//! Filters: `struct io_uring_bpf` and what a filter program reads.
//!
//! `include/uapi/linux/io_uring/bpf_filter.h` and `struct io_uring_bpf` of Linux 7.2 and 7.3, which
//! agree byte for byte. The layouts of the patch as posted differ in reserved fields only; see
//! [`KernelModel::Posted`](crate::model::KernelModel::Posted).

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct io_uring_bpf_ctx`, 40 bytes: what a filter program can load, 32 bits at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BpfCtx {
    /// Byte 0: the request's `user_data`.
    pub user_data: u64,
    /// Byte 8: `IORING_OP_*`.
    pub opcode: u8,
    /// Byte 9: `IOSQE_*` as they stand after the operation's own preparation.
    pub sqe_flags: u8,
    /// Byte 10: how many bytes of `payload` the kernel fills for this opcode.
    pub pdu_size: u8,
    /// Byte 11: zero.
    pub pad: [u8; 5],
    /// Byte 16: [`SocketPayload`], [`OpenPayload`], [`ConnectPayload`] or zeros.
    pub payload: [u8; 24],
}

impl BpfCtx {
    /// How many bytes it has.
    pub const SIZE: usize = size_of::<Self>();
}

/// The payload of SOCKET, 12 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SocketPayload {
    /// `AF_*`.
    pub family: u32,
    /// `SOCK_*` with `SOCK_CLOEXEC` and `SOCK_NONBLOCK` still in it.
    pub kind: u32,
    /// `IPPROTO_*`.
    pub protocol: u32,
}

/// The payload of OPENAT and OPENAT2, 24 bytes: a `struct open_how`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OpenPayload {
    /// `O_*`.
    pub flags: u64,
    /// Permission bits.
    pub mode: u64,
    /// `RESOLVE_*`.
    pub resolve: u64,
}

/// The payload of CONNECT, 24 bytes (Linux 7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ConnectPayload {
    /// `AF_*`.
    pub family: u32,
    /// The port in network order, in the first two bytes of its word.
    pub port: [u8; 2],
    /// Zero.
    pub pad: [u8; 2],
    /// An IPv6 address, or an IPv4 address and zeros; network order.
    pub addr: [u8; 16],
}

/// `struct io_uring_bpf_filter`, 64 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BpfFilter {
    /// The opcode whose requests the program judges.
    pub opcode: u32,
    /// [`FilterFlags`].
    pub flags: u32,
    /// The number of instructions, 8 bytes each.
    pub filter_len: u32,
    /// In: the payload size that the program was written for. Out: the kernel's.
    pub pdu_size: u8,
    /// Zero.
    pub resv: [u8; 3],
    /// The address of the instructions.
    pub filter_ptr: u64,
    /// Zero.
    pub resv2: [u64; 5],
}

/// `struct io_uring_bpf`, 72 bytes: the argument of `IORING_REGISTER_BPF_FILTER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Bpf {
    /// [`CMD_FILTER`].
    pub cmd_type: u16,
    /// Zero.
    pub cmd_flags: u16,
    /// Zero.
    pub resv: u32,
    /// The filter.
    pub filter: BpfFilter,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<BpfCtx>() == 40 && offset_of!(BpfCtx, payload) == 16);
    assert!(offset_of!(BpfCtx, opcode) == 8 && offset_of!(BpfCtx, pdu_size) == 10);
    assert!(size_of::<SocketPayload>() == 12);
    assert!(size_of::<OpenPayload>() == 24);
    assert!(size_of::<ConnectPayload>() == 24 && offset_of!(ConnectPayload, addr) == 8);
    assert!(size_of::<BpfFilter>() == 64 && offset_of!(BpfFilter, pdu_size) == 12);
    assert!(offset_of!(BpfFilter, filter_ptr) == 16);
    assert!(size_of::<Bpf>() == 72 && offset_of!(Bpf, filter) == 8);
};

/// `IO_URING_BPF_CMD_FILTER`, the only command.
pub const CMD_FILTER: u16 = 1;

/// `BPF_MAXINSNS`: the longest program, in instructions.
pub const MAX_INSNS: u32 = 4096;

bitflags! {
    /// `IO_URING_BPF_FILTER_*`, the flags of a registration.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FilterFlags: u32 {
        /// Every other opcode that has no filter yet is denied from now on.
        const DENY_REST = 1 << 0;
        /// Refuse the program if its payload size is not exactly the kernel's.
        const SZ_STRICT = 1 << 1;
    }
}
