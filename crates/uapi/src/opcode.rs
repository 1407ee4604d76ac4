//! Request opcodes (`IORING_OP_*`) and their names.
//!
//! Numbers and names are those of `include/uapi/linux/io_uring.h` in Linux 7.2 and 7.3, whose
//! headers agree byte for byte; `since` is the first release whose header has the opcode.

use core::fmt;

/// One request opcode, `sqe.opcode`: any byte, known to the kernel or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Opcode(pub u8);

macro_rules! opcodes {
    ($($const:ident = $number:literal, $name:literal, $since:literal;)*) => {
        impl Opcode {
            $(#[doc = concat!("`IORING_OP_", stringify!($const), "`, Linux ", $since, ".")]
            pub const $const: Self = Self($number);)*
        }
        /// Every opcode with its lower-case name and first release, in numeric order without gaps.
        pub const OPCODES: &[OpcodeInfo] = &[
            $(OpcodeInfo { opcode: Opcode::$const, name: $name, since: $since },)*
        ];
    };
}

/// What is known of one opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpcodeInfo {
    /// The opcode.
    pub opcode: Opcode,
    /// Its name: `IORING_OP_X` without the prefix, in lower case.
    pub name: &'static str,
    /// The first Linux release whose header has it.
    pub since: &'static str,
}

opcodes! {
    NOP = 0, "nop", "5.1";
    READV = 1, "readv", "5.1";
    WRITEV = 2, "writev", "5.1";
    FSYNC = 3, "fsync", "5.1";
    READ_FIXED = 4, "read_fixed", "5.1";
    WRITE_FIXED = 5, "write_fixed", "5.1";
    POLL_ADD = 6, "poll_add", "5.1";
    POLL_REMOVE = 7, "poll_remove", "5.1";
    SYNC_FILE_RANGE = 8, "sync_file_range", "5.2";
    SENDMSG = 9, "sendmsg", "5.3";
    RECVMSG = 10, "recvmsg", "5.3";
    TIMEOUT = 11, "timeout", "5.4";
    TIMEOUT_REMOVE = 12, "timeout_remove", "5.5";
    ACCEPT = 13, "accept", "5.5";
    ASYNC_CANCEL = 14, "async_cancel", "5.5";
    LINK_TIMEOUT = 15, "link_timeout", "5.5";
    CONNECT = 16, "connect", "5.5";
    FALLOCATE = 17, "fallocate", "5.6";
    OPENAT = 18, "openat", "5.6";
    CLOSE = 19, "close", "5.6";
    FILES_UPDATE = 20, "files_update", "5.6";
    STATX = 21, "statx", "5.6";
    READ = 22, "read", "5.6";
    WRITE = 23, "write", "5.6";
    FADVISE = 24, "fadvise", "5.6";
    MADVISE = 25, "madvise", "5.6";
    SEND = 26, "send", "5.6";
    RECV = 27, "recv", "5.6";
    OPENAT2 = 28, "openat2", "5.6";
    EPOLL_CTL = 29, "epoll_ctl", "5.6";
    SPLICE = 30, "splice", "5.7";
    PROVIDE_BUFFERS = 31, "provide_buffers", "5.7";
    REMOVE_BUFFERS = 32, "remove_buffers", "5.7";
    TEE = 33, "tee", "5.8";
    SHUTDOWN = 34, "shutdown", "5.11";
    RENAMEAT = 35, "renameat", "5.11";
    UNLINKAT = 36, "unlinkat", "5.11";
    MKDIRAT = 37, "mkdirat", "5.15";
    SYMLINKAT = 38, "symlinkat", "5.15";
    LINKAT = 39, "linkat", "5.15";
    MSG_RING = 40, "msg_ring", "5.18";
    FSETXATTR = 41, "fsetxattr", "5.19";
    SETXATTR = 42, "setxattr", "5.19";
    FGETXATTR = 43, "fgetxattr", "5.19";
    GETXATTR = 44, "getxattr", "5.19";
    SOCKET = 45, "socket", "5.19";
    URING_CMD = 46, "uring_cmd", "5.19";
    SEND_ZC = 47, "send_zc", "6.0";
    SENDMSG_ZC = 48, "sendmsg_zc", "6.1";
    READ_MULTISHOT = 49, "read_multishot", "6.7";
    WAITID = 50, "waitid", "6.7";
    FUTEX_WAIT = 51, "futex_wait", "6.7";
    FUTEX_WAKE = 52, "futex_wake", "6.7";
    FUTEX_WAITV = 53, "futex_waitv", "6.7";
    FIXED_FD_INSTALL = 54, "fixed_fd_install", "6.8";
    FTRUNCATE = 55, "ftruncate", "6.9";
    BIND = 56, "bind", "6.11";
    LISTEN = 57, "listen", "6.11";
    RECV_ZC = 58, "recv_zc", "6.15";
    EPOLL_WAIT = 59, "epoll_wait", "6.15";
    READV_FIXED = 60, "readv_fixed", "6.15";
    WRITEV_FIXED = 61, "writev_fixed", "6.15";
    PIPE = 62, "pipe", "6.16";
    NOP128 = 63, "nop128", "6.19";
    URING_CMD128 = 64, "uring_cmd128", "6.19";
}

impl Opcode {
    /// The first number that no known kernel implements (`IORING_OP_LAST` of Linux 7.2 and 7.3).
    pub const LAST: u8 = OPCODES.len() as u8;

    /// The opcode of that lower-case name, without the `IORING_OP_` prefix.
    pub fn from_name(name: &str) -> Option<Self> {
        OPCODES.iter().find(|info| info.name == name).map(|info| info.opcode)
    }

    /// Its lower-case name, or `None` for a number that no known kernel has.
    pub fn name(self) -> Option<&'static str> {
        OPCODES.get(usize::from(self.0)).map(|info| info.name)
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "op{}", self.0),
        }
    }
}

impl fmt::Debug for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_without_gaps_and_names_lead_back() {
        for (number, info) in OPCODES.iter().enumerate() {
            assert_eq!(usize::from(info.opcode.0), number, "{}", info.name);
            assert_eq!(Opcode::from_name(info.name), Some(info.opcode));
        }
        assert_eq!(Opcode::LAST, 65);
    }

    #[test]
    fn unknown_opcodes_print_their_number() {
        assert_eq!(Opcode(200).to_string(), "op200");
        assert_eq!(Opcode::from_name("nonsense"), None);
    }
}
