//! [`Registration`]: a filter to add to a set, and why it may not be.

use crate::{Errno, KernelModel};
use ringwarden_cbpf::{CheckError, Insn};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::{FilterFlags, MAX_INSNS};
use thiserror::Error;

/// A filter to add to a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The opcode whose requests it judges.
    pub opcode: Opcode,
    /// DENY_REST, SZ_STRICT.
    pub flags: FilterFlags,
    /// The size in bytes of the payload that the program was written for.
    pub pdu_size: u8,
    /// The program, at most [`MAX_INSNS`] instructions.
    pub insns: Vec<Insn>,
    /// What a denial by this filter names it by.
    pub tag: u32,
}

impl Registration {
    /// A program for an opcode, without flags, without payload, tagged 0.
    pub fn new(opcode: Opcode, insns: &[Insn]) -> Self {
        Self { opcode, flags: FilterFlags::empty(), pdu_size: 0, insns: insns.to_vec(), tag: 0 }
    }
}

/// Why a filter is not registered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// EINVAL.
    #[error("Linux {model} has no opcode {}", .opcode.0)]
    UnknownOpcode {
        /// The opcode.
        opcode: Opcode,
        /// The kernel.
        model: KernelModel,
    },
    /// EINVAL.
    #[error("Linux {model} has no filter flags {:#x}", .flags.bits())]
    UnknownFlags {
        /// Those that are unknown.
        flags: FilterFlags,
        /// The kernel.
        model: KernelModel,
    },
    /// EINVAL.
    #[error("a program of {len} instructions; it must have 1 to {MAX_INSNS}")]
    Length {
        /// How many it has.
        len: usize,
    },
    /// EMSGSIZE.
    #[error("written for {asked} bytes of {opcode} payload where the kernel has {kernel}")]
    PayloadSize {
        /// The opcode.
        opcode: Opcode,
        /// What the registration says.
        asked: u8,
        /// What the kernel gives.
        kernel: u8,
    },
    /// EINVAL.
    #[error("the program is refused: {0}")]
    Program(#[from] CheckError),
}

impl RegisterError {
    /// What `io_uring_register(2)` fails with.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::PayloadSize { .. } => Errno::EMSGSIZE,
            _ => Errno::EINVAL,
        }
    }
}

impl From<RegisterError> for Errno {
    fn from(error: RegisterError) -> Self {
        error.errno()
    }
}
