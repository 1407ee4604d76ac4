//! Instructions decoded: what the checker recognises is what the interpreter executes.

use crate::insn::*;
use core::num::NonZeroU32;

/// An instruction that io_uring filters may use, with its operands at hand. `K` in a name says that
/// the operand is in the instruction, `X` that it is in X.
///
/// One variant an opcode makes one jump an instruction in the interpreter. It is as small as
/// [`Insn`], so a decoded program costs the cache no more than a raw one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// A = that word of the context.
    LdAbs(u8),
    LdImm(u32),
    LdMem(u8),
    LdxImm(u32),
    LdxMem(u8),
    St(u8),
    Stx(u8),
    AddK(u32),
    AddX,
    SubK(u32),
    SubX,
    MulK(u32),
    MulX,
    DivK(NonZeroU32),
    DivX,
    OrK(u32),
    OrX,
    AndK(u32),
    AndX,
    LshK(u32),
    LshX,
    RshK(u32),
    RshX,
    XorK(u32),
    XorX,
    Neg,
    Ja(u32),
    JeqK(u32, Branch),
    JeqX(Branch),
    JgtK(u32, Branch),
    JgtX(Branch),
    JgeK(u32, Branch),
    JgeX(Branch),
    JsetK(u32, Branch),
    JsetX(Branch),
    RetK(u32),
    RetA,
    Tax,
    Txa,
}

const _: () = assert!(size_of::<Op>() == size_of::<Insn>());

/// How many instructions a conditional jump skips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Branch {
    pub(crate) jt: u8,
    pub(crate) jf: u8,
}

impl Branch {
    #[inline]
    pub(crate) fn skip(self, holds: bool) -> usize {
        usize::from(if holds { self.jt } else { self.jf })
    }
}

/// Why one instruction, looked at alone, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Opcode,
    Load,
    DivisionByZero,
    Shift,
    Cell,
}

/// Names whole opcodes: a pattern cannot be put together from fields.
macro_rules! opcodes {
    ($($name:ident = $($field:ident)|+;)*) => {
        $(const $name: u16 = $($field)|+;)*
    };
}

opcodes! {
    LD_ABS = BPF_LD | BPF_W | BPF_ABS;
    LD_LEN = BPF_LD | BPF_W | BPF_LEN;
    LD_IMM = BPF_LD | BPF_W | BPF_IMM;
    LD_MEM = BPF_LD | BPF_W | BPF_MEM;
    LDX_LEN = BPF_LDX | BPF_W | BPF_LEN;
    LDX_IMM = BPF_LDX | BPF_W | BPF_IMM;
    LDX_MEM = BPF_LDX | BPF_W | BPF_MEM;
    ADD_K = BPF_ALU | BPF_ADD | BPF_K;
    ADD_X = BPF_ALU | BPF_ADD | BPF_X;
    SUB_K = BPF_ALU | BPF_SUB | BPF_K;
    SUB_X = BPF_ALU | BPF_SUB | BPF_X;
    MUL_K = BPF_ALU | BPF_MUL | BPF_K;
    MUL_X = BPF_ALU | BPF_MUL | BPF_X;
    DIV_K = BPF_ALU | BPF_DIV | BPF_K;
    DIV_X = BPF_ALU | BPF_DIV | BPF_X;
    OR_K = BPF_ALU | BPF_OR | BPF_K;
    OR_X = BPF_ALU | BPF_OR | BPF_X;
    AND_K = BPF_ALU | BPF_AND | BPF_K;
    AND_X = BPF_ALU | BPF_AND | BPF_X;
    LSH_K = BPF_ALU | BPF_LSH | BPF_K;
    LSH_X = BPF_ALU | BPF_LSH | BPF_X;
    RSH_K = BPF_ALU | BPF_RSH | BPF_K;
    RSH_X = BPF_ALU | BPF_RSH | BPF_X;
    XOR_K = BPF_ALU | BPF_XOR | BPF_K;
    XOR_X = BPF_ALU | BPF_XOR | BPF_X;
    NEG = BPF_ALU | BPF_NEG;
    JA = BPF_JMP | BPF_JA;
    JEQ_K = BPF_JMP | BPF_JEQ | BPF_K;
    JEQ_X = BPF_JMP | BPF_JEQ | BPF_X;
    JGT_K = BPF_JMP | BPF_JGT | BPF_K;
    JGT_X = BPF_JMP | BPF_JGT | BPF_X;
    JGE_K = BPF_JMP | BPF_JGE | BPF_K;
    JGE_X = BPF_JMP | BPF_JGE | BPF_X;
    JSET_K = BPF_JMP | BPF_JSET | BPF_K;
    JSET_X = BPF_JMP | BPF_JSET | BPF_X;
    RET_K = BPF_RET | BPF_K;
    RET_A = BPF_RET | BPF_A;
    TAX = BPF_MISC | BPF_TAX;
    TXA = BPF_MISC | BPF_TXA;
}

