//! Constants of the fields that only the guard sees.
//!
//! From `include/uapi/linux`: `io_uring.h` (IORING_*, SOCKET_URING_OP_*), `nvme_ioctl.h`, `ublk_cmd.h`, `fuse.h`,
//! `blkdev.h`, `tcp.h`, `in.h`, `in6.h`, `fs.h`, `falloc.h`, `fadvise.h`, `fcntl.h`; from `include/uapi/asm-generic`:
//! `socket.h`, `poll.h`, `mman-common.h`; and from `include/linux`: `socket.h` and `splice.h`.

use super::Constant;
use crate::data::kind::Kind;

/// `_IOC` of `include/uapi/asm-generic/ioctl.h`: direction (1 writes, 2 reads), type, number and size of the argument.
const fn ioc(direction: u64, kind: u8, number: u64, size: u64) -> u64 {
    direction << 30 | size << 16 | (kind as u64) << 8 | number
}

/// A command of NVMe's, with a `struct nvme_uring_cmd`.
const fn nvme(number: u64) -> u64 {
    ioc(3, b'N', number, 72)
}

/// A command of ublk's control device, with a `struct ublksrv_ctrl_cmd`.
const fn ublk(direction: u64, number: u64) -> u64 {
    ioc(direction, b'u', number, 32)
}

/// A command of a ublk device, with a `struct ublksrv_io_cmd`.
const fn ublk_io(number: u64) -> u64 {
    ioc(3, b'u', number, 16)
}

