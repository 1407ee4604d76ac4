//! A second machine, as plain as the definition of the language, to hold the real one against.
//!
//! It shares nothing with the checker and the interpreter but [`Insn`]: opcodes are bare numbers,
//! paths are walked one by one, arithmetic is on 64 bits and cut off, scratch cells know whether
//! they have been written. Slow, and meant to be.

use crate::Insn;
use alloc::collections::BTreeSet;

/// Whether the kernel would take the program.
pub(super) fn accepts(insns: &[Insn], context_bytes: usize) -> bool {
    (1..=4096).contains(&insns.len())
        && [0, 4, 40, 64, 128].contains(&context_bytes)
        && (0..insns.len()).all(|at| acceptable(insns, at, context_bytes))
        && matches!(insns[insns.len() - 1].code, 0x06 | 0x16)
        && every_path_writes_first(insns, 0, 0, &mut BTreeSet::new())
}

/// Whether one instruction is in the language and its fields are in range.
fn acceptable(insns: &[Insn], at: usize, context_bytes: usize) -> bool {
    let Insn { code, jt, jf, k } = insns[at];
    let after = insns.len() - at - 1;
    match code {
        0x20 => k % 4 == 0 && (k as usize) < context_bytes,
        0x00 | 0x01 | 0x80 | 0x81 => true,
        0x02 | 0x03 | 0x60 | 0x61 => k < 16,
        0x34 => k != 0,
        0x64 | 0x74 => k < 32,
        0x04 | 0x14 | 0x24 | 0x44 | 0x54 | 0xa4 | 0x84 => true,
        0x0c | 0x1c | 0x2c | 0x3c | 0x4c | 0x5c | 0x6c | 0x7c | 0xac => true,
        0x05 => (k as usize) < after,
        0x15 | 0x25 | 0x35 | 0x45 | 0x1d | 0x2d | 0x3d | 0x4d => {
            usize::from(jt) < after && usize::from(jf) < after
        }
        0x06 | 0x16 | 0x07 | 0x87 => true,
        _ => false,
    }
}

/// Whether no path that goes on at `at`, with the cells of the set `written`, reads an unwritten
/// cell. As in the kernel, a path does not end at a RET that is not the last instruction.
fn every_path_writes_first(
    insns: &[Insn],
    at: usize,
    written: u16,
    walked: &mut BTreeSet<(usize, u16)>,
) -> bool {
    if at == insns.len() || !walked.insert((at, written)) {
        return true;
    }
    let Insn { code, jt, jf, k } = insns[at];
    match code {
        0x60 | 0x61 if written >> k & 1 == 0 => false,
        0x02 | 0x03 => every_path_writes_first(insns, at + 1, written | 1 << k, walked),
        0x05 => every_path_writes_first(insns, at + 1 + k as usize, written, walked),
        _ if code % 8 == 5 => [jt, jf]
            .into_iter()
            .all(|distance| every_path_writes_first(insns, at + 1 + usize::from(distance), written, walked)),
        _ => every_path_writes_first(insns, at + 1, written, walked),
    }
}

/// How a run went.
pub(super) struct Run {
    pub(super) value: u32,
    /// The words of the context that it read.
    pub(super) loads: u32,
}

/// Runs an accepted program.
///
/// # Panics
/// Where it reads a word or a cell that does not exist or was never written, leaves the program or
/// takes more steps than there are instructions.
pub(super) fn run(insns: &[Insn], context_bytes: usize, context: &[u32]) -> Run {
    let (mut a, mut x, mut at, mut loads) = (0u64, 0u64, 0, 0);
    let mut cells = [None; 16];
    for _ in insns {
        let Insn { code, jt, jf, k } = insns[at];
        at += 1;
        let operand = if code & 8 == 0 { u64::from(k) } else { x };
        let branch = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => {
                loads |= 1 << (k / 4);
                a = context[k as usize / 4].into();
            }
            0x00 => a = k.into(),
            0x01 => x = k.into(),
            0x80 => a = context_bytes as u64,
            0x81 => x = context_bytes as u64,
            0x60 => a = cells[k as usize].expect("a written cell"),
            0x61 => x = cells[k as usize].expect("a written cell"),
            0x02 => cells[k as usize] = Some(a),
            0x03 => cells[k as usize] = Some(x),
            0x04 | 0x0c => a += operand,
            0x14 | 0x1c => a += (1 << 32) - operand,
            0x24 | 0x2c => a *= operand,
            0x34 | 0x3c if operand == 0 => return Run { value: 0, loads },
            0x34 | 0x3c => a /= operand,
            0x44 | 0x4c => a |= operand,
            0x54 | 0x5c => a &= operand,
            0x64 | 0x6c => a <<= operand % 32,
            0x74 | 0x7c => a >>= operand % 32,
            0xa4 | 0xac => a ^= operand,
            0x84 => a = (1 << 32) - a,
            0x05 => at += k as usize,
            0x15 | 0x1d => at += branch(a == operand),
            0x25 | 0x2d => at += branch(a > operand),
            0x35 | 0x3d => at += branch(a >= operand),
            0x45 | 0x4d => at += branch(a & operand != 0),
            0x06 => return Run { value: k, loads },
            0x16 => return Run { value: a as u32, loads },
            0x07 => x = a,
            0x87 => a = x,
            _ => panic!("opcode {code:#x} in an accepted program"),
        }
        a %= 1 << 32;
    }
    panic!("no RET after {} steps", insns.len())
}
