//! Restrictions: allow lists for requests and register calls (`IORING_REGISTER_RESTRICTIONS`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct io_uring_restriction`, 16 bytes: one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Restriction {
    /// `IORING_RESTRICTION_*`: what `value` is.
    pub kind: u16,
    /// A register opcode, a request opcode or `IOSQE_*` flags.
    pub value: u8,
    /// Not looked at (Linux 7.2; conformance/restrictions.toml).
    pub resv: u8,
    /// Not looked at.
    pub resv2: [u32; 3],
}

/// `struct io_uring_task_restriction`, 16 bytes, followed by its entries: the argument of the
/// form for a task (`fd` = -1, Linux 7.0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskRestriction {
    /// Zero.
    pub flags: u16,
    /// How many entries follow.
    pub nr_res: u16,
    /// Zero.
    pub resv: [u32; 3],
}

const _: () = assert!(size_of::<Restriction>() == 16 && size_of::<TaskRestriction>() == 16);

/// `IORING_RESTRICTION_REGISTER_OP`: allow a register opcode.
pub const REGISTER_OP: u16 = 0;
/// `IORING_RESTRICTION_SQE_OP`: allow a request opcode.
pub const SQE_OP: u16 = 1;
/// `IORING_RESTRICTION_SQE_FLAGS_ALLOWED`: the SQE flags that a request may have.
pub const SQE_FLAGS_ALLOWED: u16 = 2;
/// `IORING_RESTRICTION_SQE_FLAGS_REQUIRED`: the SQE flags that a request must have.
pub const SQE_FLAGS_REQUIRED: u16 = 3;
/// `IORING_RESTRICTION_LAST`: the first kind that does not exist.
pub const KIND_LAST: u16 = 4;
