//! The fields that a filter sees, as data: the C structure that a context is, with names.
//!
//! `struct io_uring_bpf_ctx` of `include/uapi/linux/io_uring/bpf_filter.h`, Linux 7.2; and what the guard shows
//! beside it ([`sqe`]).

use crate::data::kind::Kind;
use ringwarden_uapi::{KernelModel, Opcode, open};
use std::ops::Range;

mod sqe;

/// The compiler names single bytes of little-endian words.
#[cfg(target_endian = "big")]
compile_error!("filters are compiled for little-endian kernels only");

/// A value of a request that expressions can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// The name in expressions.
    pub name: &'static str,
    /// The operations that have it; empty for every operation.
    pub operations: &'static [Opcode],
    /// What its value means.
    pub kind: Kind,
    /// How many bits its value has; 128 for an address.
    pub bits: u8,
    /// The first kernel whose filters see it; [`KernelModel::Guard`] where none does.
    pub since: KernelModel,
    /// What it is, in one line.
    pub doc: &'static str,
    /// Its first byte in the context.
    pub(crate) byte: usize,
    /// How it stands there.
    pub(crate) form: Form,
    /// The bits of the stored value that belong to it, in place: its values have no others. All 64 for an address.
    pub mask: u64,
    /// The values of [`FAMILY_OF_ADDRESS`] under which the field exists; empty if it always does.
    pub(crate) families: &'static [u64],
}

/// How a field is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    U8,
    U16,
    /// 16 bits in network order.
    Be16,
    U32,
    U64,
    /// 4 bytes under [`AF_INET`], 16 under [`AF_INET6`], network order.
    Address,
}

/// The IPv4 family.
pub(crate) const AF_INET: u64 = 2;
/// The IPv6 family.
pub(crate) const AF_INET6: u64 = 10;
/// The first byte of the `u32` that says which form an address has.
pub(crate) const FAMILY_OF_ADDRESS: usize = 16;

const EVERY: &[Opcode] = &[];
const SOCKET: &[Opcode] = &[Opcode::SOCKET];
const OPEN: &[Opcode] = &[Opcode::OPENAT, Opcode::OPENAT2];
const CONNECT: &[Opcode] = &[Opcode::CONNECT];
const BIND: &[Opcode] = &[Opcode::BIND];
const IP: &[u64] = &[AF_INET, AF_INET6];

/// The low bits of a socket type, `SOCK_TYPE_MASK` of `include/linux/net.h`.
const SOCK_TYPE_MASK: u64 = 0xf;

const PLAIN: Field = Field {
    name: "",
    operations: EVERY,
    kind: Kind::UserData,
    bits: 32,
    since: KernelModel::V7_0,
    doc: "",
    byte: 0,
    form: Form::U32,
    mask: u32::MAX as u64,
    families: &[],
};
const WIDE: Field = Field { bits: 64, form: Form::U64, mask: u64::MAX, ..PLAIN };

/// A field of those operations' payload: there since kernels show it.
const fn of_payload(operations: &'static [Opcode], field: Field) -> Field {
    match KernelModel::first_to_show(operations[0]) {
        Some(since) => Field { operations, since, ..field },
        None => panic!("no kernel shows a payload of it"),
    }
}

/// Every field.
pub const FIELDS: &[Field] = &both::<_, { SHOWN_BY_KERNELS.len() + sqe::SHOWN_BY_THE_GUARD.len() }>(
    SHOWN_BY_KERNELS,
    sqe::SHOWN_BY_THE_GUARD,
);

/// What kernels show and what the guard does, in one list of `ALL`: of fields, as of the constants that they hold.
pub(crate) const fn both<T: Copy, const ALL: usize>(by_kernels: &[T], by_the_guard: &[T]) -> [T; ALL] {
    let mut all = [by_kernels[0]; ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = match at.checked_sub(by_kernels.len()) {
            None => by_kernels[at],
            Some(at) => by_the_guard[at],
        };
        at += 1;
    }
    all
}

