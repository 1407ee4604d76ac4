//! Payloads: what filters see of a request beside what all operations show, and where kernels take it from.
//!
//! The members of the union in `struct io_uring_bpf_ctx`, with the operations that fill them (`filter_populate` of
//! `struct io_issue_def`, `io_uring/opdef.c`, Linux 7.2). Which of them a kernel shows is [`KernelModel`]'s to say:
//! the row of an operation is how it is shown where it is.
//!
//! [`KernelModel`]: crate::model::KernelModel

use crate::bpf::{ConnectPayload, OpenPayload, SocketPayload};
use crate::opcode::Opcode;
use crate::open::OPEN_HOW_SIZE_VER0;
use crate::ring::{Pointer, Sqe};

/// How an operation's payload is made of its request: what stands in the context, and what it is read from.
///
/// A new kind breaks whoever looks at kinds, on purpose: each has something to say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// A [`SocketPayload`]: three numbers of the SQE.
    Socket,
    /// An [`OpenPayload`] that is made of the SQE's flags and mode (`build_open_how`, `fs/open.c`).
    Openat,
    /// An [`OpenPayload`] that is copied: a `struct open_how` in memory.
    OpenHow,
    /// A [`ConnectPayload`]: as much of a `struct sockaddr` in memory as is there.
    Sockaddr,
}

/// Where an argument in memory is, and how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArgumentPlace {
    /// The field that holds its address.
    pub pointer: Pointer,
    /// The field that says how many bytes it has.
    length: Length,
    /// How many bytes that may be.
    pub sizes: Sizes,
}

/// A field of the SQE that says how long an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Len,
    /// Its low half, which the kernel takes for an `int`.
    Off,
}

/// How long an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// No longer than this: EINVAL (`move_addr_to_kernel`, `net/socket.c`).
    UpTo(usize),
    /// This long, which is as much as the kernel knows, or longer, with nothing but zeros behind that: EINVAL and
    /// E2BIG (`copy_struct_from_user`, `include/linux/uaccess.h`).
    From(usize),
}

/// `sizeof(struct sockaddr_storage)`, the longest address that the kernel copies.
pub const SOCKADDR_MAX: usize = 128;

impl Opcode {
    /// How filters see the argument of this operation, where they do; nothing for one of which no filter sees more
    /// than of every operation.
    pub const fn payload(self) -> Option<PayloadKind> {
        match self {
            Self::SOCKET => Some(PayloadKind::Socket),
            Self::OPENAT => Some(PayloadKind::Openat),
            Self::OPENAT2 => Some(PayloadKind::OpenHow),
            Self::CONNECT | Self::BIND => Some(PayloadKind::Sockaddr),
            _ => None,
        }
    }

    /// Where the argument is that filters see, where it is in memory.
    pub const fn argument(self) -> Option<ArgumentPlace> {
        match self.payload() {
            Some(kind) => kind.argument(),
            None => None,
        }
    }
}

impl PayloadKind {
    /// How many bytes it has in the context.
    pub const fn size(self) -> u8 {
        let size = match self {
            Self::Socket => size_of::<SocketPayload>(),
            Self::Openat | Self::OpenHow => size_of::<OpenPayload>(),
            Self::Sockaddr => size_of::<ConnectPayload>(),
        };
        size as u8
    }

    /// Whether it says how a file is to be opened.
    pub const fn opens(self) -> bool {
        matches!(self, Self::Openat | Self::OpenHow)
    }

    /// Where it is read from, unless the SQE says all of it.
    pub const fn argument(self) -> Option<ArgumentPlace> {
        let (pointer, length, sizes) = match self {
            Self::Socket | Self::Openat => return None,
            Self::OpenHow => (Pointer::Off, Length::Len, Sizes::From(OPEN_HOW_SIZE_VER0)),
            Self::Sockaddr => (Pointer::Addr, Length::Off, Sizes::UpTo(SOCKADDR_MAX)),
        };
        Some(ArgumentPlace { pointer, length, sizes })
    }
}

impl ArgumentPlace {
    /// How many bytes the argument of a request has.
    pub const fn len(&self, sqe: &Sqe) -> usize {
        match self.length {
            Length::Len => sqe.len as usize,
            Length::Off => sqe.off as u32 as usize,
        }
    }

    /// Leads a request to so many bytes at that address.
    pub const fn point(&self, sqe: &mut Sqe, address: u64, len: usize) {
        self.pointer.set(sqe, address);
        match self.length {
            Length::Len => sqe.len = len as u32,
            Length::Off => sqe.off = sqe.off & !(u32::MAX as u64) | len as u32 as u64,
        }
    }

    /// Whether what is behind the part that the kernel knows only has to be zero.
    pub const fn is_extensible(&self) -> bool {
        matches!(self.sizes, Sizes::From(_))
    }

    /// Whether an argument may be so long.
    pub const fn takes(&self, len: usize) -> bool {
        match self.sizes {
            Sizes::UpTo(most) => len <= most,
            Sizes::From(least) => len >= least,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opcode::OPCODES;

    #[test]
    fn a_request_is_led_to_its_argument() {
        for place in OPCODES.iter().filter_map(|info| info.opcode.argument()) {
            let mut sqe = Sqe { off: u64::MAX, addr: 1, len: 2, ..Sqe::default() };
            place.point(&mut sqe, 0x1000, 24);
            assert_eq!((place.pointer.get(&sqe), place.len(&sqe)), (0x1000, 24), "{place:?}");
            assert!(place.takes(24) && place.takes(usize::MAX) == place.is_extensible(), "{place:?}");
        }
    }

    /// Half of a field is not the field: what else is in it stays.
    #[test]
    fn the_length_of_an_address_is_an_int() {
        let place = Opcode::CONNECT.argument().expect("an address");
        let mut sqe = Sqe { off: 7 << 32 | 16, ..Sqe::default() };
        assert_eq!(place.len(&sqe), 16);
        place.point(&mut sqe, 0x1000, 28);
        assert_eq!((sqe.off, sqe.addr), (7 << 32 | 28, 0x1000));
    }
}
