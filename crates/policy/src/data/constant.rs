//! The named constants, as data.
//!
//! Values are the kernel's (`include/linux/socket.h`, `include/linux/net.h`,
//! `include/uapi/linux/in.h`, `include/uapi/asm-generic/fcntl.h`, `include/uapi/linux/openat2.h`,
//! `include/uapi/linux/io_uring.h`) on the architecture that this was built for. Those of what only the guard sees are
//! in [`sqe`].

use crate::data::field::both;
use crate::data::kind::Kind;
use ringwarden_uapi::open;
use ringwarden_uapi::ring::SqeFlags;

/// A name for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Constant {
    /// The name in the kernel's headers.
    pub name: &'static str,
    /// What it is a value of.
    pub kind: Kind,
    /// The value.
    pub value: u64,
    /// What it stands for, in one line.
    pub doc: &'static str,
}

impl Constant {
    /// The constant of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CONSTANTS.iter().find(|constant| constant.name == name)
    }
}

/// `O_DIRECT` differs between architectures (`arch/arm64/include/uapi/asm/fcntl.h`).
const O_DIRECT: u64 =
    if cfg!(any(target_arch = "aarch64", target_arch = "arm")) { 0o200000 } else { 0o40000 };

macro_rules! constants {
    ($list:ident: $($kind:ident { $($name:ident = $value:expr, $doc:literal;)* })*) => {
        pub(super) const $list: &[Constant] = &[$($(
            Constant { name: stringify!($name), kind: Kind::$kind, value: $value as u64, doc: $doc },
        )*)*];
    };
}

mod sqe;

/// Every constant, by kind.
pub const CONSTANTS: &[Constant] = &both::<_, { SHOWN_BY_KERNELS.len() + sqe::SHOWN_BY_THE_GUARD.len() }>(
    SHOWN_BY_KERNELS,
    sqe::SHOWN_BY_THE_GUARD,
);

