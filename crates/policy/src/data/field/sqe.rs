//! Fields that only the guard sees: scalars of the SQE, by the names of `struct io_uring_sqe`
//! (`include/uapi/linux/io_uring.h`) or, where the operation has a better one, by that.
//!
//! What operations make of their SQEs is in their preparation (`io_*_prep` in `io_uring/*.c`, Linux 6.18 to 7.3).
//! Not here are pointers, since what is behind them can change until the kernel reads it, and what kernels show already.

use super::{EVERY, Field, Form, PLAIN, WIDE};
use crate::data::kind::Kind;
use ringwarden_uapi::KernelModel;
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::BpfCtx;
use ringwarden_uapi::ring::Sqe;
use std::mem::offset_of;

const IOPRIO: usize = offset_of!(Sqe, ioprio);
const FD: usize = offset_of!(Sqe, fd);
const OFF: usize = offset_of!(Sqe, off);
const ADDR: usize = offset_of!(Sqe, addr);
const LEN: usize = offset_of!(Sqe, len);
const OP_FLAGS: usize = offset_of!(Sqe, op_flags);
const BUF_INDEX: usize = offset_of!(Sqe, buf_index);
const PERSONALITY: usize = offset_of!(Sqe, personality);
const FILE_INDEX: usize = offset_of!(Sqe, file_index);
const ADDR3: usize = offset_of!(Sqe, addr3);

/// A number of 32 bits at a byte of the SQE.
const fn word(
    name: &'static str,
    operations: &'static [Opcode],
    kind: Kind,
    at: usize,
    doc: &'static str,
) -> Field {
    Field { name, operations, kind, since: KernelModel::Guard, byte: BpfCtx::SIZE + at, doc, ..PLAIN }
}

/// The same of 16 bits.
const fn half(
    name: &'static str,
    operations: &'static [Opcode],
    kind: Kind,
    at: usize,
    doc: &'static str,
) -> Field {
    Field { bits: 16, form: Form::U16, mask: 0xffff, ..word(name, operations, kind, at, doc) }
}

/// The same of 64 bits.
const fn wide(
    name: &'static str,
    operations: &'static [Opcode],
    kind: Kind,
    at: usize,
    doc: &'static str,
) -> Field {
    Field { name, operations, kind, since: KernelModel::Guard, byte: BpfCtx::SIZE + at, doc, ..WIDE }
}

/// Bits that the kernel looks at, where those are not all.
const fn masked(field: Field, bits: u8, mask: u64) -> Field {
    Field { bits, mask, ..field }
}

