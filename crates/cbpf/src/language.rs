//! The instructions of the text form: one table that assembler and disassembler both go by, so that
//! they cannot disagree.

use crate::insn::*;

/// How an instruction's operand is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Nothing,
    Constant,
    A,
    X,
    Cell,
    Len,
    Byte,
    IndexedByte,
    HeaderLength,
    Label,
}

impl Operand {
    /// Its form, with `k` for the number in it.
    pub(crate) const fn form(self) -> &'static str {
        match self {
            Operand::Nothing => "no operand",
            Operand::Constant => "`#k`",
            Operand::A => "`a`",
            Operand::X => "`x`",
            Operand::Cell => "`M[k]`",
            Operand::Len => "`len`",
            Operand::Byte => "`[k]`",
            Operand::IndexedByte => "`[x + k]`",
            Operand::HeaderLength => "`4*([k]&0xf)`",
            Operand::Label => "a label",
        }
    }

    /// Whether it has a use for the instruction's `k`.
    pub(crate) const fn uses_k(self) -> bool {
        !matches!(self, Operand::Nothing | Operand::A | Operand::X | Operand::Len)
    }
}

/// One opcode with its name and the form of its operand; no two have both in common.
pub(crate) struct Form {
    pub(crate) code: u16,
    pub(crate) name: &'static str,
    pub(crate) operand: Operand,
}

impl Form {
    /// Whether one or two labels follow the operand.
    pub(crate) const fn is_comparison(&self) -> bool {
        self.code & 0x07 == BPF_JMP && !matches!(self.operand, Operand::Label)
    }
}

macro_rules! forms {
    ($($name:literal: $($operand:ident = $($field:ident)|+),+;)*) => {
        /// All of classic BPF, what io_uring filters may not use included.
        pub(crate) const FORMS: &[Form] = &[$($(
            Form { code: $($field)|+, name: $name, operand: Operand::$operand },
        )+)*];
    };
}

forms! {
    "ld": Constant = BPF_LD | BPF_W | BPF_IMM, Cell = BPF_LD | BPF_W | BPF_MEM,
        Len = BPF_LD | BPF_W | BPF_LEN, Byte = BPF_LD | BPF_W | BPF_ABS,
        IndexedByte = BPF_LD | BPF_W | BPF_IND;
    "ldh": Byte = BPF_LD | BPF_H | BPF_ABS, IndexedByte = BPF_LD | BPF_H | BPF_IND;
    "ldb": Byte = BPF_LD | BPF_B | BPF_ABS, IndexedByte = BPF_LD | BPF_B | BPF_IND;
    "ldx": Constant = BPF_LDX | BPF_W | BPF_IMM, Cell = BPF_LDX | BPF_W | BPF_MEM,
        Len = BPF_LDX | BPF_W | BPF_LEN;
    "ldxb": HeaderLength = BPF_LDX | BPF_B | BPF_MSH;
    "st": Cell = BPF_ST;
    "stx": Cell = BPF_STX;
    "add": Constant = BPF_ALU | BPF_ADD | BPF_K, X = BPF_ALU | BPF_ADD | BPF_X;
    "sub": Constant = BPF_ALU | BPF_SUB | BPF_K, X = BPF_ALU | BPF_SUB | BPF_X;
    "mul": Constant = BPF_ALU | BPF_MUL | BPF_K, X = BPF_ALU | BPF_MUL | BPF_X;
    "div": Constant = BPF_ALU | BPF_DIV | BPF_K, X = BPF_ALU | BPF_DIV | BPF_X;
    "mod": Constant = BPF_ALU | BPF_MOD | BPF_K, X = BPF_ALU | BPF_MOD | BPF_X;
    "and": Constant = BPF_ALU | BPF_AND | BPF_K, X = BPF_ALU | BPF_AND | BPF_X;
    "or": Constant = BPF_ALU | BPF_OR | BPF_K, X = BPF_ALU | BPF_OR | BPF_X;
    "xor": Constant = BPF_ALU | BPF_XOR | BPF_K, X = BPF_ALU | BPF_XOR | BPF_X;
    "lsh": Constant = BPF_ALU | BPF_LSH | BPF_K, X = BPF_ALU | BPF_LSH | BPF_X;
    "rsh": Constant = BPF_ALU | BPF_RSH | BPF_K, X = BPF_ALU | BPF_RSH | BPF_X;
    "neg": Nothing = BPF_ALU | BPF_NEG;
    "tax": Nothing = BPF_MISC | BPF_TAX;
    "txa": Nothing = BPF_MISC | BPF_TXA;
    "jmp": Label = BPF_JMP | BPF_JA;
    "jeq": Constant = BPF_JMP | BPF_JEQ | BPF_K, X = BPF_JMP | BPF_JEQ | BPF_X;
    "jgt": Constant = BPF_JMP | BPF_JGT | BPF_K, X = BPF_JMP | BPF_JGT | BPF_X;
    "jge": Constant = BPF_JMP | BPF_JGE | BPF_K, X = BPF_JMP | BPF_JGE | BPF_X;
    "jset": Constant = BPF_JMP | BPF_JSET | BPF_K, X = BPF_JMP | BPF_JSET | BPF_X;
    "ret": Constant = BPF_RET | BPF_K, A = BPF_RET | BPF_A, X = BPF_RET | BPF_X;
}

/// Comparisons that the machine lacks: the name, and the one that asks for the opposite.
pub(crate) const OPPOSITES: [(&str, &str); 3] = [("jne", "jeq"), ("jle", "jgt"), ("jlt", "jge")];
