//! The system calls that operations stand for, as data.
//!
//! A request does the work of a system call that seccomp could have stopped, had the program made
//! it. A row names every call whose work its operation can do; a program that may not make one of
//! them should not have the operation either. Left out are older calls under other names of which a
//! named one does all (`open` beside `openat`): current C libraries never make them, and profiles
//! that are written from what programs do leave them out.
//!
//! From the handlers of `io_uring/*.c`, Linux 7.2.

use ringwarden_uapi::Opcode;

/// What an operation is without io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyscallEquivalent {
    /// The operation.
    pub operation: Opcode,
    /// What it stands for.
    pub stands_for: StandsFor,
    /// Why, in one line.
    pub reason: &'static str,
}

/// What an operation stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StandsFor {
    /// Each of these system calls, by the name that it has in seccomp profiles; not empty.
    Calls(&'static [&'static str]),
    /// No call, and nothing that a profile would want to stop: it touches the program's own requests
    /// and no more.
    Harmless,
    /// No call does the same, so that no profile speaks of it.
    Unlike,
}

/// A parameter of a system call that conditions can speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Argument {
    /// Its place among the call's parameters, from 0.
    pub index: u8,
    /// The fields that hold it: one, or several that share its bits.
    pub fields: &'static [&'static str],
}

const fn argument(index: u8, fields: &'static [&'static str]) -> Argument {
    Argument { index, fields }
}

/// The calls of which filters see parameters, with those parameters. Pointers are never among them,
/// nor what they point to: seccomp does not follow them.
const ARGUMENTS: &[(&str, &[Argument])] = &[
    ("socket", &[argument(0, &["family"]), argument(1, &["type", "type_flags"]), argument(2, &["protocol"])]),
    ("openat", &[argument(2, &["flags"]), argument(3, &["mode"])]),
];

impl Argument {
    /// The parameters of a call that filters see; empty for most calls.
    pub fn of(call: &str) -> &'static [Self] {
        ARGUMENTS.iter().find(|(name, _)| *name == call).map_or(&[], |(_, arguments)| arguments)
    }
}

impl SyscallEquivalent {
    /// The row of an operation; `None` for a number that no known kernel has.
    pub fn of(operation: Opcode) -> Option<&'static Self> {
        SYSCALL_EQUIVALENTS.get(usize::from(operation.0))
    }

    /// The system calls; empty where there are none.
    pub fn calls(&self) -> &'static [&'static str] {
        match self.stands_for {
            StandsFor::Calls(calls) => calls,
            StandsFor::Harmless | StandsFor::Unlike => &[],
        }
    }
}

/// Architectures younger than x86-64 have the later of two calls only
/// (`include/uapi/asm-generic/unistd.h`).
const fn of_this_architecture(
    x86_64: &'static [&'static str],
    generic: &'static [&'static str],
) -> &'static [&'static str] {
    if cfg!(target_arch = "x86_64") { x86_64 } else { generic }
}

const POLL: StandsFor = StandsFor::Calls(of_this_architecture(&["poll"], &["ppoll"]));
const EPOLL_WAIT: StandsFor = StandsFor::Calls(of_this_architecture(&["epoll_wait"], &["epoll_pwait"]));
const PIPE: StandsFor = StandsFor::Calls(of_this_architecture(&["pipe", "pipe2"], &["pipe2"]));

const READS: StandsFor = StandsFor::Calls(&["read", "pread64", "preadv2"]);
const WRITES: StandsFor = StandsFor::Calls(&["write", "pwrite64", "pwritev2"]);
const READS_VECTORS: StandsFor = StandsFor::Calls(&["readv", "preadv", "preadv2"]);
const WRITES_VECTORS: StandsFor = StandsFor::Calls(&["writev", "pwritev", "pwritev2"]);

macro_rules! equivalents {
    ($($operation:ident $(= $constant:ident)? $([$($call:literal)+])? $(is $kind:ident)? : $reason:literal;)*) => {
        /// Every operation, in numeric order without gaps.
        pub const SYSCALL_EQUIVALENTS: &[SyscallEquivalent] = &[$(SyscallEquivalent {
            operation: Opcode::$operation,
            stands_for: $($constant)? $(StandsFor::Calls(&[$($call),+]))? $(StandsFor::$kind)?,
            reason: $reason,
        },)*];
    };
}