constants! { SHOWN_BY_THE_GUARD:
    Descriptor {
        AT_FDCWD = 0xffff_ff9cu32, "in the place of a directory: the current one";
    }
    Command {
        SOCKET_URING_OP_SIOCINQ = 0, "of a socket: bytes that can be received";
        SOCKET_URING_OP_SIOCOUTQ = 1, "of a socket: bytes that are not sent yet";
        SOCKET_URING_OP_GETSOCKOPT = 2, "of a socket: read an option, of level SOL_SOCKET alone";
        SOCKET_URING_OP_SETSOCKOPT = 3, "of a socket: set an option, of any level";
        SOCKET_URING_OP_TX_TIMESTAMP = 4, "of a socket: when packets were sent";
        SOCKET_URING_OP_GETSOCKNAME = 5, "of a socket: its address, or its peer's";
        NVME_URING_CMD_IO = nvme(0x80), "of an NVMe device: a command to a namespace";
        NVME_URING_CMD_IO_VEC = nvme(0x81), "the same with several buffers";
        NVME_URING_CMD_ADMIN = nvme(0x82), "of an NVMe device: a command to the controller";
        NVME_URING_CMD_ADMIN_VEC = nvme(0x83), "the same with several buffers";
        UBLK_U_CMD_GET_QUEUE_AFFINITY = ublk(2, 0x01), "of ublk's control device: which processors serve a queue";
        UBLK_U_CMD_GET_DEV_INFO = ublk(2, 0x02), "of ublk's control device: look at a device";
        UBLK_U_CMD_ADD_DEV = ublk(3, 0x04), "of ublk's control device: add a device";
        UBLK_U_CMD_DEL_DEV = ublk(3, 0x05), "of ublk's control device: delete one";
        UBLK_U_CMD_START_DEV = ublk(3, 0x06), "of ublk's control device: start one";
        UBLK_U_CMD_STOP_DEV = ublk(3, 0x07), "of ublk's control device: stop one";
        UBLK_U_CMD_SET_PARAMS = ublk(3, 0x08), "of ublk's control device: set a device's parameters";
        UBLK_U_CMD_GET_PARAMS = ublk(2, 0x09), "of ublk's control device: read them";
        UBLK_U_CMD_START_USER_RECOVERY = ublk(3, 0x10), "of ublk's control device: begin to take a device over";
        UBLK_U_CMD_END_USER_RECOVERY = ublk(3, 0x11), "of ublk's control device: end that";
        UBLK_U_CMD_GET_DEV_INFO2 = ublk(2, 0x12), "of ublk's control device: look at a device, by its path";
        UBLK_U_CMD_GET_FEATURES = ublk(2, 0x13), "of ublk's control device: what the driver can do";
        UBLK_U_CMD_DEL_DEV_ASYNC = ublk(2, 0x14), "of ublk's control device: delete a device without waiting";
        UBLK_U_CMD_UPDATE_SIZE = ublk(3, 0x15), "of ublk's control device: change a device's size";
        UBLK_U_CMD_QUIESCE_DEV = ublk(3, 0x16), "of ublk's control device: have a device rest";
        UBLK_U_IO_FETCH_REQ = ublk_io(0x20), "of a ublk device: take a request";
        UBLK_U_IO_COMMIT_AND_FETCH_REQ = ublk_io(0x21), "of a ublk device: complete one, and take the next";
        UBLK_U_IO_NEED_GET_DATA = ublk_io(0x22), "of a ublk device: have data copied";
        UBLK_U_IO_REGISTER_IO_BUF = ublk_io(0x23), "of a ublk device: register a request's buffer";
        UBLK_U_IO_UNREGISTER_IO_BUF = ublk_io(0x24), "of a ublk device: undo that";
        FUSE_IO_URING_CMD_REGISTER = 1, "of /dev/fuse: register a queue's entry";
        FUSE_IO_URING_CMD_COMMIT_AND_FETCH = 2, "of /dev/fuse: answer a request, and take the next";
        BLOCK_URING_CMD_DISCARD = ioc(0, 0x12, 0, 0), "of a block device: discard a range";
    }
    CommandFlags {
        IORING_URING_CMD_FIXED = 1, "with a registered buffer";
        IORING_URING_CMD_MULTISHOT = 2, "again and again, with provided buffers";
    }
    SocketLevel {
        SOL_IP = 0, "options of IPv4";
        SOL_SOCKET = 1, "options of all sockets";
        SOL_TCP = 6, "options of TCP";
        SOL_UDP = 17, "options of UDP";
        SOL_IPV6 = 41, "options of IPv6";
        SOL_RAW = 255, "options of raw sockets";
        SOL_PACKET = 263, "options of packet sockets";
        SOL_NETLINK = 270, "options of netlink sockets";
        SOL_ALG = 279, "options of the kernel's cryptography";
        SOL_TLS = 282, "options of the kernel's TLS";
        SOL_XDP = 283, "options of XDP sockets";
    }
    SocketOption {
        SO_DEBUG = 1, "of SOL_SOCKET: record what protocols do";
        SO_REUSEADDR = 2, "of SOL_SOCKET: bind to an address that was in use a moment ago";
        SO_TYPE = 3, "of SOL_SOCKET: the type";
        SO_ERROR = 4, "of SOL_SOCKET: the pending error, which is then over";
        SO_DONTROUTE = 5, "of SOL_SOCKET: to neighbours only";
        SO_BROADCAST = 6, "of SOL_SOCKET: allow broadcasts";
        SO_SNDBUF = 7, "of SOL_SOCKET: room for what is sent";
        SO_RCVBUF = 8, "of SOL_SOCKET: room for what is received";
        SO_KEEPALIVE = 9, "of SOL_SOCKET: ask idle peers whether they live";
        SO_OOBINLINE = 10, "of SOL_SOCKET: urgent data among the others";
        SO_PRIORITY = 12, "of SOL_SOCKET: the priority of packets";
        SO_LINGER = 13, "of SOL_SOCKET: wait at the end until all is sent";
        SO_REUSEPORT = 15, "of SOL_SOCKET: several sockets at one port";
        SO_PASSCRED = 16, "of SOL_SOCKET: receive credentials";
        SO_PEERCRED = 17, "of SOL_SOCKET: the peer's credentials";
        SO_RCVLOWAT = 18, "of SOL_SOCKET: how much is worth waking up for";
        SO_BINDTODEVICE = 25, "of SOL_SOCKET: one interface alone, by name";
        SO_ATTACH_FILTER = 26, "of SOL_SOCKET: attach a classic BPF program";
        SO_DETACH_FILTER = 27, "of SOL_SOCKET: detach it";
        SO_ACCEPTCONN = 30, "of SOL_SOCKET: whether it listens";
        SO_SNDBUFFORCE = 32, "of SOL_SOCKET: room for what is sent, beyond limits";
        SO_RCVBUFFORCE = 33, "of SOL_SOCKET: room for what is received, beyond limits";
        SO_MARK = 36, "of SOL_SOCKET: the mark of packets";
        SO_PROTOCOL = 38, "of SOL_SOCKET: the protocol";
        SO_DOMAIN = 39, "of SOL_SOCKET: the address family";
        SO_PEEK_OFF = 42, "of SOL_SOCKET: where MSG_PEEK looks";
        SO_LOCK_FILTER = 44, "of SOL_SOCKET: keep the program for good";
        SO_BUSY_POLL = 46, "of SOL_SOCKET: wait busily";
        SO_INCOMING_CPU = 49, "of SOL_SOCKET: the processor that receives";
        SO_ATTACH_BPF = 50, "of SOL_SOCKET: attach an eBPF program";
        SO_ATTACH_REUSEPORT_CBPF = 51, "of SOL_SOCKET: have a classic BPF program choose between sockets";
        SO_ATTACH_REUSEPORT_EBPF = 52, "of SOL_SOCKET: have an eBPF program choose between sockets";
        SO_COOKIE = 57, "of SOL_SOCKET: the socket's number";
        SO_PEERGROUPS = 59, "of SOL_SOCKET: the peer's groups";
        SO_ZEROCOPY = 60, "of SOL_SOCKET: allow MSG_ZEROCOPY";
        SO_TXTIME = 61, "of SOL_SOCKET: choose when packets are sent";
        SO_BINDTOIFINDEX = 62, "of SOL_SOCKET: one interface alone, by number";
        SO_PREFER_BUSY_POLL = 69, "of SOL_SOCKET: wait busily rather than be interrupted";
        TCP_NODELAY = 1, "of SOL_TCP: send at once";
        TCP_MAXSEG = 2, "of SOL_TCP: the size of segments";
        TCP_CORK = 3, "of SOL_TCP: send full segments only";
        TCP_KEEPIDLE = 4, "of SOL_TCP: when to ask whether the peer lives";
        TCP_KEEPINTVL = 5, "of SOL_TCP: when to ask again";
        TCP_KEEPCNT = 6, "of SOL_TCP: how often to ask";
        TCP_SYNCNT = 7, "of SOL_TCP: how often to try to connect";
        TCP_LINGER2 = 8, "of SOL_TCP: how long to wait at the end";
        TCP_DEFER_ACCEPT = 9, "of SOL_TCP: accept when there is data";
        TCP_WINDOW_CLAMP = 10, "of SOL_TCP: the largest window";
        TCP_INFO = 11, "of SOL_TCP: the connection's state";
        TCP_QUICKACK = 12, "of SOL_TCP: acknowledge at once";
        TCP_CONGESTION = 13, "of SOL_TCP: the congestion control, by name";
        TCP_MD5SIG = 14, "of SOL_TCP: sign segments";
        TCP_USER_TIMEOUT = 18, "of SOL_TCP: how long data may stay unacknowledged";
        TCP_REPAIR = 19, "of SOL_TCP: take a connection apart, for a checkpoint";
        TCP_FASTOPEN = 23, "of SOL_TCP: data with the first packet";
        TCP_TIMESTAMP = 24, "of SOL_TCP: the clock of a checkpoint";
        TCP_NOTSENT_LOWAT = 25, "of SOL_TCP: how much may wait to be sent";
        TCP_FASTOPEN_CONNECT = 30, "of SOL_TCP: connect with data";
        TCP_ULP = 31, "of SOL_TCP: a protocol on top, such as TLS";
        IP_TOS = 1, "of SOL_IP: the type of service";
        IP_TTL = 2, "of SOL_IP: how far packets go";
        IP_FREEBIND = 15, "of SOL_IP: bind to an address that is not there yet";
        IP_TRANSPARENT = 19, "of SOL_IP: bind to addresses of others";
        IP_BIND_ADDRESS_NO_PORT = 24, "of SOL_IP: choose the port when connecting";
        IPV6_UNICAST_HOPS = 16, "of SOL_IPV6: how far packets go";
        IPV6_V6ONLY = 26, "of SOL_IPV6: no IPv4";
        IPV6_TCLASS = 67, "of SOL_IPV6: the traffic class";
        IPV6_TRANSPARENT = 75, "of SOL_IPV6: bind to addresses of others";
    }
    MessageFlags {
        MSG_OOB = 0x1, "urgent data";
        MSG_PEEK = 0x2, "leave what is received";
        MSG_DONTROUTE = 0x4, "to neighbours only";
        MSG_CTRUNC = 0x8, "told of: control data was cut off";
        MSG_TRUNC = 0x20, "tell the real length";
        MSG_DONTWAIT = 0x40, "do not wait";
        MSG_EOR = 0x80, "the end of a record";
        MSG_WAITALL = 0x100, "wait for all of it";
        MSG_CONFIRM = 0x800, "the neighbour has answered";
        MSG_ERRQUEUE = 0x2000, "receive errors";
        MSG_NOSIGNAL = 0x4000, "no SIGPIPE";
        MSG_MORE = 0x8000, "more follows";
        MSG_WAITFORONE = 0x1_0000, "wait for one message";
        MSG_ZEROCOPY = 0x400_0000, "send without a copy";
        MSG_FASTOPEN = 0x2000_0000, "connect with data";
        MSG_CMSG_CLOEXEC = 0x4000_0000, "execve closes descriptors that are received";
    }
    TransferFlags {
        IORING_RECVSEND_POLL_FIRST = 1, "wait before trying";
        IORING_RECV_MULTISHOT = 2, "receive again and again";
        IORING_RECVSEND_FIXED_BUF = 4, "with a registered buffer";
        IORING_SEND_ZC_REPORT_USAGE = 8, "tell whether there was a copy";
        IORING_RECVSEND_BUNDLE = 16, "several provided buffers at once";
        IORING_SEND_VECTORIZED = 32, "with several buffers";
    }
    AcceptFlags {
        IORING_ACCEPT_MULTISHOT = 1, "accept again and again";
        IORING_ACCEPT_DONTWAIT = 2, "do not wait";
        IORING_ACCEPT_POLL_FIRST = 4, "wait before trying";
    }
    Shutdown {
        SHUT_RD = 0, "receiving";
        SHUT_WR = 1, "sending";
        SHUT_RDWR = 2, "both";
    }
    RingMessage {
        IORING_MSG_DATA = 0, "a completion";
        IORING_MSG_SEND_FD = 1, "a registered file";
    }
    RingMessageFlags {
        IORING_MSG_RING_CQE_SKIP = 1, "no completion in the other ring";
        IORING_MSG_RING_FLAGS_PASS = 2, "choose the flags of its completion";
    }
    PollEvents {
        POLLIN = 0x1, "there is something to read";
        POLLPRI = 0x2, "there is something exceptional";
        POLLOUT = 0x4, "there is room to write";
        POLLERR = 0x8, "an error; always waited for";
        POLLHUP = 0x10, "the other end is gone; always waited for";
        POLLNVAL = 0x20, "no such descriptor";
        POLLRDNORM = 0x40, "as POLLIN";
        POLLRDBAND = 0x80, "there is urgent data";
        POLLWRNORM = 0x100, "as POLLOUT";
        POLLWRBAND = 0x200, "there is room for urgent data";
        POLLRDHUP = 0x2000, "the other end sends no more";
        EPOLLEXCLUSIVE = 1u32 << 28, "wake one of those who wait";
        EPOLLONESHOT = 1u32 << 30, "once";
        EPOLLET = 1u32 << 31, "only what is new";
    }
    PollFlags {
        IORING_POLL_ADD_MULTI = 1, "again and again";
        IORING_POLL_UPDATE_EVENTS = 2, "change what is waited for";
        IORING_POLL_UPDATE_USER_DATA = 4, "change the `user_data`";
        IORING_POLL_ADD_LEVEL = 8, "as long as it is so";
    }
    EpollChange {
        EPOLL_CTL_ADD = 1, "watch a descriptor";
        EPOLL_CTL_DEL = 2, "watch it no more";
        EPOLL_CTL_MOD = 3, "watch it for something else";
    }
    SpliceFlags {
        SPLICE_F_MOVE = 1, "move pages, if possible";
        SPLICE_F_NONBLOCK = 2, "do not wait for pipes";
        SPLICE_F_MORE = 4, "more follows";
        SPLICE_F_GIFT = 8, "the pages are given away";
        SPLICE_F_FD_IN_FIXED = 1u32 << 31, "`splice_fd_in` is a registered file";
    }
    ReadWriteFlags {
        RWF_HIPRI = 0x1, "poll for the completion";
        RWF_DSYNC = 0x2, "writes reach the disk, data";
        RWF_SYNC = 0x4, "writes reach the disk, data and metadata";
        RWF_NOWAIT = 0x8, "do not wait";
        RWF_APPEND = 0x10, "write at the end";
        RWF_NOAPPEND = 0x20, "write where it says, even with O_APPEND";
        RWF_ATOMIC = 0x40, "all or nothing";
        RWF_DONTCACHE = 0x80, "leave nothing in the page cache";
        RWF_NOSIGNAL = 0x100, "no SIGPIPE";
    }
    SyncFlags {
        IORING_FSYNC_DATASYNC = 1, "data, and only the metadata that it takes to read it";
    }
    RangeFlags {
        SYNC_FILE_RANGE_WAIT_BEFORE = 1, "wait for what is being written";
        SYNC_FILE_RANGE_WRITE = 2, "begin to write";
        SYNC_FILE_RANGE_WAIT_AFTER = 4, "wait for the end";
    }
    AllocationFlags {
        FALLOC_FL_KEEP_SIZE = 0x1, "the file's size stays";
        FALLOC_FL_PUNCH_HOLE = 0x2, "make a hole";
        FALLOC_FL_COLLAPSE_RANGE = 0x8, "take the range out";
        FALLOC_FL_ZERO_RANGE = 0x10, "make it zeros";
        FALLOC_FL_INSERT_RANGE = 0x20, "put it in between";
        FALLOC_FL_UNSHARE_RANGE = 0x40, "share it with no other file";
    }
    FileAdvice {
        POSIX_FADV_NORMAL = 0, "nothing special";
        POSIX_FADV_RANDOM = 1, "here and there";
        POSIX_FADV_SEQUENTIAL = 2, "from the beginning to the end";
        POSIX_FADV_WILLNEED = 3, "soon";
        POSIX_FADV_DONTNEED = 4, "not soon";
        POSIX_FADV_NOREUSE = 5, "once";
    }
    MemoryAdvice {
        MADV_NORMAL = 0, "nothing special";
        MADV_RANDOM = 1, "here and there";
        MADV_SEQUENTIAL = 2, "from the beginning to the end";
        MADV_WILLNEED = 3, "soon";
        MADV_DONTNEED = 4, "drop it";
        MADV_FREE = 8, "drop it when memory is short";
        MADV_REMOVE = 9, "drop it and what is behind it";
        MADV_DONTFORK = 10, "not for children";
        MADV_DOFORK = 11, "undo MADV_DONTFORK";
        MADV_MERGEABLE = 12, "may be merged with pages that are the same";
        MADV_UNMERGEABLE = 13, "undo MADV_MERGEABLE";
        MADV_HUGEPAGE = 14, "in huge pages";
        MADV_NOHUGEPAGE = 15, "not in huge pages";
        MADV_DONTDUMP = 16, "not in core dumps";
        MADV_DODUMP = 17, "undo MADV_DONTDUMP";
        MADV_WIPEONFORK = 18, "zeros for children";
        MADV_KEEPONFORK = 19, "undo MADV_WIPEONFORK";
        MADV_COLD = 20, "not soon";
        MADV_PAGEOUT = 21, "write it out";
    }
    InstallFlags {
        IORING_FIXED_FD_NO_CLOEXEC = 1, "execve does not close the descriptor";
    }
    PathFlags {
        AT_SYMLINK_NOFOLLOW = 0x100, "do not follow a symbolic link at the end";
        AT_REMOVEDIR = 0x200, "remove a directory";
        AT_SYMLINK_FOLLOW = 0x400, "follow a symbolic link at the end";
        AT_NO_AUTOMOUNT = 0x800, "mount nothing";
        AT_EMPTY_PATH = 0x1000, "an empty path is the descriptor";
    }
    RenameFlags {
        RENAME_NOREPLACE = 1, "replace nothing";
        RENAME_EXCHANGE = 2, "exchange the two";
        RENAME_WHITEOUT = 4, "leave a whiteout";
    }
    TimeoutFlags {
        IORING_TIMEOUT_ABS = 1, "a point in time";
        IORING_TIMEOUT_UPDATE = 2, "change a timeout";
        IORING_TIMEOUT_BOOTTIME = 4, "time goes on in sleep";
        IORING_TIMEOUT_REALTIME = 8, "the clock on the wall";
        IORING_LINK_TIMEOUT_UPDATE = 16, "change a linked timeout";
        IORING_TIMEOUT_ETIME_SUCCESS = 32, "its end is a success";
        IORING_TIMEOUT_MULTISHOT = 64, "again and again";
    }
    CancelFlags {
        IORING_ASYNC_CANCEL_ALL = 1, "all that match";
        IORING_ASYNC_CANCEL_FD = 2, "those on `fd`";
        IORING_ASYNC_CANCEL_ANY = 4, "any";
        IORING_ASYNC_CANCEL_FD_FIXED = 8, "`fd` is a registered file";
        IORING_ASYNC_CANCEL_USERDATA = 16, "those with the `user_data` in `addr`";
        IORING_ASYNC_CANCEL_OP = 32, "those of an operation";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `strace` prints them.
    #[test]
    fn numbers_of_commands_are_those_of_ioctls() {
        for (name, value) in [
            ("NVME_URING_CMD_IO", 0xc048_4e80),
            ("NVME_URING_CMD_ADMIN_VEC", 0xc048_4e83),
            ("UBLK_U_CMD_ADD_DEV", 0xc020_7504),
            ("UBLK_U_CMD_GET_DEV_INFO", 0x8020_7502),
            ("UBLK_U_IO_FETCH_REQ", 0xc010_7520),
            ("BLOCK_URING_CMD_DISCARD", 0x1200),
        ] {
            assert_eq!(Constant::named(name).map(|constant| constant.value), Some(value), "{name}");
        }
    }
}
