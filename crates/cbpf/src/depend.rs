//! Whether a program's verdict depends on certain bits of its context.
//!
//! Loading a word is not yet depending on all of it: who tests one flag of a word does not care about its
//! others. So the program is walked once with, for each register and cell, the bits that may come out
//! differently if the bits in question did, all others being the same. What it says is safe: a program that
//! may be independent of them for a reason beyond this (a jump that leads to the same end either way, say)
//! counts as depending.

use crate::insn::BPF_MEMWORDS;
use crate::op::Op;
use alloc::vec;
use alloc::vec::Vec;

const CELLS: usize = BPF_MEMWORDS as usize;

/// Before an instruction: which bits of A, X and the cells may differ.
#[derive(Clone, Copy, Default)]
struct State {
    a: u32,
    x: u32,
    cells: [u32; CELLS],
}

impl State {
    /// What may differ when either may have come before.
    fn join(&mut self, other: &Self) {
        self.a |= other.a;
        self.x |= other.x;
        for (cell, other) in self.cells.iter_mut().zip(other.cells) {
            *cell |= other;
        }
    }
}

/// Whether the verdict (0 or not) of a checked program may change with bits of its context: those that
/// are set in `bits`, word by word; further words have none.
pub(crate) fn depends(ops: &[Op], bits: &[u32]) -> bool {
    let mut before: Vec<Option<State>> = vec![None; ops.len()];
    if let Some(first) = before.first_mut() {
        *first = Some(State::default());
    }
    // Jumps lead forward only, so that whatever leads to an instruction has been seen before it.
    for (index, &op) in ops.iter().enumerate() {
        let Some(mut state) = before[index].take() else { continue };
        if state.decides(op) {
            return true;
        }
        state.pass(op, bits);
        let returns = matches!(op, Op::RetK(_) | Op::RetA);
        let falls_through = !returns && op.distances().next().is_none();
        let skips = op.distances().chain(falls_through.then_some(0));
        for skip in skips {
            match before.get_mut(index + 1 + skip as usize) {
                Some(Some(joined)) => joined.join(&state),
                Some(slot) => *slot = Some(state),
                None => {}
            }
        }
    }
    false
}

impl State {
    /// Whether what may differ decides where the program goes on, or what it returns.
    fn decides(&self, op: Op) -> bool {
        let bits = match op {
            Op::JsetK(k, _) => self.a & k,
            Op::JeqK(..) | Op::JgtK(..) | Op::JgeK(..) | Op::RetA => self.a,
            Op::JeqX(_) | Op::JgtX(_) | Op::JgeX(_) | Op::JsetX(_) => self.a | self.x,
            // Division by 0 returns.
            Op::DivX => self.x,
            _ => 0,
        };
        bits != 0
    }

    /// What may differ behind an instruction.
    fn pass(&mut self, op: Op, bits: &[u32]) {
        let Self { a, x, cells } = self;
        let cell = |cell: u8| usize::from(cell) % CELLS;
        match op {
            Op::LdAbs(word) => *a = bits.get(usize::from(word)).copied().unwrap_or(0),
            Op::LdImm(_) => *a = 0,
            Op::LdMem(from) => *a = cells[cell(from)],
            Op::LdxImm(_) => *x = 0,
            Op::LdxMem(from) => *x = cells[cell(from)],
            Op::St(to) => cells[cell(to)] = *a,
            Op::Stx(to) => cells[cell(to)] = *x,
            Op::AndK(k) => *a &= k,
            Op::OrK(k) => *a &= !k,
            Op::XorK(_) => {}
            Op::AndX | Op::OrX | Op::XorX => *a |= *x,
            Op::LshK(k) => *a = a.wrapping_shl(k),
            Op::RshK(k) => *a = a.wrapping_shr(k),
            // What is carried goes up.
            Op::AddK(_) | Op::SubK(_) | Op::MulK(_) | Op::Neg => *a = from_lowest(*a),
            Op::AddX | Op::SubX | Op::MulX => *a = from_lowest(*a | *x),
            Op::DivK(_) => *a = all_if_any(*a),
            Op::DivX | Op::LshX | Op::RshX => *a = all_if_any(*a | *x),
            Op::Tax => *x = *a,
            Op::Txa => *a = *x,
            Op::Ja(_)
            | Op::JeqK(..)
            | Op::JeqX(_)
            | Op::JgtK(..)
            | Op::JgtX(_)
            | Op::JgeK(..)
            | Op::JgeX(_)
            | Op::JsetK(..)
            | Op::JsetX(_)
            | Op::RetK(_)
            | Op::RetA => {}
        }
    }
}

/// The lowest of these bits and all above it.
fn from_lowest(bits: u32) -> u32 {
    bits | bits.wrapping_neg()
}

fn all_if_any(bits: u32) -> u32 {
    if bits == 0 { 0 } else { u32::MAX }
}

#[cfg(test)]
mod tests {
    use crate::Program;
    use crate::asm::assemble;

    /// Words that may differ: bit 12 of word 2, and word 4.
    const BITS: [u32; 5] = [0, 0, 1 << 12, 0, u32::MAX];

    fn depends(text: &str) -> bool {
        Program::new(&assemble(text).expect("a text"), 40).expect("an accepted program").depends_on(&BITS)
    }

    #[test]
    fn only_what_is_tested_counts() {
        for (text, expected) in [
            ("ld [8]\n jset #0x1000, yes\n ret #1\n yes: ret #0", true),
            ("ld [8]\n jset #0x2000, yes\n ret #1\n yes: ret #0", false),
            ("ld [8]\n and #0xff\n jeq #28, yes\n ret #1\n yes: ret #0", false),
            ("ld [8]\n jeq #28, yes\n ret #1\n yes: ret #0", true),
            ("ld [8]\n rsh #13\n ret a", false),
            ("ld [8]\n rsh #12\n ret a", true),
            ("ld [8]\n lsh #20\n ret a", false),
            ("ld [8]\n or #0x1000\n ret a", false),
            ("ld [8]\n xor #0x1000\n ret a", true),
            ("ld [8]\n add #1\n and #0xfff\n ret a", false),
            ("ld [8]\n add #1\n and #0x2000\n ret a", true),
            ("ld [8]\n div #3\n and #1\n ret a", true),
            ("ld [16]\n ret #1", false),
            ("ld [16]\n ret a", true),
            ("ld [20]\n ret a", false),
            ("ld [16]\n st M[3]\n ld #0\n ldx M[3]\n txa\n ret a", true),
            ("ld [16]\n st M[3]\n ld #7\n st M[3]\n ld M[3]\n ret a", false),
            ("ldx #0\n ld [16]\n tax\n ld #4\n div x\n ret #1", true),
            // On one of two ways.
            ("ld [0]\n jeq #1, yes\n ld #1\n jmp end\n yes: ld [16]\n end: ret a", true),
            ("ld [0]\n jeq #1, yes\n ld [16]\n ret #1\n yes: ld [20]\n ret a", false),
            // Behind a return.
            ("ret #1\n ld [16]\n ret a", false),
        ] {
            assert_eq!(depends(text), expected, "{text}");
        }
    }
}