impl Op {
    /// Decodes an instruction for a context of that many bytes. `jt` and `jf` of anything but a
    /// conditional jump are ignored, and so is `k` where the instruction has no use for it, as the
    /// kernel ignores them. How far jumps go is not looked at.
    pub(crate) fn decode(insn: Insn, context_bytes: u32) -> Result<Self, Refusal> {
        let Insn { code, jt, jf, k } = insn;
        let branch = Branch { jt, jf };
        Ok(match code {
            LD_ABS => Op::LdAbs(word(k, context_bytes)?),
            LD_LEN => Op::LdImm(context_bytes),
            LD_IMM => Op::LdImm(k),
            LD_MEM => Op::LdMem(cell(k)?),
            LDX_LEN => Op::LdxImm(context_bytes),
            LDX_IMM => Op::LdxImm(k),
            LDX_MEM => Op::LdxMem(cell(k)?),
            BPF_ST => Op::St(cell(k)?),
            BPF_STX => Op::Stx(cell(k)?),
            ADD_K => Op::AddK(k),
            ADD_X => Op::AddX,
            SUB_K => Op::SubK(k),
            SUB_X => Op::SubX,
            MUL_K => Op::MulK(k),
            MUL_X => Op::MulX,
            DIV_K => Op::DivK(NonZeroU32::new(k).ok_or(Refusal::DivisionByZero)?),
            DIV_X => Op::DivX,
            OR_K => Op::OrK(k),
            OR_X => Op::OrX,
            AND_K => Op::AndK(k),
            AND_X => Op::AndX,
            LSH_K => Op::LshK(shift(k)?),
            LSH_X => Op::LshX,
            RSH_K => Op::RshK(shift(k)?),
            RSH_X => Op::RshX,
            XOR_K => Op::XorK(k),
            XOR_X => Op::XorX,
            NEG => Op::Neg,
            JA => Op::Ja(k),
            JEQ_K => Op::JeqK(k, branch),
            JEQ_X => Op::JeqX(branch),
            JGT_K => Op::JgtK(k, branch),
            JGT_X => Op::JgtX(branch),
            JGE_K => Op::JgeK(k, branch),
            JGE_X => Op::JgeX(branch),
            JSET_K => Op::JsetK(k, branch),
            JSET_X => Op::JsetX(branch),
            RET_K => Op::RetK(k),
            RET_A => Op::RetA,
            TAX => Op::Tax,
            TXA => Op::Txa,
            _ => return Err(Refusal::Opcode),
        })
    }

    /// The distances of a jump: one, two that its condition chooses from, or none.
    pub(crate) fn distances(self) -> impl Iterator<Item = u32> {
        let (first, second) = match self {
            Op::Ja(k) => (Some(k), None),
            Op::JeqK(_, branch)
            | Op::JgtK(_, branch)
            | Op::JgeK(_, branch)
            | Op::JsetK(_, branch)
            | Op::JeqX(branch)
            | Op::JgtX(branch)
            | Op::JgeX(branch)
            | Op::JsetX(branch) => (Some(branch.jt.into()), Some(branch.jf.into())),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }
}

fn word(k: u32, context_bytes: u32) -> Result<u8, Refusal> {
    if k.is_multiple_of(4) && k < context_bytes { Ok((k / 4) as u8) } else { Err(Refusal::Load) }
}

fn cell(k: u32) -> Result<u8, Refusal> {
    if k < BPF_MEMWORDS { Ok(k as u8) } else { Err(Refusal::Cell) }
}

fn shift(k: u32) -> Result<u32, Refusal> {
    if k < u32::BITS { Ok(k) } else { Err(Refusal::Shift) }
}
