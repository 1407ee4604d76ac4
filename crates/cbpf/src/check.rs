//! The kernel's checker: which programs io_uring accepts.
//!
//! Linux runs two passes over a filter, `bpf_check_classic` (`net/core/filter.c`), which every
//! classic program meets, and io_uring's own (`io_uring/bpf_filter.c`), which leaves a subset of
//! the language. Both answer EINVAL and nothing else; [`CheckError`] says more. The table of what
//! is accepted and refused, as observed on Linux 7.2, is `conformance/programs.toml`.

use crate::insn::{BPF_MAXINSNS, Insn};
use crate::op::{Op, Refusal};
use alloc::vec;
use alloc::vec::Vec;

/// The largest context in bytes: 32 words, so that a set of words is a `u32`. The contexts of the
/// kernels have 40 bytes (Linux 7.0 to 7.3) and 64 (the patch as posted in January 2026).
pub const MAX_CONTEXT_BYTES: usize = 128;

/// Why the kernel refuses a program. It says EINVAL to every one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// No instructions, or more than [`BPF_MAXINSNS`].
    #[error("a program has 1 to {BPF_MAXINSNS} instructions, not {len}")]
    Length {
        /// How many it has.
        len: usize,
    },
    /// A context that no kernel has: not whole words, or more than [`MAX_CONTEXT_BYTES`]. The
    /// caller's mistake, not the program's.
    #[error("a context has at most {MAX_CONTEXT_BYTES} bytes in whole words, not {bytes}")]
    Context {
        /// The size asked for.
        bytes: usize,
    },
    /// An opcode that classic BPF does not have, or one that io_uring leaves out: byte and halfword
    /// loads, IND, MSH, MOD.
    #[error("instruction {index}: io_uring filters have no opcode {code:#04x}")]
    Opcode {
        /// Which instruction, counted from 0.
        index: usize,
        /// Its opcode.
        code: u16,
    },
    /// A load at an offset that is not a multiple of 4 or not inside the context; the offsets that
    /// socket filters use for ancillary data are among those.
    #[error("instruction {index}: no word at byte {k:#x} of a context of {context_bytes} bytes")]
    Load {
        /// Which instruction, counted from 0.
        index: usize,
        /// The offset in bytes.
        k: u32,
        /// The size of the context in bytes.
        context_bytes: usize,
    },
    /// A division by the constant 0.
    #[error("instruction {index}: division by zero")]
    DivisionByZero {
        /// Which instruction, counted from 0.
        index: usize,
    },
    /// A shift by a constant of 32 or more.
    #[error("instruction {index}: shift by {k}, more than 31")]
    Shift {
        /// Which instruction, counted from 0.
        index: usize,
        /// The count.
        k: u32,
    },
    /// A scratch cell that does not exist: [`BPF_MEMWORDS`](crate::insn::BPF_MEMWORDS) or above.
    #[error("instruction {index}: no scratch cell M[{k}], the last is M[15]")]
    Cell {
        /// Which instruction, counted from 0.
        index: usize,
        /// The cell's number.
        k: u32,
    },
    /// A jump past the last instruction.
    #[error("instruction {index}: jump to {target}, past the last instruction")]
    Jump {
        /// Which instruction, counted from 0.
        index: usize,
        /// The instruction that it would go on with.
        target: u64,
    },
    /// The last instruction does not end the program.
    #[error("instruction {index}: the last instruction must be a RET")]
    NoReturn {
        /// Which instruction, counted from 0.
        index: usize,
    },
    /// A load of a scratch cell that nothing has been stored in, on at least one path.
    #[error("instruction {index}: M[{cell}] may be read before anything is stored there")]
    Uninitialised {
        /// Which instruction, counted from 0.
        index: usize,
        /// The cell's number.
        cell: u8,
    },
}

