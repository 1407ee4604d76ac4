//! Operations that do the work of others, as data: a rule of one means little where the other is open.

use ringwarden_uapi::Opcode;

/// An operation, and others that do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Equivalent {
    /// The operation.
    pub operation: Opcode,
    /// Each of them does the same.
    pub others: &'static [Opcode],
    /// What they do, with a verb.
    pub does: &'static str,
    /// They do a part of its work, beside their own that programs want them for.
    pub in_part: bool,
}

impl Equivalent {
    /// The row of an operation, if it has one.
    pub fn of(operation: Opcode) -> Option<&'static Self> {
        EQUIVALENTS.iter().find(|row| row.operation == operation)
    }
}

const fn row(operation: Opcode, others: &'static [Opcode], does: &'static str) -> Equivalent {
    Equivalent { operation, others, does, in_part: false }
}

const fn in_part(operation: Opcode, others: &'static [Opcode], does: &'static str) -> Equivalent {
    Equivalent { in_part: true, ..row(operation, others, does) }
}

/// Every operation of which others do the work.
pub const EQUIVALENTS: &[Equivalent] = &[
    row(Opcode::OPENAT, &[Opcode::OPENAT2], "opens the same files"),
    row(Opcode::OPENAT2, &[Opcode::OPENAT], "opens the same files"),
    row(Opcode::READ, &[Opcode::READV, Opcode::READ_MULTISHOT], "reads the same data"),
    row(Opcode::READV, &[Opcode::READ], "reads the same data"),
    row(Opcode::WRITE, &[Opcode::WRITEV], "writes the same data"),
    row(Opcode::WRITEV, &[Opcode::WRITE], "writes the same data"),
    row(Opcode::SEND, &[Opcode::SENDMSG, Opcode::SEND_ZC, Opcode::SENDMSG_ZC], "sends the same data"),
    row(Opcode::SENDMSG, &[Opcode::SENDMSG_ZC], "sends the same messages"),
    row(Opcode::RECV, &[Opcode::RECVMSG], "receives the same data"),
    // `MSG_FASTOPEN` connects (`tcp_sendmsg_fastopen`, net/ipv4/tcp.c), and datagrams go where they are addressed to.
    in_part(
        Opcode::CONNECT,
        &[Opcode::SENDMSG, Opcode::SEND, Opcode::SENDMSG_ZC, Opcode::SEND_ZC],
        "connects by MSG_FASTOPEN, and sends datagrams to the address that it names",
    ),
    row(Opcode::SOCKET, &[Opcode::URING_CMD, Opcode::URING_CMD128], "takes commands that can make sockets"),
    row(Opcode::URING_CMD, &[Opcode::URING_CMD128], "takes the same commands"),
    row(Opcode::URING_CMD128, &[Opcode::URING_CMD], "takes the same commands"),
];