equivalents! {
    NOP is Harmless: "does nothing";
    READV = READS_VECTORS: "at the file's position, at an offset, and with the flags of one read";
    WRITEV = WRITES_VECTORS: "at the file's position, at an offset, and with the flags of one write";
    FSYNC ["fsync" "fdatasync"]: "fdatasync with IORING_FSYNC_DATASYNC";
    READ_FIXED = READS: "a read into memory that the ring knows already";
    WRITE_FIXED = WRITES: "a write from memory that the ring knows already";
    POLL_ADD = POLL: "waits until a descriptor is ready";
    POLL_REMOVE = POLL: "ends or changes what poll_add began";
    SYNC_FILE_RANGE ["sync_file_range"]: "the same parameters";
    SENDMSG ["sendmsg"]: "the same parameters";
    RECVMSG ["recvmsg"]: "the same parameters, once or again and again";
    TIMEOUT is Harmless: "completes after a while; io_uring_enter can wait as long";
    TIMEOUT_REMOVE is Harmless: "ends or changes a timeout of the same ring";
    ACCEPT ["accept" "accept4"]: "accept4 with flags for the new descriptor";
    ASYNC_CANCEL is Harmless: "ends requests of the same ring";
    LINK_TIMEOUT is Harmless: "ends the request before it after a while";
    CONNECT ["connect"]: "the same parameters; the address is behind a pointer, where seccomp does not look";
    FALLOCATE ["fallocate"]: "the same parameters";
    OPENAT ["openat"]: "the same parameters; flags and mode count as the kernel takes them";
    CLOSE ["close"]: "the same parameter";
    FILES_UPDATE is Unlike: "puts descriptors into the ring's own table";
    STATX ["statx"]: "the same parameters";
    READ = READS: "at the file's position, at an offset, and with the flags of one read";
    WRITE = WRITES: "at the file's position, at an offset, and with the flags of one write";
    FADVISE ["fadvise64"]: "the same parameters";
    MADVISE ["madvise"]: "the same parameters";
    SEND ["sendto"]: "with an address if it is given one";
    RECV ["recvfrom"]: "without the sender's address";
    OPENAT2 ["openat2"]: "the same parameters; how to open is behind a pointer, where seccomp does not look";
    EPOLL_CTL ["epoll_ctl"]: "the same parameters";
    SPLICE ["splice"]: "the same parameters";
    PROVIDE_BUFFERS is Unlike: "gives memory to the ring, for requests to come";
    REMOVE_BUFFERS is Unlike: "takes memory back that the ring was given";
    TEE ["tee"]: "the same parameters";
    SHUTDOWN ["shutdown"]: "the same parameters";
    RENAMEAT ["renameat" "renameat2"]: "renameat2 with flags";
    UNLINKAT ["unlinkat"]: "the same parameters";
    MKDIRAT ["mkdirat"]: "the same parameters";
    SYMLINKAT ["symlinkat"]: "the same parameters";
    LINKAT ["linkat"]: "the same parameters";
    MSG_RING is Unlike: "puts completions and descriptors into another ring";
    FSETXATTR ["fsetxattr"]: "the same parameters";
    SETXATTR ["setxattr"]: "the same parameters";
    FGETXATTR ["fgetxattr"]: "the same parameters";
    GETXATTR ["getxattr"]: "the same parameters";
    SOCKET ["socket"]: "the same parameters";
    URING_CMD is Unlike: "whatever a driver does with a command: NVMe commands, socket options, new devices";
    SEND_ZC ["sendto" "setsockopt"]: "sendto with MSG_ZEROCOPY, which setsockopt turns on";
    SENDMSG_ZC ["sendmsg" "setsockopt"]: "sendmsg with MSG_ZEROCOPY, which setsockopt turns on";
    READ_MULTISHOT = READS: "reads again and again, into provided buffers";
    WAITID ["waitid"]: "the same parameters";
    FUTEX_WAIT ["futex_wait"]: "the same parameters";
    FUTEX_WAKE ["futex_wake"]: "the same parameters";
    FUTEX_WAITV ["futex_waitv"]: "the same parameters";
    FIXED_FD_INSTALL is Unlike: "makes a descriptor of an entry in the ring's own table";
    FTRUNCATE ["ftruncate"]: "the same parameters";
    BIND ["bind"]: "the same parameters; the address is behind a pointer, where seccomp does not look";
    LISTEN ["listen"]: "the same parameters";
    RECV_ZC is Unlike: "receives into memory that a network device's queue writes to";
    EPOLL_WAIT = EPOLL_WAIT: "the same parameters, without a time limit";
    READV_FIXED = READS_VECTORS: "a read into memory that the ring knows already";
    WRITEV_FIXED = WRITES_VECTORS: "a write from memory that the ring knows already";
    PIPE = PIPE: "pipe2 with flags";
    NOP128 is Harmless: "does nothing";
    URING_CMD128 is Unlike: "as uring_cmd";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::field::Field;
    use ringwarden_uapi::OPCODES;

    #[test]
    fn every_operation_has_its_row() {
        let operations: Vec<_> = SYSCALL_EQUIVALENTS.iter().map(|row| row.operation).collect();
        assert_eq!(operations, OPCODES.iter().map(|info| info.opcode).collect::<Vec<_>>());
        for row in SYSCALL_EQUIVALENTS {
            assert_eq!(SyscallEquivalent::of(row.operation), Some(row));
            assert_eq!(row.calls().is_empty(), !matches!(row.stands_for, StandsFor::Calls(_)));
        }
        assert_eq!(SyscallEquivalent::of(Opcode(Opcode::LAST)), None);
    }

    /// What makes a policy of a seccomp profile joins what it learns of several calls, but conditions of one only.
    #[test]
    fn calls_with_arguments_stand_alone_and_their_fields_exist() {
        for (call, arguments) in ARGUMENTS {
            let mut rows = SYSCALL_EQUIVALENTS.iter().filter(|row| row.calls().contains(call));
            let row = rows.next().expect("some operation stands for it");
            assert_eq!((row.calls(), rows.next()), (&[*call][..], None));
            for field in arguments.iter().flat_map(|argument| argument.fields) {
                assert!(Field::of(row.operation, field).is_some(), "{field} of {call}");
            }
        }
    }
}
