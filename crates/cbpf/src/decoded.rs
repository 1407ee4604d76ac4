//! Decoded programs: the form in which they run, unless another is asked for.
//!
//! Filters mostly load a word, perhaps mask it, and jump by what it is. Taken one by one these are three instructions,
//! of which each has to be told from all others; here they are one step. A program has as many steps as
//! instructions, the step at an instruction's place doing what begins there: so what jumps into the middle of
//! three finds the rest of them at its own place, and every state is one that the instructions go through, too.
//! Where something else comes, scratch cells or arithmetic, the interpreter takes over.
//! A jump that leads to another, unconditional one leads to where that one does.

use crate::insn::Insn;
use crate::op::{Branch, Op};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// The steps of a program.
pub(crate) struct Decoded(Box<[Step]>);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A = a word of the context and a mask, then a jump.
    Load { word: u8, mask: u32, jump: Jump },
    /// A jump by A.
    Jump(Jump),
    /// The program's value.
    Return(u32),
    /// Anything else, which is for the interpreter, as is what comes behind it.
    Op,
}

const _: () = assert!(size_of::<Step>() == 3 * size_of::<Insn>());

/// What becomes of a program by its steps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// This is its value.
    Return(u32),
    /// The interpreter goes on at this instruction, with this A and all else 0.
    GoOn { at: usize, a: u32 },
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
    /// What makes of `holds` the place where it leads if not, by exclusive or: no need to wait for which it is.
    otherwise: u16,
}

impl Decoded {
    /// The steps of checked instructions.
    pub(crate) fn new(ops: &[Op]) -> Self {
        let ends = ends(ops);
        Self((0..ops.len()).map(|at| Step::new(ops, &ends, at)).collect())
    }

    /// Goes through the steps as far as there are any, and gives what has become of the program.
    #[inline]
    pub(crate) fn run(&self, context: &[u32]) -> Outcome {
        let (mut a, mut at) = (0u32, 0);
        loop {
            let jump = match self.0.get(at) {
                Some(Step::Load { word, mask, jump }) => match context.get(usize::from(*word)) {
                    Some(word) => {
                        a = word & mask;
                        jump
                    }
                    None => return Outcome::GoOn { at, a },
                },
                Some(Step::Jump(jump)) => jump,
                Some(Step::Return(value)) => return Outcome::Return(*value),
                Some(Step::Op) | None => return Outcome::GoOn { at, a },
            };
            at = jump.target(a);
        }
    }
}

/// For each instruction the one at which a jump to it ends: itself, or where its own jump ends if it is an unconditional
/// one. Those lie ahead, so the last comes first.
fn ends(ops: &[Op]) -> Vec<u16> {
    let mut ends = vec![0; ops.len()];
    for (at, op) in ops.iter().enumerate().rev() {
        ends[at] = match op {
            Op::Ja(k) => ends[at + 1 + *k as usize],
            _ => at as u16,
        };
    }
    ends
}

impl Step {
    fn new(ops: &[Op], ends: &[u16], at: usize) -> Self {
        let jump = |at: usize| Jump::new(*ops.get(at)?, ends.get(at + 1..)?);
        match (ops[at], ops.get(at + 1)) {
            (Op::LdAbs(word), Some(&Op::AndK(mask))) => {
                jump(at + 2).map_or(Self::Op, |jump| Self::Load { word, mask, jump })
            }
            (Op::LdAbs(word), _) => {
                jump(at + 1).map_or(Self::Op, |jump| Self::Load { word, mask: u32::MAX, jump })
            }
            (Op::RetK(k), _) => Self::Return(k),
            (Op::Ja(_), _) => Self::Jump(Jump { bits: 0, low: 0, width: 0, holds: ends[at], otherwise: 0 }),
            _ => jump(at).map_or(Self::Op, Self::Jump),
        }
    }
}

impl Jump {
    /// A jump that compares with a constant; `ends` is of the instructions behind it.
    fn new(op: Op, ends: &[u16]) -> Option<Self> {
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
        let [holds, fails] = [branch.jt, branch.jf].map(|skip| ends.get(usize::from(skip)).copied());
        Some(Self { bits, low, width, holds: holds?, otherwise: holds? ^ fails? })
    }

    #[inline]
    fn target(&self, a: u32) -> usize {
        let fails = (a & self.bits).wrapping_sub(self.low) > self.width;
        usize::from(self.holds ^ (self.otherwise & u16::from(fails).wrapping_neg()))
    }
}
