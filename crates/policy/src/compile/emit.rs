//! Decisions to instructions, from the last one to the first.
//!
//! Classic BPF jumps forward only. Written backwards, every target is there before the jump to it:
//! distances are known, nothing is patched, and code that nobody needs is not written in the first
//! place. A target beyond the 255 instructions of a conditional jump gets a stand-in next to the
//! jump: a copy, if it only returns, or else an unconditional jump.

mod straight;

use crate::compile::logic::{Jump, Logic};
use crate::compile::word::Word;
use ringwarden_cbpf::insn::*;
use ringwarden_diff::shorten;
use ringwarden_uapi::KernelModel;
use std::collections::HashMap;

/// More instructions than a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The program that returns 1 where the decision is true and 0 elsewhere.
///
/// # Errors
/// It has more than 4096 instructions.
pub(crate) fn program(logic: &Logic) -> Result<Vec<Insn>, TooLong> {
    let mut emitter = Emitter { code: Vec::new(), near: HashMap::new() };
    let deny = emitter.push(Insn::stmt(BPF_RET | BPF_K, 0));
    let allow = emitter.push(Insn::stmt(BPF_RET | BPF_K, 1));
    let entry = emitter.logic(logic, allow, deny)?;
    if entry.0 + 1 != emitter.code.len() {
        emitter.stand_in(entry);
    }
    emitter.code.reverse();
    let program = shorten(&emitter.code, CONTEXT_WORDS);
    if program.len() > BPF_MAXINSNS { Err(TooLong) } else { Ok(program) }
}

/// The words of the longest context, which is the guard's.
const CONTEXT_WORDS: usize = KernelModel::Guard.facts().context_size / 4;

/// No program whose dead code is yet to be dropped gets longer than this.
const WRITTEN_MOST: usize = 4 * BPF_MAXINSNS;

/// The farthest target of a conditional jump, less the two stand-ins that may come between.
const NEAR: usize = 253;

/// An instruction, by the number of those written before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Label(usize);

struct Emitter {
    /// The last instruction first.
    code: Vec<Insn>,
    /// The newest stand-in for a target.
    near: HashMap<Label, Label>,
}

impl Emitter {
    fn push(&mut self, insn: Insn) -> Label {
        self.code.push(insn);
        Label(self.code.len() - 1)
    }

    /// How many instructions lie between the next one to be written and a target.
    fn distance(&self, to: Label) -> usize {
        self.code.len() - 1 - to.0
    }

    fn stand_in(&mut self, target: Label) -> Label {
        let insn = self.code[target.0];
        let is_return = insn.code & 7 == BPF_RET;
        let distance = self.distance(target) as u32;
        self.push(if is_return { insn } else { Insn::stmt(BPF_JMP | BPF_JA, distance) })
    }

    /// The target itself or a stand-in, within reach of the next instructions.
    fn within_reach(&mut self, target: Label) -> Label {
        let newest = self.near.get(&target).copied().unwrap_or(target);
        if self.distance(newest) <= NEAR {
            return newest;
        }
        let stand_in = self.stand_in(target);
        self.near.insert(target, stand_in);
        stand_in
    }

    fn conditional(&mut self, code: u16, k: u32, on_true: Label, on_false: Label) -> Label {
        let (on_true, on_false) = (self.within_reach(on_true), self.within_reach(on_false));
        let (jt, jf) = (self.distance(on_true) as u8, self.distance(on_false) as u8);
        self.push(Insn::jump(BPF_JMP | code, k, jt, jf))
    }

    /// Writes the code for a decision; gives its first instruction.
    fn logic(&mut self, logic: &Logic, on_true: Label, on_false: Label) -> Result<Label, TooLong> {
        if self.code.len() > WRITTEN_MOST {
            return Err(TooLong);
        }
        match logic {
            Logic::Const(true) => Ok(on_true),
            Logic::Const(false) => Ok(on_false),
            Logic::Not(inner) => self.logic(inner, on_false, on_true),
            Logic::All(parts) => {
                parts.iter().rev().try_fold(on_true, |next, part| self.logic(part, next, on_false))
            }
            Logic::Any(parts) => {
                parts.iter().rev().try_fold(on_false, |next, part| self.logic(part, on_true, next))
            }
            Logic::Jump { on, left, right } => self.jump(*on, left, right, on_true, on_false),
            Logic::Within(word, ranges) => {
                let code = straight::code(word, 0)?;
                let (on_true, on_false) = (self.past(on_true, &code), self.past(on_false, &code));
                self.search(ranges, 0, on_true, on_false);
                Ok(self.prepend(&code))
            }
        }
    }

    fn jump(
        &mut self,
        on: Jump,
        left: &Word,
        right: &Word,
        on_true: Label,
        on_false: Label,
    ) -> Result<Label, TooLong> {
        let (source, k, code) = match right.as_const() {
            Some(k) => (BPF_K, k, straight::code(left, 0)?),
            None => (BPF_X, 0, straight::with_x(left, right, 0)?),
        };
        let operation = match on {
            Jump::Equal => BPF_JEQ,
            Jump::Greater => BPF_JGT,
            Jump::GreaterOrEqual => BPF_JGE,
            Jump::CommonBit => BPF_JSET,
        };
        let (on_true, on_false) = (self.past(on_true, &code), self.past(on_false, &code));
        self.conditional(operation | source, k, on_true, on_false);
        Ok(self.prepend(&code))
    }

    fn prepend(&mut self, code: &[Insn]) -> Label {
        for insn in code.iter().rev() {
            self.push(*insn);
        }
        Label(self.code.len() - 1)
    }

    /// Where to jump instead of `target` when `code` has just run: behind the same code there, whose
    /// result A already holds.
    fn past(&self, target: Label, code: &[Insn]) -> Label {
        let there = self.code[..=target.0].iter().rev();
        if there.take(code.len()).eq(code) { Label(target.0 - code.len()) } else { target }
    }

    /// Searches A in ranges, given that it is no less than `least`; gives the first instruction, or
    /// one of the targets where there is nothing to ask.
    fn search(&mut self, ranges: &[(u32, u32)], least: u32, on_true: Label, on_false: Label) -> Label {
        let points = ranges.iter().all(|(first, last)| first == last);
        match *ranges {
            [] => on_false,
            [(first, last)] if first < last => {
                let mut entry = on_true;
                if last < u32::MAX {
                    entry = self.conditional(BPF_JGT | BPF_K, last, on_false, entry);
                }
                if first > least {
                    entry = self.conditional(BPF_JGE | BPF_K, first, entry, on_false);
                }
                entry
            }
            // Halving pays from four on.
            _ if points && ranges.len() <= 3 => ranges
                .iter()
                .rev()
                .fold(on_false, |next, &(point, _)| self.conditional(BPF_JEQ | BPF_K, point, on_true, next)),
            _ => {
                let (lower, upper) = ranges.split_at(ranges.len() / 2);
                let pivot = upper[0].0;
                let high = self.search(upper, pivot, on_true, on_false);
                let low = self.search(lower, least, on_true, on_false);
                self.conditional(BPF_JGE | BPF_K, pivot, high, low)
            }
        }
    }
}
