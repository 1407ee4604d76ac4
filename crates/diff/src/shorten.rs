//! Shortening of programs: tests are removed whose outcome is known where they stand.

mod prune;

use crate::bdd::{self, Bdd};
use crate::code::{self, A, Operation, Value};
use crate::gate::{Bit, Gates};
use crate::run::{self, Registers};
use crate::word::{self, Word};
use ringwarden_cbpf::Insn;
use ringwarden_cbpf::insn::{BPF_JA, BPF_JMP};
use std::rc::Rc;

/// What is looked at before a program is left as it is: about a millisecond.
const BUDGET: bdd::Budget = bdd::Budget { nodes: 1 << 12, steps: 1 << 13 };

/// Longer ones mostly search a set, which asks nothing twice.
const LONGEST: usize = 512;

/// The same program with jumps that go past what is known at the jump: questions whose answer follows from
/// those before, and loads of what a register holds already; and without what nothing leads to.
///
/// `insns` are a program for contexts of `words` words, as kernels accept it but for its length and what nothing
/// leads to. Of one that takes too much to understand only that is left out.
///
/// # Panics
/// Jumps lead out of the program.
pub fn shorten(insns: &[Insn], words: usize) -> Vec<Insn> {
    let mut insns = prune::reachable(insns);
    // Each pass goes further than the one before; there are few.
    while let Some(shorter) = pass(&insns, words).filter(|shorter| *shorter != insns) {
        insns = prune::reachable(&shorter);
    }
    insns
}

/// A program and what is known of it.
struct Known {
    code: Vec<Operation>,
    live: Vec<u32>,
    registers: Vec<Option<Rc<Registers>>>,
    /// For which requests each branch is taken; of other instructions nothing.
    conditions: Vec<Bit>,
    bdd: Bdd,
}

fn pass(insns: &[Insn], words: usize) -> Option<Vec<Insn>> {
    let mut known = Known::new(insns, words)?;
    let mut shorter = insns.to_vec();
    // Who goes along the jumps of each branch, in the program as it was: a request that goes past something
    // takes no way that it has not taken before.
    let mut reached = vec![Bit::FALSE; insns.len()];
    *reached.first_mut()? = Bit::TRUE;
    for index in 0..insns.len() {
        let here = reached[index];
        if let Operation::Branch { holds, fails, .. } = known.code[index] {
            let condition = known.conditions[index];
            for (target, by, is_taken) in [(holds, condition, true), (fails, !condition, false)] {
                let who = known.bdd.and(here, by);
                reached[target] = known.bdd.or(reached[target], who);
                let past = known.past(index, target, who);
                if let Ok(distance) = u8::try_from(past - index - 1) {
                    *(if is_taken { &mut shorter[index].jt } else { &mut shorter[index].jf }) = distance;
                }
            }
        } else if let Some(next) = known.code[index].next(index).next() {
            reached[next] = known.bdd.or(reached[next], here);
            if let Operation::Jump(target) = known.code[index] {
                let past = known.past(index, target, here);
                debug_assert_eq!(shorter[index].code, BPF_JMP | BPF_JA);
                shorter[index].k = (past - index - 1) as u32;
            }
        }
    }
    (!known.bdd.is_exhausted()).then_some(shorter)
}

impl Known {
    fn new(insns: &[Insn], words: usize) -> Option<Self> {
        let bytes = 4 * words as u32;
        let code: Vec<_> = insns
            .iter()
            .enumerate()
            .map(|(index, &insn)| code::operation(index, insn, bytes))
            .collect::<Option<_>>()?;
        let loaded = loaded(&code, words)?;
        let mut bdd = Bdd::new(BUDGET);
        let mut context: Vec<Word> = vec![word::ZERO; words];
        for (number, word) in loaded.into_iter().enumerate() {
            context[word] = std::array::from_fn(|bit| bdd.variable(32 * number + 31 - bit));
        }
        let live = code::live(&code);
        let registers = run::registers(&mut bdd, &code, &live, &context)?;
        let mut conditions = vec![Bit::FALSE; code.len()];
        for (index, &operation) in code.iter().enumerate() {
            if let (Operation::Branch { test, with, .. }, Some(registers)) = (operation, &registers[index]) {
                let with = run::value(with, registers, &context);
                conditions[index] = run::compare(&mut bdd, test, &registers[A], &with);
            }
        }
        (!bdd.is_exhausted()).then_some(Self { code, live, registers, conditions, bdd })
    }

    /// How far those who jump from one instruction to another may jump as well: past what does nothing for them.
    fn past(&mut self, from: usize, target: usize, who: Bit) -> usize {
        let (mut past, mut at) = (target, target);
        loop {
            at = match self.code[at] {
                Operation::Return(_) => return if self.finds_the_same(from, at) { at } else { past },
                Operation::Jump(next) => next,
                // Whether a division ends the program is a question, too.
                Operation::Arithmetic(code::Arithmetic::Div, _) => return past,
                Operation::Move { .. } | Operation::Arithmetic(..) | Operation::Negate => at + 1,
                Operation::Branch { holds, fails, .. } => {
                    let condition = self.conditions[at];
                    if self.bdd.and(who, !condition) == Bit::FALSE {
                        holds
                    } else if self.bdd.and(who, condition) == Bit::FALSE {
                        fails
                    } else {
                        return past;
                    }
                }
            };
            if self.finds_the_same(from, at) {
                past = at;
            }
        }
    }

