//! What numbers mean: an address family and a file mode are both numbers, and do not mix.

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $one:literal, $noun:literal, $constants:expr, $numbers:literal;)*) => {
        /// The meaning of a field's or constant's value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// One constant of the kind, with its article, for sentences.
            pub fn one(self) -> &'static str {
                match self {
                    $(Self::$kind => $one,)*
                }
            }

            /// What a field of the kind holds, for sentences.
            pub fn noun(self) -> &'static str {
                match self {
                    $(Self::$kind => $noun,)*
                }
            }

            /// What its constants look like, for people; `None` where there are only numbers.
            pub fn constants(self) -> Option<&'static str> {
                match self {
                    $(Self::$kind => $constants,)*
                }
            }

            /// Whether the named constants are plain numbers, whose single bits mean nothing:
            /// `AF_INET & AF_INET6` is not zero.
            pub fn is_enumeration(self) -> bool {
                match self {
                    $(Self::$kind => $numbers,)*
                }
            }
        }
    };
}

// One of it, what a field holds, its constants, and whether those are numbers rather than bits.
kinds! {
    /// An address family, `AF_*`.
    Family: "an address family", "an address family", Some("AF_*"), true;
    /// A socket type without flags, `SOCK_STREAM` and its like.
    SocketType: "a socket type", "a socket type", Some("SOCK_STREAM, SOCK_DGRAM, ..."), true;
    /// The flags given with a socket type, `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
    SocketFlags: "a flag of socket types", "flags of socket types", Some("SOCK_NONBLOCK, SOCK_CLOEXEC"), false;
    /// A protocol of IP sockets, `IPPROTO_*`.
    Protocol: "a protocol", "a protocol", Some("IPPROTO_*"), true;
    /// How to open a file, `O_*`.
    OpenFlags: "an open flag", "open flags", Some("O_*"), false;
    /// The permissions of a new file, `S_I*`.
    Mode: "a file mode", "a file mode", Some("S_I*"), false;
    /// How OPENAT2 walks the path, `RESOLVE_*`.
    Resolve: "a resolve flag", "resolve flags", Some("RESOLVE_*"), false;
    /// The flags of a request, `IOSQE_*`.
    SqeFlags: "a request flag", "request flags", Some("IOSQE_*"), false;
    /// A port; it has no named constants.
    Port: "a port", "a port", None, false;
    /// The number that comes back with the completion; it has no named constants.
    UserData: "user data", "user data", None, false;
    /// An IPv4 or IPv6 address; its constants are addresses and networks.
    Address: "an address", "an address", None, false;
    /// A number that means nothing but itself: a length, an offset, an index. It has no named constants.
    Number: "a number", "a number", None, false;
    /// A descriptor, or `AT_FDCWD`.
    Descriptor: "a descriptor", "a descriptor", Some("AT_FDCWD"), true;
    /// The command of a driver or a socket.
    Command: "a command", "a command", Some("SOCKET_URING_OP_*, NVME_URING_CMD_*, UBLK_U_*"), true;
    /// How io_uring treats a command, `IORING_URING_CMD_*`.
    CommandFlags: "a flag of commands", "flags of commands", Some("IORING_URING_CMD_*"), false;
    /// The level of a socket's option, `SOL_*`.
    SocketLevel: "a level of socket options", "a level of socket options", Some("SOL_*"), true;
    /// A socket's option, whose number says what it is together with the level: `SO_*`, `TCP_*` and their like.
    SocketOption: "a socket option", "a socket option", Some("SO_*, TCP_*, IP_*, IPV6_*"), true;
    /// How to send or receive, `MSG_*`.
    MessageFlags: "a message flag", "message flags", Some("MSG_*"), false;
    /// How io_uring sends or receives, `IORING_RECVSEND_*` and its like.
    TransferFlags: "a transfer flag", "transfer flags", Some("IORING_RECVSEND_*, IORING_RECV_*, IORING_SEND_*"), false;
    /// How io_uring accepts, `IORING_ACCEPT_*`.
    AcceptFlags: "a flag of accept", "flags of accept", Some("IORING_ACCEPT_*"), false;
    /// What shutdown ends, `SHUT_*`.
    Shutdown: "a direction", "a direction", Some("SHUT_*"), true;
    /// What MSG_RING sends, `IORING_MSG_DATA` or `IORING_MSG_SEND_FD`.
    RingMessage: "a message to a ring", "a message to a ring", Some("IORING_MSG_DATA, IORING_MSG_SEND_FD"), true;
    /// How MSG_RING sends, `IORING_MSG_RING_*`.
    RingMessageFlags: "a flag of ring messages", "flags of ring messages", Some("IORING_MSG_RING_*"), false;
    /// What to poll for, `POLL*` and `EPOLL*`.
    PollEvents: "a poll event", "poll events", Some("POLL*, EPOLL*"), false;
    /// How to poll, `IORING_POLL_*`.
    PollFlags: "a poll flag", "poll flags", Some("IORING_POLL_*"), false;
    /// What EPOLL_CTL does, `EPOLL_CTL_*`.
    EpollChange: "a change of an epoll instance", "a change of an epoll instance", Some("EPOLL_CTL_*"), true;
    /// How to splice, `SPLICE_F_*`.
    SpliceFlags: "a splice flag", "splice flags", Some("SPLICE_F_*"), false;
    /// How to read or write, `RWF_*`.
    ReadWriteFlags: "a read-write flag", "read-write flags", Some("RWF_*"), false;
    /// What FSYNC writes back, `IORING_FSYNC_DATASYNC`.
    SyncFlags: "a flag of fsync", "flags of fsync", Some("IORING_FSYNC_DATASYNC"), false;
    /// What SYNC_FILE_RANGE writes back, `SYNC_FILE_RANGE_*`.
    RangeFlags: "a flag of sync_file_range", "flags of sync_file_range", Some("SYNC_FILE_RANGE_*"), false;
    /// What FALLOCATE does with a range, `FALLOC_FL_*`.
    AllocationFlags: "a flag of fallocate", "flags of fallocate", Some("FALLOC_FL_*"), false;
    /// What FADVISE advises, `POSIX_FADV_*`.
    FileAdvice: "advice on a file", "advice on a file", Some("POSIX_FADV_*"), true;
    /// What MADVISE advises, `MADV_*`.
    MemoryAdvice: "advice on memory", "advice on memory", Some("MADV_*"), true;
    /// The flags of a descriptor that FIXED_FD_INSTALL makes, `IORING_FIXED_FD_NO_CLOEXEC`.
    InstallFlags: "a flag of new descriptors", "flags of new descriptors", Some("IORING_FIXED_FD_NO_CLOEXEC"), false;
    /// How to treat a path, `AT_*`.
    PathFlags: "a path flag", "path flags", Some("AT_*"), false;
    /// How to rename, `RENAME_*`.
    RenameFlags: "a rename flag", "rename flags", Some("RENAME_*"), false;
    /// How time is counted, `IORING_TIMEOUT_*`.
    TimeoutFlags: "a timeout flag", "timeout flags", Some("IORING_TIMEOUT_*, IORING_LINK_TIMEOUT_UPDATE"), false;
    /// What to cancel, `IORING_ASYNC_CANCEL_*`.
    CancelFlags: "a flag of cancelling", "flags of cancelling", Some("IORING_ASYNC_CANCEL_*"), false;
}
