//! Which fields an operation leaves unused and therefore wants to be zero, and what it reads.
//!
//! From the operations' `prep` functions in `io_uring/*.c`, Linux 7.2, in the SQE's terms.

use super::Read;
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{Pointer, Sqe};

/// `sizeof(struct msghdr)` as user space passes it.
const MSGHDR: usize = 56;
/// `sizeof(struct __kernel_timespec)`.
const TIMESPEC: usize = 16;
/// `sizeof(struct epoll_event)`: packed on x86-64 only.
const EPOLL_EVENT: usize = if cfg!(target_arch = "x86_64") { 12 } else { 16 };

/// `EPOLL_CTL_DEL`, the one that reads no event.
const EPOLL_CTL_DEL: u32 = 2;

/// What preparation wants of an SQE.
pub(super) struct Rule {
    /// EINVAL unless these are zero.
    pub(super) zero: &'static [Field],
    /// EBADF with IOSQE_FIXED_FILE: the operation takes no file.
    pub(super) no_fixed_file: bool,
    /// The argument that filters see is copied before anything of the above is looked at, and else right after.
    pub(super) copies_first: bool,
    /// EFAULT unless these can be read, in this order.
    pub(super) reads: &'static [Read],
}

/// A field, by the name that the header gives its most general use.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Fd,
    Off,
    Addr,
    Len,
    OpFlags,
    BufIndex,
    FileIndex,
    Addr3,
}

use Field::{Addr, Addr3, BufIndex, Fd, FileIndex, Len, Off, OpFlags};

const fn zero(zero: &'static [Field]) -> Rule {
    Rule { zero, no_fixed_file: false, copies_first: false, reads: &[] }
}

const fn reads(zero: &'static [Field], reads: &'static [Read]) -> Rule {
    Rule { reads, ..self::zero(zero) }
}

const fn paths(zero: &'static [Field], reads: &'static [Read]) -> Rule {
    Rule { no_fixed_file: true, ..self::reads(zero, reads) }
}

const PATH: &[Read] = &[Read::Path(Pointer::Addr)];
/// The name of an attribute: whether it is a good one is found out elsewhere.
const NAME: &[Read] = &[Read::Start(Pointer::Addr)];
const TWO_PATHS: &[Read] = &[Read::Path(Pointer::Addr), Read::Path(Pointer::Off)];

pub(super) fn of(sqe: &Sqe) -> Rule {
    match Opcode(sqe.opcode) {
        Opcode::POLL_ADD => zero(&[BufIndex, Off, Addr]),
        Opcode::POLL_REMOVE => zero(&[BufIndex, FileIndex]),
        Opcode::FSYNC | Opcode::SYNC_FILE_RANGE => zero(&[Addr, BufIndex, FileIndex]),
        Opcode::SENDMSG | Opcode::RECVMSG => reads(&[Off, FileIndex], &[Read::Struct(Pointer::Addr, MSGHDR)]),
        Opcode::SENDMSG_ZC => reads(&[Off], &[Read::Struct(Pointer::Addr, MSGHDR)]),
        Opcode::TIMEOUT | Opcode::LINK_TIMEOUT => {
            reads(&[BufIndex, FileIndex], &[Read::Struct(Pointer::Addr, TIMESPEC)])
        }
        Opcode::TIMEOUT_REMOVE => zero(&[BufIndex, Len, FileIndex]),
        Opcode::ACCEPT => zero(&[Len, BufIndex]),
        Opcode::ASYNC_CANCEL => zero(&[Off, FileIndex]),
        Opcode::CONNECT | Opcode::BIND => zero(&[Len, BufIndex, OpFlags, FileIndex]),
        Opcode::FALLOCATE => zero(&[BufIndex, OpFlags, FileIndex]),
        Opcode::OPENAT => paths(&[BufIndex], PATH),
        Opcode::OPENAT2 => Rule { copies_first: true, ..paths(&[BufIndex], PATH) },
        Opcode::CLOSE => Rule { no_fixed_file: true, ..zero(&[Off, Addr, Len, OpFlags, BufIndex]) },
        Opcode::FILES_UPDATE => zero(&[OpFlags, FileIndex]),
        Opcode::STATX => paths(&[BufIndex, FileIndex], PATH),
        Opcode::EPOLL_CTL if sqe.len == EPOLL_CTL_DEL => zero(&[BufIndex, FileIndex]),
        Opcode::EPOLL_CTL => reads(&[BufIndex, FileIndex], &[Read::Struct(Pointer::Addr, EPOLL_EVENT)]),
        // Their lengths are where others have nothing: ADDR of one, OFF of the other.
        Opcode::FADVISE | Opcode::MADVISE => zero(&[BufIndex, FileIndex]),
        Opcode::PROVIDE_BUFFERS => zero(&[OpFlags, FileIndex]),
        Opcode::REMOVE_BUFFERS => zero(&[OpFlags, Addr, Len, Off, FileIndex]),
        Opcode::TEE => zero(&[Addr, Off]),
        Opcode::SHUTDOWN => zero(&[Off, Addr, OpFlags, BufIndex, FileIndex]),
        Opcode::RENAMEAT | Opcode::LINKAT => paths(&[BufIndex, FileIndex], TWO_PATHS),
        Opcode::UNLINKAT => paths(&[Off, Len, BufIndex, FileIndex], PATH),
        Opcode::MKDIRAT => paths(&[Off, OpFlags, BufIndex, FileIndex], PATH),
        Opcode::SYMLINKAT => paths(&[Len, OpFlags, BufIndex, FileIndex], TWO_PATHS),
        Opcode::MSG_RING => zero(&[BufIndex]),
        Opcode::FSETXATTR | Opcode::SETXATTR => paths(&[], NAME),
        Opcode::FGETXATTR | Opcode::GETXATTR => paths(&[OpFlags], NAME),
        Opcode::SOCKET => zero(&[Addr, OpFlags, BufIndex]),
        Opcode::WAITID => zero(&[Addr, BufIndex, Addr3, OpFlags]),
        Opcode::FUTEX_WAIT | Opcode::FUTEX_WAKE => zero(&[Len, OpFlags, BufIndex, FileIndex]),
        Opcode::FUTEX_WAITV => zero(&[Fd, BufIndex, FileIndex, Off, OpFlags, Addr3]),
        Opcode::FIXED_FD_INSTALL => zero(&[Off, Addr, Len, BufIndex, FileIndex, Addr3]),
        Opcode::FTRUNCATE => zero(&[OpFlags, Addr, Len, BufIndex, FileIndex, Addr3]),
        Opcode::LISTEN => zero(&[Addr, BufIndex, OpFlags, FileIndex, Off]),
        Opcode::EPOLL_WAIT => zero(&[Off, OpFlags, BufIndex, FileIndex]),
        Opcode::PIPE => zero(&[Fd, Off, Addr3]),
        _ => zero(&[]),
    }
}

impl Field {
    pub(super) fn value(self, sqe: &Sqe) -> u64 {
        match self {
            Fd => u64::from(sqe.fd as u32),
            Off => sqe.off,
            Addr => sqe.addr,
            Len => sqe.len.into(),
            OpFlags => sqe.op_flags.into(),
            BufIndex => sqe.buf_index.into(),
            FileIndex => sqe.file_index.into(),
            Addr3 => sqe.addr3,
        }
    }
}