    /// Whether what an instruction and those after it read is in the registers when another jumps there. What was not
    /// live where that jumps is not known there, and whoever else comes to jump there need not have it.
    fn finds_the_same(&self, from: usize, at: usize) -> bool {
        let (Some(there), Some(here)) = (&self.registers[at], &self.registers[from]) else { return false };
        let same = |register: usize| there[register] == here[register];
        self.live[at] & !self.live[from] == 0 && run::registers_in(self.live[at]).all(same)
    }
}

/// The words that a program loads; `None` where it is too long, or no way through it asks twice about one of them.
fn loaded(code: &[Operation], words: usize) -> Option<Vec<usize>> {
    if words > u64::BITS as usize || code.len() > LONGEST {
        return None;
    }
    /// What some way to an instruction has loaded since the last question, and what it has asked about.
    #[derive(Clone, Copy, Default)]
    struct Before {
        current: u64,
        asked: u64,
    }
    let mut before = vec![Before::default(); code.len()];
    let (mut loaded, mut twice) = (0, false);
    for (index, &operation) in code.iter().enumerate() {
        let mut after = before[index];
        match operation {
            Operation::Move { to, from: Value::Context(word) } => {
                // What A held is gone, unless the other registers have it, too.
                let follows = index.checked_sub(1).map(|last| code[last]);
                let begins = to == A
                    && matches!(follows, None | Some(Operation::Branch { .. } | Operation::Return(_)));
                after.current = if begins { 1 << word } else { after.current | 1 << word };
                loaded |= after.current;
            }
            Operation::Branch { .. } => {
                twice |= after.asked & after.current != 0;
                after.asked |= after.current;
            }
            _ => {}
        }
        for next in operation.next(index) {
            before[next].current |= after.current;
            before[next].asked |= after.asked;
        }
    }
    twice.then(|| (0..words).filter(|word| loaded >> word & 1 != 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_cbpf::Program;
    use ringwarden_cbpf::asm::assemble;

    fn shortened(text: &str) -> Vec<Insn> {
        shorten(&assemble(text).expect("a text"), 10)
    }

    #[test]
    fn what_is_known_is_not_asked_again() {
        // The first question again, on the way of its answer.
        let twice = "ld [16]\n jeq #2, a\n ret #0\n a: ld [20]\n jeq #5, b\n ret #0\n \
                     b: ld [16]\n jeq #2, y\n jgt #1, n\n n: ret #0\n y: ret #1";
        let once = "ld [16]\n jeq #2, a\n ret #0\n a: ld [20]\n jeq #5, y\n ret #0\n y: ret #1";
        assert_eq!(shortened(twice), assemble(once).expect("a text"));
        // What follows from it, and a load of what A holds.
        let loaded = "ld [16]\n jgt #2, a\n jeq #1, b\n ret #0\n a: ld [16]\n jeq #1, y\n jeq #9, y\n ret #0\n \
                      b: ld [16]\n ld [20]\n jeq #1, y\n ret #0\n y: ret #1";
        let past = "ld [16]\n jgt #2, a\n jeq #1, b\n ret #0\n a: jeq #9, y\n ret #0\n \
                    b: ld [20]\n jeq #1, y\n ret #0\n y: ret #1";
        assert_eq!(shortened(loaded), assemble(past).expect("a text"));
    }

    /// A cell holds 0 at the start, and kernels do not let it be read.
    #[test]
    fn what_was_never_written_is_not_read() {
        let text = "ld [16]\n jeq #1, a\n ret #0\n a: ld #0\n st M[0]\n ld [20]\n jeq #1, b\n ret #0\n \
                    b: ld [24]\n tax\n ld M[0]\n jeq x, y\n ret #0\n y: ret #1";
        let insns = shortened(text);
        Program::new(&insns, 40).unwrap_or_else(|error| panic!("{error}: {insns:?}"));
        assert_eq!(insns, assemble(text).expect("a text"));
    }

    #[test]
    fn what_another_way_leaves_in_a_register_is_loaded() {
        let text =
            "ld [16]\n jeq #2, a\n ld [20]\n jeq #2, a\n ret #0\n a: ld [16]\n jeq #2, y\n ret #0\n y: ret a";
        let insns = shortened(text);
        let program = Program::new(&insns, 40).expect("a program");
        let verdict = |x: u32, y: u32| program.run(&[0, 0, 0, 0, x, y, 0, 0, 0, 0]);
        assert_eq!([verdict(2, 0), verdict(0, 2), verdict(2, 2), verdict(0, 0)], [2, 0, 2, 0]);
    }
}