const SHOWN_BY_KERNELS: &[Field] = &[
    Field {
        name: "user_data",
        kind: Kind::UserData,
        since: KernelModel::Posted,
        byte: 0,
        doc: "the number that the program gets back with the completion",
        ..WIDE
    },
    Field {
        name: "sqe_flags",
        kind: Kind::SqeFlags,
        bits: 8,
        since: KernelModel::Posted,
        byte: 9,
        form: Form::U8,
        mask: 0xff,
        doc: "the request's flags, with those that the kernel adds before the filter runs",
        ..PLAIN
    },
    Field {
        name: "family",
        kind: Kind::Family,
        byte: 16,
        doc: "the address family of the new socket",
        ..of_payload(SOCKET, PLAIN)
    },
    Field {
        name: "type",
        kind: Kind::SocketType,
        bits: 4,
        byte: 20,
        mask: SOCK_TYPE_MASK,
        doc: "the type of the new socket, without the flags given with it",
        ..of_payload(SOCKET, PLAIN)
    },
    Field {
        name: "type_flags",
        kind: Kind::SocketFlags,
        byte: 20,
        mask: u32::MAX as u64 & !SOCK_TYPE_MASK,
        doc: "the flags given with the type",
        ..of_payload(SOCKET, PLAIN)
    },
    Field {
        name: "protocol",
        kind: Kind::Protocol,
        byte: 24,
        doc: "the protocol of the new socket; 0 is the type's default",
        ..of_payload(SOCKET, PLAIN)
    },
    Field {
        name: "flags",
        kind: Kind::OpenFlags,
        byte: 16,
        mask: !open::O_LARGEFILE,
        doc: "how to open, without O_LARGEFILE, which the kernel sets on almost every request",
        ..of_payload(OPEN, WIDE)
    },
    Field {
        name: "mode",
        kind: Kind::Mode,
        byte: 24,
        doc: "the permissions of a new file; openat shows 0 where no file can be created",
        ..of_payload(OPEN, WIDE)
    },
    Field {
        name: "resolve",
        kind: Kind::Resolve,
        byte: 32,
        doc: "how to walk the path; always 0 in openat",
        ..of_payload(OPEN, WIDE)
    },
    Field {
        name: "family",
        kind: Kind::Family,
        byte: FAMILY_OF_ADDRESS,
        doc: "the address family to connect to; 0 where the address is shorter than 2 bytes",
        ..of_payload(CONNECT, PLAIN)
    },
    Field {
        name: "port",
        kind: Kind::Port,
        bits: 16,
        byte: 20,
        form: Form::Be16,
        mask: 0xffff,
        families: IP,
        doc: "the port to connect to, in host order; IPv4 and IPv6 only",
        ..of_payload(CONNECT, PLAIN)
    },
    Field {
        name: "addr",
        kind: Kind::Address,
        bits: 128,
        byte: 24,
        form: Form::Address,
        families: IP,
        doc: "the address to connect to; IPv4 and IPv6 only",
        ..of_payload(CONNECT, WIDE)
    },
    Field {
        name: "family",
        kind: Kind::Family,
        byte: FAMILY_OF_ADDRESS,
        doc: "the address family to bind to; 0 where the address is shorter than 2 bytes",
        ..of_payload(BIND, PLAIN)
    },
    Field {
        name: "port",
        kind: Kind::Port,
        bits: 16,
        byte: 20,
        form: Form::Be16,
        mask: 0xffff,
        families: IP,
        doc: "the port to bind to, in host order; IPv4 and IPv6 only; 0 lets the kernel choose",
        ..of_payload(BIND, PLAIN)
    },
    Field {
        name: "addr",
        kind: Kind::Address,
        bits: 128,
        byte: 24,
        form: Form::Address,
        families: IP,
        doc: "the address to bind to; IPv4 and IPv6 only",
        ..of_payload(BIND, WIDE)
    },
];

impl Field {
    /// The field of that name in the requests of an operation.
    pub fn of(operation: Opcode, name: &str) -> Option<&'static Self> {
        Self::all_of(operation).find(|field| field.name == name)
    }

    /// Every field of an operation.
    pub fn all_of(operation: Opcode) -> impl Iterator<Item = &'static Self> {
        FIELDS
            .iter()
            .filter(move |field| field.operations.is_empty() || field.operations.contains(&operation))
    }

    /// The words of the context that it is in, from 0.
    pub fn words(&self) -> Range<usize> {
        self.byte / 4..(self.byte + self.byte_len()).div_ceil(4)
    }

    /// How many bytes it takes there.
    pub(crate) fn byte_len(&self) -> usize {
        match self.form {
            Form::U8 => 1,
            Form::U16 | Form::Be16 => 2,
            Form::U32 => 4,
            Form::U64 => 8,
            Form::Address => 16,
        }
    }

    /// Whether no kernel's filters see it: only the guard holds rules on it.
    pub fn is_guards_own(&self) -> bool {
        self.since == KernelModel::Guard
    }

    /// Whether computing with it takes 64 bits.
    pub(crate) fn is_wide(&self) -> bool {
        self.form == Form::U64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_filter::sqe_bits;
    use ringwarden_uapi::bpf::BpfCtx;

    /// The first word of the SQE.
    const SQE: usize = BpfCtx::SIZE / 4;

    #[test]
    fn names_are_unique_within_an_operation() {
        for info in ringwarden_uapi::OPCODES {
            let mut names: Vec<_> = Field::all_of(info.opcode).map(|field| field.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{}", info.name);
        }
    }

    /// A request is given by the values of its fields.
    #[test]
    fn fields_of_an_operation_have_bits_of_their_own() {
        let bits = |field: &Field| {
            let (first, len) = (field.byte, field.byte_len());
            let mask = if field.form == Form::Address { u128::MAX } else { field.mask.into() };
            (0..8 * len).filter(move |bit| mask >> bit & 1 != 0).map(move |bit| 8 * first + bit)
        };
        for info in ringwarden_uapi::OPCODES {
            let mut all: Vec<_> = Field::all_of(info.opcode).flat_map(bits).collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count, "{}", info.name);
        }
    }

    #[test]
    fn every_model_that_shows_a_field_has_it_in_its_context() {
        for field in FIELDS {
            for model in KernelModel::WITH_GUARD {
                for &operation in field.operations {
                    let payload = 16 + usize::from(model.payload_size(operation));
                    let sqe = sqe_bits(model, operation);
                    let of_sqe = field.words().all(|word| word >= SQE && sqe[word - SQE] != 0);
                    let shown = field.words().end * 4 <= payload || of_sqe;
                    assert_eq!(shown, model >= field.since, "{} of {operation} on {model}", field.name);
                }
            }
        }
    }
}
