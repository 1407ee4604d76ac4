//! Instructions as this crate reads them: what is moved where, and what comes next.

use ringwarden_cbpf::insn::*;
use ringwarden_cbpf::{Insn, Program};

/// The registers of the machine: A, X and the scratch cells.
pub(crate) const REGISTERS: usize = 2 + BPF_MEMWORDS as usize;
pub(crate) const A: usize = 0;
pub(crate) const X: usize = 1;

/// Where an operand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Constant(u32),
    /// That word of the context.
    Context(usize),
    Register(usize),
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Loads, stores, moves.
    Move {
        to: usize,
        from: Value,
    },
    /// A = A and the value, joined.
    Arithmetic(Arithmetic, Value),
    /// A = -A.
    Negate,
    /// Go on with that instruction.
    Jump(usize),
    /// Go on with one of two, as A compares with the value.
    Branch {
        test: Test,
        with: Value,
        holds: usize,
        fails: usize,
    },
    Return(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Or,
    And,
    ShiftLeft,
    ShiftRight,
    Xor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyBit,
}

/// A program's instructions, or `None` if there is one that this crate does not know.
pub(crate) fn decode(program: &Program) -> Option<Vec<Operation>> {
    let bytes = program.context_bytes() as u32;
    program.insns().iter().enumerate().map(|(index, insn)| operation(index, *insn, bytes)).collect()
}

pub(crate) fn operation(index: usize, insn: Insn, context_bytes: u32) -> Option<Operation> {
    let Insn { code, jt, jf, k } = insn;
    let after = |distance: u32| index + 1 + distance as usize;
    let operand = if code & BPF_X != 0 { Value::Register(X) } else { Value::Constant(k) };
    let cell = |k: u32| 2 + k as usize;
    Some(match code & 7 {
        class @ (BPF_LD | BPF_LDX) => Operation::Move {
            to: if class == BPF_LD { A } else { X },
            from: match code & !7 {
                BPF_ABS if class == BPF_LD => Value::Context((k / 4) as usize),
                BPF_IMM => Value::Constant(k),
                BPF_MEM => Value::Register(cell(k)),
                BPF_LEN => Value::Constant(context_bytes),
                _ => return None,
            },
        },
        BPF_ST => Operation::Move { to: cell(k), from: Value::Register(A) },
        BPF_STX => Operation::Move { to: cell(k), from: Value::Register(X) },
        BPF_ALU => match code & 0xf0 {
            BPF_NEG => Operation::Negate,
            op => Operation::Arithmetic(arithmetic(op)?, operand),
        },
        BPF_JMP => match code & 0xf0 {
            BPF_JA => Operation::Jump(after(k)),
            op => Operation::Branch {
                test: test(op)?,
                with: operand,
                holds: after(jt.into()),
                fails: after(jf.into()),
            },
        },
        BPF_RET => Operation::Return(if code & BPF_A != 0 { Value::Register(A) } else { Value::Constant(k) }),
        // BPF_MISC: its two moves.
        _ if code & 0xf8 == BPF_TAX => Operation::Move { to: X, from: Value::Register(A) },
        _ if code & 0xf8 == BPF_TXA => Operation::Move { to: A, from: Value::Register(X) },
        _ => return None,
    })
}

fn arithmetic(op: u16) -> Option<Arithmetic> {
    Some(match op {
        BPF_ADD => Arithmetic::Add,
        BPF_SUB => Arithmetic::Sub,
        BPF_MUL => Arithmetic::Mul,
        BPF_DIV => Arithmetic::Div,
        BPF_OR => Arithmetic::Or,
        BPF_AND => Arithmetic::And,
        BPF_LSH => Arithmetic::ShiftLeft,
        BPF_RSH => Arithmetic::ShiftRight,
        BPF_XOR => Arithmetic::Xor,
        _ => return None,
    })
}

fn test(op: u16) -> Option<Test> {
    Some(match op {
        BPF_JEQ => Test::Equal,
        BPF_JGT => Test::Greater,
        BPF_JGE => Test::GreaterOrEqual,
        BPF_JSET => Test::AnyBit,
        _ => return None,
    })
}

impl Operation {
    /// The instructions that can come after this one, which is at `index`.
    pub(crate) fn next(self, index: usize) -> impl Iterator<Item = usize> {
        let (first, second) = match self {
            Self::Return(_) => (None, None),
            Self::Jump(to) => (Some(to), None),
            Self::Branch { holds, fails, .. } => (Some(holds), Some(fails)),
            _ => (Some(index + 1), None),
        };
        first.into_iter().chain(second)
    }

    /// The registers it reads and those it writes, bit *n* for register *n*.
    pub(crate) fn accesses(self) -> (u32, u32) {
        let read = |value| match value {
            Value::Register(register) => 1 << register,
            _ => 0,
        };
        match self {
            Self::Move { to, from } => (read(from), 1 << to),
            Self::Arithmetic(_, value) => (1 << A | read(value), 1 << A),
            Self::Negate => (1 << A, 1 << A),
            Self::Jump(_) => (0, 0),
            Self::Branch { with, .. } => (1 << A | read(with), 0),
            Self::Return(value) => (read(value), 0),
        }
    }
}

/// For every instruction the registers that some path from there reads before it writes them, bit *n*
/// for register *n*. One pass from the end is enough, as all jumps go forwards.
pub(crate) fn live(code: &[Operation]) -> Vec<u32> {
    let mut live = vec![0; code.len()];
    for (index, operation) in code.iter().enumerate().rev() {
        let after =
            operation.next(index).filter_map(|next| live.get(next)).fold(0, |after, next| after | next);
        let (reads, writes) = operation.accesses();
        live[index] = reads | after & !writes;
    }
    live
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_cbpf::asm::assemble;

    fn decoded(text: &str) -> Vec<Operation> {
        let insns = assemble(text).expect("a text");
        decode(&Program::new(&insns, 40).expect("an accepted program")).expect("known instructions")
    }

    #[test]
    fn what_is_overwritten_is_not_live() {
        let code = decoded("ld [0]\n tax\n ld [4]\n jeq x, yes\n ld [8]\n ret a\n yes: ret #1");
        assert_eq!(live(&code), [0, 1 << A, 1 << X, 1 << A | 1 << X, 0, 1 << A, 0]);
    }

    #[test]
    fn registers_at_the_start_are_zero_and_may_be_read() {
        assert_eq!(live(&decoded("jeq #0, yes\n txa\n ret a\n yes: ret #1"))[0], 1 << A | 1 << X);
    }
}