const COMMANDS: &[Opcode] = &[Opcode::URING_CMD, Opcode::URING_CMD128];
const POSITIONED: &[Opcode] = &[
    Opcode::READV,
    Opcode::WRITEV,
    Opcode::READ_FIXED,
    Opcode::WRITE_FIXED,
    Opcode::READ,
    Opcode::WRITE,
    Opcode::READ_MULTISHOT,
    Opcode::READV_FIXED,
    Opcode::WRITEV_FIXED,
];
const RANGES: &[Opcode] = &[Opcode::FSYNC, Opcode::SYNC_FILE_RANGE];
const FIXED: &[Opcode] = &[
    Opcode::READ_FIXED,
    Opcode::WRITE_FIXED,
    Opcode::READV_FIXED,
    Opcode::WRITEV_FIXED,
    Opcode::SEND_ZC,
    Opcode::SENDMSG_ZC,
    Opcode::URING_CMD,
    Opcode::URING_CMD128,
];
const SELECTING: &[Opcode] = &[
    Opcode::READV,
    Opcode::READ,
    Opcode::READ_MULTISHOT,
    Opcode::RECVMSG,
    Opcode::SEND,
    Opcode::RECV,
    Opcode::PROVIDE_BUFFERS,
    Opcode::REMOVE_BUFFERS,
];
const TRANSFERS: &[Opcode] = &[
    Opcode::SENDMSG,
    Opcode::RECVMSG,
    Opcode::SEND,
    Opcode::RECV,
    Opcode::SEND_ZC,
    Opcode::SENDMSG_ZC,
    Opcode::RECV_ZC,
];
const OF_BYTES: &[Opcode] = &[Opcode::SEND, Opcode::RECV, Opcode::SEND_ZC, Opcode::RECV_ZC];
const SPLICES: &[Opcode] = &[Opcode::SPLICE, Opcode::TEE];
const XATTRS: &[Opcode] = &[Opcode::FSETXATTR, Opcode::SETXATTR, Opcode::FGETXATTR, Opcode::GETXATTR];
const SET_XATTRS: &[Opcode] = &[Opcode::FSETXATTR, Opcode::SETXATTR];
const NEW_FILES: &[Opcode] = &[Opcode::ACCEPT, Opcode::OPENAT, Opcode::OPENAT2, Opcode::SOCKET, Opcode::PIPE];
const TWO_PATHS: &[Opcode] = &[Opcode::RENAMEAT, Opcode::LINKAT];
const FUTEXES: &[Opcode] = &[Opcode::FUTEX_WAIT, Opcode::FUTEX_WAKE];
const POLL_REMOVE: &[Opcode] = &[Opcode::POLL_REMOVE];
const POLLS: &[Opcode] = &[Opcode::POLL_ADD, Opcode::POLL_REMOVE];
const MSG_RING: &[Opcode] = &[Opcode::MSG_RING];
const WAITID: &[Opcode] = &[Opcode::WAITID];
const OF_DESCRIPTORS: &[Opcode] = &[
    Opcode::READV,
    Opcode::WRITEV,
    Opcode::FSYNC,
    Opcode::READ_FIXED,
    Opcode::WRITE_FIXED,
    Opcode::POLL_ADD,
    Opcode::SYNC_FILE_RANGE,
    Opcode::SENDMSG,
    Opcode::RECVMSG,
    Opcode::ACCEPT,
    Opcode::ASYNC_CANCEL,
    Opcode::CONNECT,
    Opcode::FALLOCATE,
    Opcode::OPENAT,
    Opcode::CLOSE,
    Opcode::STATX,
    Opcode::READ,
    Opcode::WRITE,
    Opcode::FADVISE,
    Opcode::SEND,
    Opcode::RECV,
    Opcode::OPENAT2,
    Opcode::EPOLL_CTL,
    Opcode::SPLICE,
    Opcode::TEE,
    Opcode::SHUTDOWN,
    Opcode::RENAMEAT,
    Opcode::UNLINKAT,
    Opcode::MKDIRAT,
    Opcode::SYMLINKAT,
    Opcode::LINKAT,
    Opcode::MSG_RING,
    Opcode::FSETXATTR,
    Opcode::FGETXATTR,
    Opcode::URING_CMD,
    Opcode::SEND_ZC,
    Opcode::SENDMSG_ZC,
    Opcode::READ_MULTISHOT,
    Opcode::FIXED_FD_INSTALL,
    Opcode::FTRUNCATE,
    Opcode::BIND,
    Opcode::LISTEN,
    Opcode::RECV_ZC,
    Opcode::EPOLL_WAIT,
    Opcode::READV_FIXED,
    Opcode::WRITEV_FIXED,
    Opcode::URING_CMD128,
];