impl CheckError {
    /// The instruction at fault, counted from 0, or `None` when it is the program as a whole.
    pub const fn index(&self) -> Option<usize> {
        match *self {
            Self::Length { .. } | Self::Context { .. } => None,
            Self::Opcode { index, .. }
            | Self::Load { index, .. }
            | Self::DivisionByZero { index }
            | Self::Shift { index, .. }
            | Self::Cell { index, .. }
            | Self::Jump { index, .. }
            | Self::NoReturn { index }
            | Self::Uninitialised { index, .. } => Some(index),
        }
    }
}

/// Says whether the kernel would accept a program for a context of that many bytes.
///
/// ```
/// use ringwarden_cbpf::{CheckError, Insn, check, insn::*};
///
/// let load = |k| [Insn::stmt(BPF_LD | BPF_W | BPF_ABS, k), Insn::stmt(BPF_RET | BPF_A, 0)];
/// assert_eq!(check(&load(36), 40), Ok(()));
/// assert_eq!(check(&load(40), 40), Err(CheckError::Load { index: 0, k: 40, context_bytes: 40 }));
/// assert_eq!(check(&load(40), 64), Ok(()));
/// ```
///
/// # Errors
/// The first thing found wrong: instructions one by one in order, then the end of the program, then
/// what its paths leave unset. The kernel would answer EINVAL.
pub fn check(insns: &[Insn], context_bytes: usize) -> Result<(), CheckError> {
    decode(insns, context_bytes).map(drop)
}

/// Checks a program and keeps what the check has decoded.
pub(crate) fn decode(insns: &[Insn], context_bytes: usize) -> Result<Vec<Op>, CheckError> {
    if insns.is_empty() || insns.len() > BPF_MAXINSNS {
        return Err(CheckError::Length { len: insns.len() });
    }
    if context_bytes > MAX_CONTEXT_BYTES || !context_bytes.is_multiple_of(4) {
        return Err(CheckError::Context { bytes: context_bytes });
    }
    let mut ops = Vec::with_capacity(insns.len());
    for (index, &insn) in insns.iter().enumerate() {
        let Insn { code, k, .. } = insn;
        let op = Op::decode(insn, context_bytes as u32).map_err(|refusal| match refusal {
            Refusal::Opcode => CheckError::Opcode { index, code },
            Refusal::Load => CheckError::Load { index, k, context_bytes },
            Refusal::DivisionByZero => CheckError::DivisionByZero { index },
            Refusal::Shift => CheckError::Shift { index, k },
            Refusal::Cell => CheckError::Cell { index, k },
        })?;
        let target = |distance: u32| index as u64 + 1 + u64::from(distance);
        if let Some(target) = op.distances().map(target).find(|&target| target >= insns.len() as u64) {
            return Err(CheckError::Jump { index, target });
        }
        ops.push(op);
    }
    if !matches!(ops.last(), Some(Op::RetK(_) | Op::RetA)) {
        return Err(CheckError::NoReturn { index: insns.len() - 1 });
    }
    check_cells(&ops)?;
    Ok(ops)
}

/// Every scratch cell set: what holds for instructions that no path has reached yet.
const ALL: u16 = u16::MAX;

/// Checks that no path reads a scratch cell before it has stored to it.
///
/// One pass is enough, as all jumps go forwards: when an instruction is met, everything that can
/// lead to it has been seen. Like the kernel, this takes a RET for an instruction that the next one
/// follows, and what follows a jump without being a target for unreachable, hence for sound.
fn check_cells(ops: &[Op]) -> Result<(), CheckError> {
    let mut set_before = vec![ALL; ops.len()];
    let mut set = 0;
    for (index, op) in ops.iter().enumerate() {
        set &= set_before[index];
        match *op {
            Op::St(cell) | Op::Stx(cell) => set |= 1 << cell,
            Op::LdMem(cell) | Op::LdxMem(cell) if set & (1 << cell) == 0 => {
                return Err(CheckError::Uninitialised { index, cell });
            }
            _ => {}
        }
        let set_here = set;
        for distance in op.distances() {
            set_before[index + 1 + distance as usize] &= set_here;
            set = ALL;
        }
    }
    Ok(())
}
