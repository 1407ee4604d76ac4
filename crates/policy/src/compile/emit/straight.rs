//! Words to code without jumps.

use super::TooLong;
use crate::compile::word::{Alu, Node, Word};
use ringwarden_cbpf::insn::*;

/// Code without jumps that leaves a word in A. Cells from `free` on may be used.
pub(super) fn code(word: &Word, free: u32) -> Result<Vec<Insn>, TooLong> {
    if word.size() as usize > BPF_MAXINSNS {
        return Err(TooLong);
    }
    Ok(match word.node() {
        Node::Const(value) => vec![Insn::stmt(BPF_LD | BPF_W | BPF_IMM, *value)],
        Node::Load(byte) => vec![Insn::stmt(BPF_LD | BPF_W | BPF_ABS, *byte)],
        Node::Op { op, left, right, .. } => {
            let (mut code, source, k) = match right.as_const() {
                Some(k) => (self::code(left, free)?, BPF_K, k),
                None => (with_x(left, right, free)?, BPF_X, 0),
            };
            code.push(Insn::stmt(BPF_ALU | operation(*op) | source, k));
            code
        }
    })
}

fn operation(op: Alu) -> u16 {
    match op {
        Alu::Add => BPF_ADD,
        Alu::Sub => BPF_SUB,
        Alu::And => BPF_AND,
        Alu::Or => BPF_OR,
        Alu::Xor => BPF_XOR,
        Alu::Shl => BPF_LSH,
        Alu::Shr => BPF_RSH,
    }
}

/// Code that leaves one word in A and another in X.
///
/// Only the second of the two is computed with a cell less, and it is the smaller one: a word of n
/// nodes takes no more than log2(n) cells, and no program is long enough to take all 16.
pub(super) fn with_x(a: &Word, x: &Word, free: u32) -> Result<Vec<Insn>, TooLong> {
    let first_is_x = !a.needs_x() || x.size() >= a.size();
    let mut code = code(if first_is_x { x } else { a }, free)?;
    if !a.needs_x() {
        code.push(Insn::stmt(BPF_MISC | BPF_TAX, 0));
        code.extend(self::code(a, free)?);
        return Ok(code);
    }
    code.push(Insn::stmt(BPF_ST, free));
    if first_is_x {
        code.extend(self::code(a, free + 1)?);
        code.push(Insn::stmt(BPF_LDX | BPF_W | BPF_MEM, free));
    } else {
        code.extend(self::code(x, free + 1)?);
        code.push(Insn::stmt(BPF_MISC | BPF_TAX, 0));
        code.push(Insn::stmt(BPF_LD | BPF_W | BPF_MEM, free));
    }
    Ok(code)
}