/// What a kernel makes 32 bits of (an `int`, a `u32`) is not shown in 64, nor bits that it does not look at: a rule that
/// refuses a value would let pass what differs from it in those alone.
pub(super) const SHOWN_BY_THE_GUARD: &[Field] = &[
    word("cmd_op", COMMANDS, Kind::Command, OFF, "the command; what it means is up to the driver of `fd`"),
    word("level", COMMANDS, Kind::SocketLevel, ADDR, "of a socket's command: the level of the option"),
    word("optname", COMMANDS, Kind::SocketOption, ADDR + 4, "of a socket's command: the option"),
    word(
        "optlen",
        COMMANDS,
        Kind::Number,
        FILE_INDEX,
        "of a socket's command: the size of the option's value",
    ),
    word("uring_cmd_flags", COMMANDS, Kind::CommandFlags, OP_FLAGS, "how io_uring is to treat the command"),
    word("msg_flags", TRANSFERS, Kind::MessageFlags, OP_FLAGS, "how to send or receive"),
    half("ioprio", TRANSFERS, Kind::TransferFlags, IOPRIO, "how io_uring is to send or receive"),
    word("len", OF_BYTES, Kind::Number, LEN, "how many bytes; 0 can mean all of a buffer"),
    half(
        "addr_len",
        &[Opcode::SEND, Opcode::SEND_ZC],
        Kind::Number,
        FILE_INDEX,
        "the size of the address to send to; 0 where there is none",
    ),
    word(
        "zcrx_ifq_idx",
        &[Opcode::RECV_ZC],
        Kind::Number,
        FILE_INDEX,
        "the registered queue of an interface",
    ),
    word("cmd", MSG_RING, Kind::RingMessage, ADDR, "what kind of message"),
    word("src_fd", MSG_RING, Kind::Number, ADDR3, "of IORING_MSG_SEND_FD: which registered file"),
    word("dst_fd", MSG_RING, Kind::Number, FILE_INDEX, "of IORING_MSG_SEND_FD: where it goes, from 1"),
    word("len", MSG_RING, Kind::Number, LEN, "the result that the other ring gets"),
    wide("off", MSG_RING, Kind::UserData, OFF, "the `user_data` that the other ring gets"),
    word("msg_ring_flags", MSG_RING, Kind::RingMessageFlags, OP_FLAGS, "how the message is sent"),
    // The others are not looked at (`demangle_poll`, `include/linux/poll.h`).
    masked(word("events", POLLS, Kind::PollEvents, OP_FLAGS, "what to wait for"), 32, 0xd000_ffff),
    word("len", POLLS, Kind::PollFlags, LEN, "how to wait, or what to change"),
    wide("addr", POLL_REMOVE, Kind::UserData, ADDR, "the `user_data` of the request that waits"),
    wide("off", POLL_REMOVE, Kind::UserData, OFF, "the `user_data` that it gets"),
    word("flags", &[Opcode::ACCEPT], Kind::SocketFlags, OP_FLAGS, "the flags of the new socket"),
    half("ioprio", &[Opcode::ACCEPT], Kind::AcceptFlags, IOPRIO, "how io_uring is to accept"),
    word("backlog", &[Opcode::LISTEN], Kind::Number, LEN, "how many connections may wait"),
    word("how", &[Opcode::SHUTDOWN], Kind::Shutdown, LEN, "which direction"),
    word("splice_flags", SPLICES, Kind::SpliceFlags, OP_FLAGS, "how to move data"),
    word(
        "splice_fd_in",
        SPLICES,
        Kind::Descriptor,
        FILE_INDEX,
        "where data comes from; `fd` is where it goes",
    ),
    word("len", SPLICES, Kind::Number, LEN, "how many bytes"),
    wide("off", &[Opcode::SPLICE], Kind::Number, OFF, "where it goes in `fd`; all ones for a pipe"),
    wide(
        "splice_off_in",
        &[Opcode::SPLICE],
        Kind::Number,
        ADDR,
        "where it is in `splice_fd_in`; all ones for a pipe",
    ),
    word("pipe_flags", &[Opcode::PIPE], Kind::OpenFlags, OP_FLAGS, "the flags of the pipe"),
    word("rw_flags", POSITIONED, Kind::ReadWriteFlags, OP_FLAGS, "how to read or write"),
    wide("off", POSITIONED, Kind::Number, OFF, "where in the file; all ones for the file's own position"),
    word("len", POSITIONED, Kind::Number, LEN, "how many bytes, or vectors of readv and its like"),
    half("ioprio", POSITIONED, Kind::Number, IOPRIO, "the priority: class and level, as of ioprio_set"),
    word("fsync_flags", &[Opcode::FSYNC], Kind::SyncFlags, OP_FLAGS, "what is written back"),
    word("sync_range_flags", &[Opcode::SYNC_FILE_RANGE], Kind::RangeFlags, OP_FLAGS, "what is written back"),
    wide("off", RANGES, Kind::Number, OFF, "where in the file"),
    word("len", RANGES, Kind::Number, LEN, "how many bytes; 0 for all that follows"),
    wide("off", &[Opcode::FALLOCATE], Kind::Number, OFF, "where in the file"),
    wide("len", &[Opcode::FALLOCATE], Kind::Number, ADDR, "how many bytes"),
    word("mode", &[Opcode::FALLOCATE], Kind::AllocationFlags, LEN, "what becomes of the range"),
    wide("len", &[Opcode::FTRUNCATE], Kind::Number, OFF, "the file's new length"),
    wide("off", &[Opcode::FADVISE], Kind::Number, OFF, "where in the file"),
    word("fadvise_advice", &[Opcode::FADVISE], Kind::FileAdvice, OP_FLAGS, "how the file will be used"),
    word("fadvise_advice", &[Opcode::MADVISE], Kind::MemoryAdvice, OP_FLAGS, "what becomes of the memory"),
    word(
        "file_index",
        NEW_FILES,
        Kind::Number,
        FILE_INDEX,
        "the registered file that it becomes, from 1; 0 for a descriptor",
    ),
    word(
        "file_index",
        &[Opcode::CLOSE],
        Kind::Number,
        FILE_INDEX,
        "the registered file to close, from 1; 0 for a descriptor",
    ),
    word(
        "install_fd_flags",
        &[Opcode::FIXED_FD_INSTALL],
        Kind::InstallFlags,
        OP_FLAGS,
        "the flags of the new descriptor",
    ),
    word("off", &[Opcode::FILES_UPDATE], Kind::Number, OFF, "the first registered file"),
    word("len", &[Opcode::FILES_UPDATE], Kind::Number, LEN, "how many registered files"),
    word("statx_flags", &[Opcode::STATX], Kind::PathFlags, OP_FLAGS, "how to look"),
    word("mask", &[Opcode::STATX], Kind::Number, LEN, "what is asked for, STATX_* as numbers"),
    word("unlink_flags", &[Opcode::UNLINKAT], Kind::PathFlags, OP_FLAGS, "what to remove"),
    word("hardlink_flags", &[Opcode::LINKAT], Kind::PathFlags, OP_FLAGS, "how to link"),
    word("rename_flags", &[Opcode::RENAMEAT], Kind::RenameFlags, OP_FLAGS, "how to rename"),
    word("newdirfd", TWO_PATHS, Kind::Descriptor, LEN, "the directory in which the new path begins"),
    masked(
        word("mode", &[Opcode::MKDIRAT], Kind::Mode, LEN, "the permissions of the new directory"),
        16,
        0xffff,
    ),
    word("xattr_flags", SET_XATTRS, Kind::Number, OP_FLAGS, "1 only to create, 2 only to replace"),
    word("len", XATTRS, Kind::Number, LEN, "the size of the value"),
    word("op", &[Opcode::EPOLL_CTL], Kind::EpollChange, LEN, "what to change; `fd` is the epoll instance"),
    word("target", &[Opcode::EPOLL_CTL], Kind::Descriptor, OFF, "the descriptor that it watches"),
    word("maxevents", &[Opcode::EPOLL_WAIT], Kind::Number, LEN, "how many events"),
    word(
        "timeout_flags",
        &[Opcode::TIMEOUT, Opcode::TIMEOUT_REMOVE, Opcode::LINK_TIMEOUT],
        Kind::TimeoutFlags,
        OP_FLAGS,
        "how time is counted, and what to do",
    ),
    word("off", &[Opcode::TIMEOUT], Kind::Number, OFF, "how many completions end it, too"),
    wide(
        "addr",
        &[Opcode::TIMEOUT_REMOVE, Opcode::ASYNC_CANCEL],
        Kind::UserData,
        ADDR,
        "the `user_data` of the request",
    ),
    word("cancel_flags", &[Opcode::ASYNC_CANCEL], Kind::CancelFlags, OP_FLAGS, "which requests"),
    half("buf_index", FIXED, Kind::Number, BUF_INDEX, "the registered buffer, where one is used"),
    half("buf_group", SELECTING, Kind::Number, BUF_INDEX, "the group of buffers, with IOSQE_BUFFER_SELECT"),
    word("fd", &[Opcode::PROVIDE_BUFFERS, Opcode::REMOVE_BUFFERS], Kind::Number, FD, "how many buffers"),
    word("len", &[Opcode::PROVIDE_BUFFERS], Kind::Number, LEN, "the size of each"),
    wide("off", &[Opcode::PROVIDE_BUFFERS], Kind::Number, OFF, "the number of the first"),
    word("which", WAITID, Kind::Number, LEN, "what `id` is, P_* as numbers"),
    word("id", WAITID, Kind::Number, FD, "whom to wait for"),
    word("options", WAITID, Kind::Number, FILE_INDEX, "what to wait for, W* as numbers"),
    wide("val", FUTEXES, Kind::Number, OFF, "the value to wait for, or how many to wake"),
    wide("mask", FUTEXES, Kind::Number, ADDR3, "which waiters"),
    word("flags", FUTEXES, Kind::Number, FD, "the futex's size and reach, FUTEX2_* as numbers"),
    word("len", &[Opcode::FUTEX_WAITV], Kind::Number, LEN, "how many futexes"),
    word(
        "fd",
        OF_DESCRIPTORS,
        Kind::Descriptor,
        FD,
        "the descriptor, where a path begins, or with IOSQE_FIXED_FILE a registered file",
    ),
    half(
        "personality",
        EVERY,
        Kind::Number,
        PERSONALITY,
        "the registered credentials that it is made with; 0 for the program's own",
    ),
];
