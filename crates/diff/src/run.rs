//! A program on all requests at once.

use crate::code::{self, A, Arithmetic, Operation, REGISTERS, Test, Value};
use crate::gate::{Bit, Gates};
use crate::word::{self, Word};

/// What is known when an instruction is reached: by which requests, and with what in the registers.
#[derive(Clone)]
struct State {
    reached: Bit,
    registers: [Word; REGISTERS],
}

/// The requests, of those for which `given` holds, for which the program returns anything but 0.
///
/// `context` are the words that it loads; all are there, as its checker has made sure.
///
/// Jumps only go forwards, so that every instruction is met once, after all that lead to it; what is
/// known of its different predecessors is joined there.
pub(crate) fn allowed(gates: &mut impl Gates, code: &[Operation], context: &[Word], given: Bit) -> Bit {
    let live = code::live(code);
    let mut states: Vec<Option<Box<State>>> = vec![None; code.len()];
    if let Some(first) = states.first_mut() {
        *first = Some(Box::new(State { reached: given, registers: [word::ZERO; REGISTERS] }));
    }
    let mut allowed = Bit::FALSE;
    for (index, &operation) in code.iter().enumerate() {
        let Some(mut state) = states[index].take() else { continue };
        let mut go = |gates: &mut _, next: usize, state: Box<State>| {
            let Some(at) = states.get_mut(next) else { return };
            match at {
                Some(other) => other.join(gates, &state, live[next]),
                None => *at = Some(state),
            }
        };
        match operation {
            Operation::Return(value) => {
                let value = state.value(value, context);
                let value = word::is_nonzero(gates, &value);
                let here = gates.and(state.reached, value);
                allowed = gates.or(allowed, here);
            }
            Operation::Jump(next) => go(gates, next, state),
            Operation::Branch { test, with, holds, fails } => {
                let with = state.value(with, context);
                let condition = compare(gates, test, &state.registers[A], &with);
                let then = gates.and(state.reached, condition);
                let otherwise = gates.and(state.reached, !condition);
                if then != Bit::FALSE {
                    go(gates, holds, Box::new(State { reached: then, ..*state }));
                }
                if otherwise != Bit::FALSE {
                    go(gates, fails, Box::new(State { reached: otherwise, ..*state }));
                }
            }
            Operation::Move { to, from } => {
                state.registers[to] = state.value(from, context);
                go(gates, index + 1, state);
            }
            Operation::Negate => {
                state.registers[A] = word::sub(gates, &word::ZERO, &state.registers[A]);
                go(gates, index + 1, state);
            }
            Operation::Arithmetic(op, value) => {
                let value = state.value(value, context);
                if op == Arithmetic::Div {
                    // A division by 0 ends the program, with 0.
                    let defined = word::is_nonzero(gates, &value);
                    state.reached = gates.and(state.reached, defined);
                }
                state.registers[A] = compute(gates, op, &state.registers[A], &value);
                go(gates, index + 1, state);
            }
        }
    }
    allowed
}

impl State {
    fn value(&self, value: Value, context: &[Word]) -> Word {
        match value {
            Value::Constant(k) => word::constant(k),
            Value::Context(at) => context[at],
            Value::Register(register) => self.registers[register],
        }
    }

    /// Adds the requests of `other`. What is not live may come out as anything.
    fn join(&mut self, gates: &mut impl Gates, other: &Self, live: u32) {
        for register in (0..REGISTERS).filter(|register| live >> register & 1 != 0) {
            let (mine, theirs) = (&mut self.registers[register], &other.registers[register]);
            if mine != theirs {
                *mine = word::choose(gates, self.reached, mine, theirs);
            }
        }
        self.reached = gates.or(self.reached, other.reached);
    }
}

fn compute(gates: &mut impl Gates, op: Arithmetic, a: &Word, value: &Word) -> Word {
    match op {
        Arithmetic::Add => word::add(gates, a, value),
        Arithmetic::Sub => word::sub(gates, a, value),
        Arithmetic::Mul => word::mul(gates, a, value),
        Arithmetic::Div => word::div(gates, a, value),
        Arithmetic::Or => word::each(a, value, |a, value| gates.or(a, value)),
        Arithmetic::And => word::each(a, value, |a, value| gates.and(a, value)),
        Arithmetic::Xor => word::each(a, value, |a, value| gates.xor(a, value)),
        Arithmetic::ShiftLeft => word::shift(gates, a, value, word::shift_left),
        Arithmetic::ShiftRight => word::shift(gates, a, value, word::shift_right),
    }
}

fn compare(gates: &mut impl Gates, test: Test, a: &Word, value: &Word) -> Bit {
    match test {
        Test::Equal => word::equal(gates, a, value),
        Test::Greater => word::less(gates, value, a),
        Test::GreaterOrEqual => !word::less(gates, a, value),
        Test::AnyBit => {
            let common = word::each(a, value, |a, value| gates.and(a, value));
            word::is_nonzero(gates, &common)
        }
    }
}

#[cfg(test)]
mod tests;
