//! Groups of operations, as data. A group is a key of `[ops]`; an operation's own key beats it.

use ringwarden_uapi::Opcode;

/// Operations that a policy names together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// The name, with its `@`.
    pub name: &'static str,
    /// What the members have in common, in one line.
    pub doc: &'static str,
    /// The members, in numeric order.
    pub members: &'static [Opcode],
}

impl Group {
    /// The group of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        GROUPS.iter().find(|group| group.name == name)
    }
}

macro_rules! groups {
    ($($name:literal, $doc:literal: $($member:ident)*;)*) => {
        /// Every group. Each operation is in exactly one.
        pub const GROUPS: &[Group] = &[
            $(Group { name: $name, doc: $doc, members: &[$(Opcode::$member,)*] },)*
        ];
    };
}

groups! {
    "@nop", "requests that do nothing": NOP NOP128;
    "@read-write", "data from and to descriptors that the program has open":
        READV WRITEV FSYNC READ_FIXED WRITE_FIXED SYNC_FILE_RANGE FALLOCATE READ WRITE FADVISE MADVISE
        READ_MULTISHOT FTRUNCATE READV_FIXED WRITEV_FIXED;
    "@files", "opening, closing and looking at files": OPENAT CLOSE STATX OPENAT2;
    "@paths", "changing names in the file system":
        RENAMEAT UNLINKAT MKDIRAT SYMLINKAT LINKAT;
    "@xattr", "extended attributes": FSETXATTR SETXATTR FGETXATTR GETXATTR;
    "@pipes", "pipes, and data between descriptors inside the kernel": SPLICE TEE PIPE;
    "@sockets", "making sockets and connections": ACCEPT CONNECT SHUTDOWN SOCKET BIND LISTEN;
    "@messages", "data from and to sockets": SENDMSG RECVMSG SEND RECV;
    "@zero-copy", "socket data without a copy: memory stays shared while the network uses it":
        SEND_ZC SENDMSG_ZC RECV_ZC;
    "@poll", "waiting until a descriptor is ready": POLL_ADD POLL_REMOVE EPOLL_CTL EPOLL_WAIT;
    "@timeouts", "timeouts, and cancelling requests": TIMEOUT TIMEOUT_REMOVE ASYNC_CANCEL LINK_TIMEOUT;
    "@buffers", "provided buffers, the older way": PROVIDE_BUFFERS REMOVE_BUFFERS;
    "@registered-files", "the ring's own table of descriptors": FILES_UPDATE FIXED_FD_INSTALL;
    "@processes", "waiting for other threads and processes": WAITID FUTEX_WAIT FUTEX_WAKE FUTEX_WAITV;
    "@rings", "messages from one ring to another": MSG_RING;
    "@commands", "commands that a device or socket driver defines: whatever the driver does": URING_CMD URING_CMD128;
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_uapi::OPCODES;

    #[test]
    fn every_operation_is_in_exactly_one_group() {
        for info in OPCODES {
            let groups: Vec<_> =
                GROUPS.iter().filter(|group| group.members.contains(&info.opcode)).map(|g| g.name).collect();
            assert_eq!(groups.len(), 1, "{} is in {groups:?}", info.name);
        }
        for group in GROUPS {
            assert!(group.members.is_sorted(), "{}", group.name);
        }
    }
}
