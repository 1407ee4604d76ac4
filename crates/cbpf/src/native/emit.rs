//! Programs as functions, one by itself or several after one another: what is the same on all processors.

use super::backwards::Backwards;
use crate::op::Op;
use alloc::vec::Vec;

/// How a processor does what the instructions of programs do.
pub(super) trait Processor {
    /// Puts what comes before a program: A and X are 0.
    fn begin(code: &mut Backwards);

    /// Puts the instruction at that place.
    fn instruction(code: &mut Backwards, place: usize, op: Op, end: End);

    /// Has the function return that number.
    fn give(code: &mut Backwards, value: u32);
}

/// What comes of the value of a program.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// The function returns it.
    Value,
    /// If it is 0, the function returns that number. Otherwise it goes on at that place.
    Refusal { number: u32, next: usize },
}

/// What comes of a value that is known.
pub(super) enum Known {
    /// The function returns that number.
    Give(u32),
    /// It goes on at that place.
    GoOn(usize),
}

impl End {
    /// What comes of that value.
    pub(super) fn of(self, value: u32) -> Known {
        match self {
            Self::Refusal { next, .. } if value != 0 => Known::GoOn(next),
            _ => Known::Give(if value == 0 { self.of_zero() } else { value }),
        }
    }

    /// What the function returns where the program's value is 0.
    pub(super) fn of_zero(self) -> u32 {
        match self {
            Self::Value => 0,
            Self::Refusal { number, .. } => number,
        }
    }
}

/// A function from a pointer to words to a program's value.
pub(super) fn program<P: Processor>(ops: &[Op]) -> Vec<u8> {
    let mut code = Backwards::new(places(ops));
    put::<P>(&mut code, 0, ops, End::Value);
    code.finish()
}

/// A function from a pointer to words to the number of the first program whose value is 0, counted from 1, or to 0.
pub(super) fn chain<P: Processor>(programs: &[&[Op]]) -> Vec<u8> {
    let mut next = programs.iter().map(|ops| places(ops)).sum();
    let mut code = Backwards::new(next + 1);
    P::give(&mut code, 0);
    code.begin(next);
    for (before, ops) in programs.iter().enumerate().rev() {
        let first = next - places(ops);
        put::<P>(&mut code, first, ops, End::Refusal { number: before as u32 + 1, next });
        next = first;
    }
    code.finish()
}

/// The places of a program: one for what comes before it, and one for each instruction.
fn places(ops: &[Op]) -> usize {
    1 + ops.len()
}

/// Puts a program whose first place that is.
fn put<P: Processor>(code: &mut Backwards, first: usize, ops: &[Op], end: End) {
    for (index, &op) in ops.iter().enumerate().rev() {
        P::instruction(code, first + 1 + index, op, end);
        code.begin(first + 1 + index);
    }
    P::begin(code);
    code.begin(first);
}