constants! { SHOWN_BY_KERNELS:
    Family {
        AF_UNSPEC = 0, "no family; in CONNECT, undo the connection";
        AF_UNIX = 1, "sockets of this machine";
        AF_LOCAL = 1, "another name for AF_UNIX";
        AF_INET = 2, "IPv4";
        AF_AX25 = 3, "amateur radio";
        AF_IPX = 4, "Novell IPX";
        AF_APPLETALK = 5, "AppleTalk";
        AF_X25 = 9, "X.25";
        AF_INET6 = 10, "IPv6";
        AF_KEY = 15, "IPsec keys";
        AF_NETLINK = 16, "the kernel's configuration and events";
        AF_PACKET = 17, "raw frames of network devices";
        AF_RDS = 21, "reliable datagrams";
        AF_PPPOX = 24, "PPP over Ethernet and its like";
        AF_LLC = 26, "logical link control";
        AF_IB = 27, "InfiniBand";
        AF_MPLS = 28, "label switching";
        AF_CAN = 29, "controller area network";
        AF_TIPC = 30, "cluster communication";
        AF_BLUETOOTH = 31, "Bluetooth";
        AF_RXRPC = 33, "the AFS remote procedure calls";
        AF_PHONET = 35, "Nokia modems";
        AF_IEEE802154 = 36, "low-rate wireless networks";
        AF_CAIF = 37, "ST-Ericsson modems";
        AF_ALG = 38, "the kernel's cryptography";
        AF_NFC = 39, "near-field communication";
        AF_VSOCK = 40, "between a virtual machine and its host";
        AF_KCM = 41, "messages multiplexed over TCP";
        AF_QIPCRTR = 42, "Qualcomm processors in one device";
        AF_SMC = 43, "TCP over shared memory";
        AF_XDP = 44, "frames past the network stack";
        AF_MCTP = 45, "management controllers";
    }
    SocketType {
        SOCK_STREAM = 1, "a stream of bytes, such as TCP";
        SOCK_DGRAM = 2, "datagrams, such as UDP";
        SOCK_RAW = 3, "packets with their protocol's header";
        SOCK_RDM = 4, "reliable datagrams";
        SOCK_SEQPACKET = 5, "reliable datagrams in order";
        SOCK_DCCP = 6, "congestion-controlled datagrams";
        SOCK_PACKET = 10, "frames, the obsolete way";
    }
    SocketFlags {
        SOCK_NONBLOCK = 0o4000, "the new descriptor does not block";
        SOCK_CLOEXEC = 0o2000000, "execve closes the new descriptor";
    }
    Protocol {
        IPPROTO_IP = 0, "the default protocol of the family and type";
        IPPROTO_ICMP = 1, "control messages of IPv4";
        IPPROTO_IGMP = 2, "group management";
        IPPROTO_IPIP = 4, "IPv4 in IP";
        IPPROTO_TCP = 6, "TCP";
        IPPROTO_UDP = 17, "UDP";
        IPPROTO_DCCP = 33, "congestion-controlled datagrams";
        IPPROTO_IPV6 = 41, "IPv6 in IP";
        IPPROTO_RSVP = 46, "reservations";
        IPPROTO_GRE = 47, "generic tunnels";
        IPPROTO_ESP = 50, "IPsec payload";
        IPPROTO_AH = 51, "IPsec authentication";
        IPPROTO_ICMPV6 = 58, "control messages of IPv6";
        IPPROTO_PIM = 103, "multicast routing";
        IPPROTO_L2TP = 115, "layer-2 tunnels";
        IPPROTO_SCTP = 132, "SCTP";
        IPPROTO_UDPLITE = 136, "UDP with partial checksums";
        IPPROTO_MPLS = 137, "label switching in IP";
        IPPROTO_RAW = 255, "the program writes the IP header";
        IPPROTO_MPTCP = 262, "TCP over several paths";
    }
    OpenFlags {
        O_RDONLY = 0, "read only: the value 0 of the bits in O_ACCMODE";
        O_WRONLY = 1, "write only";
        O_RDWR = 2, "read and write";
        O_ACCMODE = 3, "the bits that hold O_RDONLY, O_WRONLY or O_RDWR";
        O_CREAT = open::O_CREAT, "create the file";
        O_EXCL = 0o200, "fail if the file exists";
        O_NOCTTY = 0o400, "do not take a terminal as the controlling one";
        O_TRUNC = open::O_TRUNC, "cut the file to length 0";
        O_APPEND = 0o2000, "write at the end";
        O_NONBLOCK = 0o4000, "do not block";
        O_DSYNC = 0o10000, "writes reach the disk, data";
        O_ASYNC = 0o20000, "signal when input or output is possible";
        O_DIRECT = O_DIRECT, "go past the page cache";
        O_DIRECTORY = open::O_DIRECTORY, "fail unless it is a directory";
        O_NOFOLLOW = open::O_NOFOLLOW, "fail if the last component is a symbolic link";
        O_NOATIME = 0o1000000, "do not update the access time";
        O_CLOEXEC = open::O_CLOEXEC, "execve closes the new descriptor";
        O_SYNC = 0o4010000, "writes reach the disk, data and metadata; has O_DSYNC's bit too";
        O_PATH = open::O_PATH, "a handle on the path, not for reading or writing";
        O_TMPFILE = open::O_TMPFILE_BIT | open::O_DIRECTORY, "a file without a name; has O_DIRECTORY's bit too";
    }
    Mode {
        S_ISUID = 0o4000, "run as the owner";
        S_ISGID = 0o2000, "run as the group";
        S_ISVTX = 0o1000, "the sticky bit";
        S_IRWXU = 0o700, "everything for the owner";
        S_IRUSR = 0o400, "the owner reads";
        S_IWUSR = 0o200, "the owner writes";
        S_IXUSR = 0o100, "the owner executes";
        S_IRWXG = 0o070, "everything for the group";
        S_IRGRP = 0o040, "the group reads";
        S_IWGRP = 0o020, "the group writes";
        S_IXGRP = 0o010, "the group executes";
        S_IRWXO = 0o007, "everything for others";
        S_IROTH = 0o004, "others read";
        S_IWOTH = 0o002, "others write";
        S_IXOTH = 0o001, "others execute";
    }
    Resolve {
        RESOLVE_NO_XDEV = 0x01, "do not cross mount points";
        RESOLVE_NO_MAGICLINKS = 0x02, "do not follow links of /proc into other objects";
        RESOLVE_NO_SYMLINKS = 0x04, "do not follow symbolic links";
        RESOLVE_BENEATH = 0x08, "stay below the starting directory";
        RESOLVE_IN_ROOT = 0x10, "take the starting directory as the root";
        RESOLVE_CACHED = 0x20, "only what needs no disk access";
    }
    SqeFlags {
        IOSQE_FIXED_FILE = SqeFlags::FIXED_FILE.bits(), "the descriptor is an index into the registered files";
        IOSQE_IO_DRAIN = SqeFlags::IO_DRAIN.bits(), "start after everything before it has completed";
        IOSQE_IO_LINK = SqeFlags::IO_LINK.bits(), "the next request waits for this one's success";
        IOSQE_IO_HARDLINK = SqeFlags::IO_HARDLINK.bits(), "the next request waits for this one's end";
        IOSQE_ASYNC = SqeFlags::ASYNC.bits(), "start in a worker thread; the kernel sets it by itself on some operations";
        IOSQE_BUFFER_SELECT = SqeFlags::BUFFER_SELECT.bits(), "take a provided buffer";
        IOSQE_CQE_SKIP_SUCCESS = SqeFlags::CQE_SKIP_SUCCESS.bits(), "no completion on success";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique() {
        let mut names = HashSet::new();
        for constant in CONSTANTS {
            assert!(names.insert(constant.name), "{}", constant.name);
        }
    }

    #[test]
    fn values_are_the_c_library_s() {
        macro_rules! agree {
            ($($name:ident)*) => {
                $(assert_eq!(Constant::named(stringify!($name)).map(|c| c.value), Some(libc::$name as u64), stringify!($name));)*
            };
        }
        agree! {
            AF_UNSPEC AF_UNIX AF_LOCAL AF_INET AF_AX25 AF_IPX AF_APPLETALK AF_X25 AF_INET6 AF_KEY AF_NETLINK
            AF_PACKET AF_RDS AF_PPPOX AF_LLC AF_IB AF_MPLS AF_CAN AF_TIPC AF_BLUETOOTH AF_RXRPC AF_PHONET
            AF_IEEE802154 AF_CAIF AF_ALG AF_NFC AF_VSOCK AF_XDP
            SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET SOCK_DCCP SOCK_NONBLOCK SOCK_CLOEXEC
            IPPROTO_IP IPPROTO_ICMP IPPROTO_IGMP IPPROTO_IPIP IPPROTO_TCP IPPROTO_UDP IPPROTO_DCCP IPPROTO_IPV6
            IPPROTO_RSVP IPPROTO_GRE IPPROTO_ESP IPPROTO_AH IPPROTO_ICMPV6 IPPROTO_PIM IPPROTO_SCTP
            IPPROTO_UDPLITE IPPROTO_MPLS IPPROTO_RAW IPPROTO_MPTCP
            O_RDONLY O_WRONLY O_RDWR O_ACCMODE O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_DSYNC
            O_ASYNC O_DIRECT O_DIRECTORY O_NOFOLLOW O_NOATIME O_CLOEXEC O_SYNC O_PATH O_TMPFILE
            S_ISUID S_ISGID S_ISVTX S_IRWXU S_IRUSR S_IWUSR S_IXUSR S_IRWXG S_IRGRP S_IWGRP S_IXGRP S_IRWXO
            S_IROTH S_IWOTH S_IXOTH
            RESOLVE_NO_XDEV RESOLVE_NO_MAGICLINKS RESOLVE_NO_SYMLINKS RESOLVE_BENEATH RESOLVE_IN_ROOT
            RESOLVE_CACHED
            SOL_SOCKET SOL_IP SOL_TCP SOL_UDP SOL_IPV6 SOL_RAW SOL_PACKET SOL_NETLINK SOL_ALG SOL_TLS SOL_XDP
            SO_DEBUG SO_REUSEADDR SO_TYPE SO_ERROR SO_DONTROUTE SO_BROADCAST SO_SNDBUF SO_RCVBUF SO_KEEPALIVE
            SO_OOBINLINE SO_PRIORITY SO_LINGER SO_REUSEPORT SO_PASSCRED SO_PEERCRED SO_RCVLOWAT SO_BINDTODEVICE
            SO_ATTACH_FILTER SO_DETACH_FILTER SO_ACCEPTCONN SO_SNDBUFFORCE SO_RCVBUFFORCE SO_MARK SO_PROTOCOL
            SO_DOMAIN SO_PEEK_OFF SO_LOCK_FILTER SO_BUSY_POLL SO_INCOMING_CPU SO_ATTACH_BPF
            SO_ATTACH_REUSEPORT_CBPF SO_ATTACH_REUSEPORT_EBPF SO_COOKIE SO_PEERGROUPS SO_ZEROCOPY SO_TXTIME
            SO_BINDTOIFINDEX SO_PREFER_BUSY_POLL
            TCP_NODELAY TCP_MAXSEG TCP_CORK TCP_KEEPIDLE TCP_KEEPINTVL TCP_KEEPCNT TCP_SYNCNT TCP_LINGER2
            TCP_DEFER_ACCEPT TCP_WINDOW_CLAMP TCP_INFO TCP_QUICKACK TCP_CONGESTION TCP_MD5SIG TCP_USER_TIMEOUT
            TCP_REPAIR TCP_FASTOPEN TCP_TIMESTAMP TCP_NOTSENT_LOWAT TCP_FASTOPEN_CONNECT TCP_ULP
            IP_TOS IP_TTL IP_TRANSPARENT IP_FREEBIND IP_BIND_ADDRESS_NO_PORT IPV6_V6ONLY IPV6_TCLASS
            IPV6_UNICAST_HOPS IPV6_TRANSPARENT
            MSG_OOB MSG_PEEK MSG_DONTROUTE MSG_CTRUNC MSG_TRUNC MSG_DONTWAIT MSG_EOR MSG_WAITALL MSG_CONFIRM
            MSG_ERRQUEUE MSG_NOSIGNAL MSG_MORE MSG_WAITFORONE MSG_ZEROCOPY MSG_FASTOPEN MSG_CMSG_CLOEXEC
            SHUT_RD SHUT_WR SHUT_RDWR
            POLLIN POLLPRI POLLOUT POLLERR POLLHUP POLLNVAL POLLRDNORM POLLRDBAND POLLWRNORM POLLWRBAND
            POLLRDHUP EPOLLEXCLUSIVE EPOLLONESHOT EPOLL_CTL_ADD EPOLL_CTL_DEL EPOLL_CTL_MOD
            SPLICE_F_MOVE SPLICE_F_NONBLOCK SPLICE_F_MORE SPLICE_F_GIFT
            RWF_HIPRI RWF_DSYNC RWF_SYNC RWF_NOWAIT RWF_APPEND
            SYNC_FILE_RANGE_WAIT_BEFORE SYNC_FILE_RANGE_WRITE SYNC_FILE_RANGE_WAIT_AFTER
            FALLOC_FL_KEEP_SIZE FALLOC_FL_PUNCH_HOLE FALLOC_FL_COLLAPSE_RANGE FALLOC_FL_ZERO_RANGE
            FALLOC_FL_INSERT_RANGE FALLOC_FL_UNSHARE_RANGE
            POSIX_FADV_NORMAL POSIX_FADV_RANDOM POSIX_FADV_SEQUENTIAL POSIX_FADV_WILLNEED POSIX_FADV_DONTNEED
            POSIX_FADV_NOREUSE
            MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MADV_DONTNEED MADV_FREE MADV_REMOVE
            MADV_DONTFORK MADV_DOFORK MADV_MERGEABLE MADV_UNMERGEABLE MADV_HUGEPAGE MADV_NOHUGEPAGE
            MADV_DONTDUMP MADV_DODUMP MADV_WIPEONFORK MADV_KEEPONFORK MADV_COLD MADV_PAGEOUT
            AT_SYMLINK_NOFOLLOW AT_REMOVEDIR AT_SYMLINK_FOLLOW AT_NO_AUTOMOUNT AT_EMPTY_PATH
            RENAME_NOREPLACE RENAME_EXCHANGE RENAME_WHITEOUT
        }
        // 32 bits, which C takes for signed.
        assert_eq!(Constant::named("AT_FDCWD").map(|c| c.value), Some(u64::from(libc::AT_FDCWD as u32)));
        assert_eq!(Constant::named("EPOLLET").map(|c| c.value), Some(u64::from(libc::EPOLLET as u32)));
    }
}
