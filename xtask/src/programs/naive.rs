//! A straightforward compiler: each comparison loads what it compares, sets are gone through.

use super::case::{Case, Clause, Comparison};
use ringwarden_cbpf::Insn;
use ringwarden_cbpf::insn::*;

/// The program for a case.
pub(super) fn program(case: &Case) -> Vec<Insn> {
    let mut code = Backwards::default();
    let deny = code.push(Insn::stmt(BPF_RET | BPF_K, 0));
    let mut next = code.push(Insn::stmt(BPF_RET | BPF_K, 1));
    for clause in case.clauses.iter().rev() {
        let mut otherwise = deny;
        for comparison in clause.alternatives().into_iter().rev() {
            otherwise = code.compare(clause, comparison, next, otherwise);
        }
        next = otherwise;
    }
    code.0.reverse();
    code.0
}

/// Instructions, the last one first; a place is the number of those behind it.
#[derive(Default)]
struct Backwards(Vec<Insn>);

impl Backwards {
    fn push(&mut self, insn: Insn) -> usize {
        self.0.push(insn);
        self.0.len()
    }

    /// A comparison and the load it takes.
    fn compare(&mut self, clause: &Clause, comparison: Comparison, then: usize, or: usize) -> usize {
        let (low, high) = match comparison {
            Comparison::Equal(value) => {
                ((BPF_JEQ, u32::MAX, value as u32), (BPF_JEQ, u32::MAX, (value >> 32) as u32))
            }
            Comparison::Masked { mask, value } => {
                ((BPF_JEQ, mask as u32, value as u32), (BPF_JEQ, (mask >> 32) as u32, (value >> 32) as u32))
            }
            Comparison::AtLeast(least) => return self.at_least(clause, least, then, or),
        };
        let place = self.half(clause.word, low, then, or);
        // A half of which nothing is asked holds in any case.
        if clause.wide && high.1 != 0 { self.half(clause.word + 1, high, place, or) } else { place }
    }

    fn at_least(&mut self, clause: &Clause, least: u64, then: usize, or: usize) -> usize {
        let place = self.half(clause.word, (BPF_JGE, u32::MAX, least as u32), then, or);
        if !clause.wide {
            return place;
        }
        let equal = self.half(clause.word + 1, (BPF_JEQ, u32::MAX, (least >> 32) as u32), place, or);
        self.half(clause.word + 1, (BPF_JGT, u32::MAX, (least >> 32) as u32), then, equal)
    }

    fn half(&mut self, word: usize, (jump, mask, k): (u16, u32, u32), then: usize, or: usize) -> usize {
        let (then, or) = (self.near(then), self.near(or));
        let (then, or) = (self.near(then), self.near(or));
        let distance = |target: usize| (self.0.len() - target) as u8;
        let insn = Insn::jump(BPF_JMP | jump | BPF_K, k, distance(then), distance(or));
        self.push(insn);
        if mask != u32::MAX {
            self.push(Insn::stmt(BPF_ALU | BPF_AND | BPF_K, mask));
        }
        self.push(Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 4 * word as u32))
    }

    /// The target, or a jump to it where it is too far for a comparison.
    fn near(&mut self, target: usize) -> usize {
        let distance = self.0.len() - target;
        if distance < 254 { target } else { self.push(Insn::stmt(BPF_JMP | BPF_JA, distance as u32)) }
    }
}
