//! What an opcode takes, whatever it does: the parts of the kernel's own table
//! (`io_uring/opdef.c`, Linux 7.2) that decide whether a request is well formed.

use crate::opcode::Opcode;
use bitflags::bitflags;

bitflags! {
    /// The members of `struct io_issue_def` of that name.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct OpTraits: u8 {
        /// IOSQE_BUFFER_SELECT has a meaning; elsewhere it is EOPNOTSUPP.
        const BUFFER_SELECT = 1 << 0;
        /// `sqe.ioprio` has a meaning; elsewhere anything but 0 is EINVAL.
        const IOPRIO = 1 << 1;
        /// Can run on an IOPOLL ring; elsewhere it is EINVAL there.
        const IOPOLL = 1 << 2;
        /// Its SQE is 128 bytes long, so that the ring must be SQE128 or SQE_MIXED.
        const IS_128 = 1 << 3;
    }
}

impl Opcode {
    /// What this opcode takes; nothing for an opcode that is not known.
    pub const fn traits(self) -> OpTraits {
        const NONE: OpTraits = OpTraits::empty();
        const READS: OpTraits = OpTraits::BUFFER_SELECT.union(OpTraits::IOPRIO);
        match self {
            Self::READV | Self::READ => READS.union(OpTraits::IOPOLL),
            Self::RECVMSG | Self::RECV | Self::SENDMSG | Self::SEND => READS,
            Self::WRITEV
            | Self::READ_FIXED
            | Self::WRITE_FIXED
            | Self::WRITE
            | Self::READV_FIXED
            | Self::WRITEV_FIXED => OpTraits::IOPRIO.union(OpTraits::IOPOLL),
            Self::ACCEPT | Self::SEND_ZC | Self::SENDMSG_ZC | Self::RECV_ZC => OpTraits::IOPRIO,
            Self::READ_MULTISHOT => OpTraits::BUFFER_SELECT,
            Self::NOP
            | Self::FILES_UPDATE
            | Self::PROVIDE_BUFFERS
            | Self::REMOVE_BUFFERS
            | Self::MSG_RING => OpTraits::IOPOLL,
            Self::URING_CMD => OpTraits::BUFFER_SELECT.union(OpTraits::IOPOLL),
            Self::NOP128 => OpTraits::IOPOLL.union(OpTraits::IS_128),
            Self::URING_CMD128 => OpTraits::BUFFER_SELECT.union(OpTraits::IOPOLL).union(OpTraits::IS_128),
            _ => NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OPCODES;

    #[test]
    fn large_requests_are_called_so() {
        for info in OPCODES {
            let large = info.opcode.traits().contains(OpTraits::IS_128);
            assert_eq!(large, info.name.ends_with("128"), "{}", info.name);
        }
        assert!(Opcode(Opcode::LAST).traits().is_empty());
    }
}
