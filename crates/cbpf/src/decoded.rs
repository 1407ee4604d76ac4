//! The form in which programs run.
//!
//! Filters mostly load a word, perhaps mask it, and jump by what it is. Taken one by one these are three instructions,
//! of which each has to be told from all others; here they are one step. A program has as many steps as
//! instructions, the step at an instruction's place doing what begins there: so what jumps into the middle of
//! three finds the rest of them at its own place, and every state is one that the instructions go through, too.

use crate::op::{Branch, Op};
use crate::state::{Next, State};
use alloc::boxed::Box;

/// The steps of a program.
pub(crate) struct Decoded(Box<[Step]>);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A = a word of the context and a mask, then a jump.
    Load { word: u8, mask: u32, jump: Jump },
    /// A jump by A.
    Jump(Jump),
    /// Anything else.
    Op(Op),
}

/// A conditional jump by A: where A masked by `bits` is `low` or above by `width` at most.
///
/// All comparisons with a constant are such a range, so that none needs to be told from another.
#[derive(Clone, Copy, Debug)]
struct Jump {
    bits: u32,
    low: u32,
    width: u32,
    holds: u16,
    fails: u16,
}

impl Decoded {
    /// The steps of checked instructions.
    pub(crate) fn new(ops: &[Op]) -> Self {
        Self((0..ops.len()).map(|at| Step::new(ops, at)).collect())
    }

    /// Goes through the steps to a RET, or gives `None` where a load finds no word in `context`.
    #[inline]
    pub(crate) fn run(&self, context: &[u32]) -> Option<u32> {
        let steps = &*self.0;
        let (mut a, mut at) = (0u32, 0);
        loop {
            let jump = match steps.get(at)? {
                Step::Load { word, mask, jump } => {
                    a = *context.get(usize::from(*word))? & mask;
                    jump
                }
                Step::Jump(jump) => jump,
                Step::Op(Op::RetK(k)) => return Some(*k),
                Step::Op(_) => return general(steps, at, a, context),
            };
            at = jump.target(a);
        }
    }
}

impl Step {
    fn new(ops: &[Op], at: usize) -> Self {
        let op = ops[at];
        match (op, ops.get(at + 1), ops.get(at + 2)) {
            (Op::LdAbs(word), Some(&Op::AndK(mask)), Some(&next)) => match Jump::new(next, at + 2) {
                Some(jump) => Self::Load { word, mask, jump },
                None => Self::Op(op),
            },
            (Op::LdAbs(word), Some(&next), _) => match Jump::new(next, at + 1) {
                Some(jump) => Self::Load { word, mask: u32::MAX, jump },
                None => Self::Op(op),
            },
            _ => Jump::new(op, at).map_or(Self::Op(op), Self::Jump),
        }
    }
}

impl Jump {
    /// A jump that compares with a constant, at that place.
    fn new(op: Op, at: usize) -> Option<Self> {
        let all = u32::MAX;
        let (bits, low, width, branch) = match op {
            Op::JeqK(k, branch) => (all, k, 0, branch),
            Op::JgeK(k, branch) => (all, k, all - k, branch),
            // Nothing is above the last.
            Op::JgtK(u32::MAX, Branch { jf, .. }) => (all, 0, all, Branch { jt: jf, jf }),
            Op::JgtK(k, branch) => (all, k + 1, all - (k + 1), branch),
            Op::JsetK(k, branch) => (k, 1, all - 1, branch),
            _ => return None,
        };
        let target = |skip: u8| (at + 1 + usize::from(skip)) as u16;
        Some(Self { bits, low, width, holds: target(branch.jt), fails: target(branch.jf) })
    }

    #[inline]
    fn target(&self, a: u32) -> usize {
        let holds = (a & self.bits).wrapping_sub(self.low) <= self.width;
        usize::from(if holds { self.holds } else { self.fails })
    }
}

/// The rest of a run that has come upon an instruction of its own.
#[inline(never)]
fn general(steps: &[Step], mut at: usize, a: u32, context: &[u32]) -> Option<u32> {
    let mut state = State::with_a(a);
    loop {
        match steps.get(at)? {
            Step::Load { word, mask, jump } => {
                state.a = *context.get(usize::from(*word))? & mask;
                at = jump.target(state.a);
            }
            Step::Jump(jump) => at = jump.target(state.a),
            Step::Op(op) => match state.execute(*op, context)? {
                Next::Skip(skipped) => at += 1 + skipped,
                Next::Return(value) => return Some(value),
            },
        }
    }
}
