//! A program on all requests at once.

use crate::code::{self, A, Arithmetic, Operation, REGISTERS, Test, Value};
use crate::gate::{Bit, Gates};
use crate::word::{self, Word};
use std::rc::Rc;

/// What the registers hold when an instruction is reached.
pub(crate) type Registers = [Word; REGISTERS];

/// The requests, of those for which `given` holds, for which the program returns anything but 0.
///
/// `context` are the words that it loads; all are there, as its checker has made sure.
pub(crate) fn allowed(gates: &mut impl Gates, code: &[Operation], context: &[Word], given: Bit) -> Bit {
    let live = code::live(code);
    match registers(gates, code, &live, context) {
        Some(registers) => {
            let allowed = backwards(gates, code, &registers, context);
            gates.and(given, allowed)
        }
        None => forwards(gates, code, &live, context, given),
    }
}

/// What the registers hold at each instruction that is reached, where that does not depend on the way
/// there; `None` where it does, of a register that matters.
pub(crate) fn registers(
    gates: &mut impl Gates,
    code: &[Operation],
    live: &[u32],
    context: &[Word],
) -> Option<Vec<Option<Rc<Registers>>>> {
    let mut known: Vec<Option<Rc<Registers>>> = vec![None; code.len()];
    *known.first_mut()? = Some(Rc::new([word::ZERO; REGISTERS]));
    for (index, &operation) in code.iter().enumerate() {
        let Some(mut registers) = known[index].clone() else { continue };
        if let Some((to, result)) = result(gates, operation, &registers, context) {
            Rc::make_mut(&mut registers)[to] = result;
        }
        for next in operation.next(index) {
            match &known[next] {
                None => known[next] = Some(registers.clone()),
                Some(other) => {
                    let differs = |register: usize| other[register] != registers[register];
                    if !Rc::ptr_eq(other, &registers) && registers_in(live[next]).any(differs) {
                        return None;
                    }
                }
            }
        }
    }
    Some(known)
}

/// The registers of a mask.
pub(crate) fn registers_in(mask: u32) -> impl Iterator<Item = usize> {
    (0..REGISTERS).filter(move |register| mask >> register & 1 != 0)
}

/// From the last instruction to the first, which requests would be allowed from there on. What is
/// searched in thousands of ranges takes as many steps, and not their square as [`forwards`] does.
fn backwards(
    gates: &mut impl Gates,
    code: &[Operation],
    registers: &[Option<Rc<Registers>>],
    context: &[Word],
) -> Bit {
    let mut allowed = vec![Bit::FALSE; code.len()];
    for (index, &operation) in code.iter().enumerate().rev() {
        let Some(registers) = &registers[index] else { continue };
        allowed[index] = match operation {
            Operation::Return(value) => word::is_nonzero(gates, &self::value(value, registers, context)),
            Operation::Jump(next) => allowed[next],
            Operation::Branch { test, with, holds, fails } => {
                let condition = compare(gates, test, &registers[A], &value(with, registers, context));
                gates.choose(condition, allowed[holds], allowed[fails])
            }
            Operation::Arithmetic(Arithmetic::Div, by) => {
                let defined = word::is_nonzero(gates, &value(by, registers, context));
                gates.and(defined, allowed[index + 1])
            }
            Operation::Move { .. } | Operation::Negate | Operation::Arithmetic(..) => allowed[index + 1],
        };
    }
    allowed.first().copied().unwrap_or(Bit::FALSE)
}

/// What is known when an instruction is reached: by which requests, and with what in the registers.
#[derive(Clone)]
struct State {
    reached: Bit,
    registers: Registers,
}

/// From the first instruction to the last: jumps only go forwards, so that every instruction is met once,
/// after all that lead to it; what is known of its different predecessors is joined there.
fn forwards(gates: &mut impl Gates, code: &[Operation], live: &[u32], context: &[Word], given: Bit) -> Bit {
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
                let value = word::is_nonzero(gates, &self::value(value, &state.registers, context));
                let here = gates.and(state.reached, value);
                allowed = gates.or(allowed, here);
            }
            Operation::Jump(next) => go(gates, next, state),
            Operation::Branch { test, with, holds, fails } => {
                let with = value(with, &state.registers, context);
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
            Operation::Move { .. } | Operation::Negate | Operation::Arithmetic(..) => {
                if let Operation::Arithmetic(Arithmetic::Div, by) = operation {
                    // A division by 0 ends the program, with 0.
                    let defined = word::is_nonzero(gates, &value(by, &state.registers, context));
                    state.reached = gates.and(state.reached, defined);
                }
                if let Some((to, result)) = result(gates, operation, &state.registers, context) {
                    state.registers[to] = result;
                }
                go(gates, index + 1, state);
            }
        }
    }
    allowed
}

impl State {
    /// Adds the requests of `other`. What is not live may come out as anything.
    fn join(&mut self, gates: &mut impl Gates, other: &Self, live: u32) {
        for register in registers_in(live) {
            let (mine, theirs) = (&mut self.registers[register], &other.registers[register]);
            if mine != theirs {
                *mine = word::choose(gates, self.reached, mine, theirs);
            }
        }
        self.reached = gates.or(self.reached, other.reached);
    }
}

pub(crate) fn value(value: Value, registers: &Registers, context: &[Word]) -> Word {
    match value {
        Value::Constant(k) => word::constant(k),
        Value::Context(at) => context[at],
        Value::Register(register) => registers[register],
    }
}

/// The register that an instruction writes, and what it holds then.
fn result(
    gates: &mut impl Gates,
    operation: Operation,
    registers: &Registers,
    context: &[Word],
) -> Option<(usize, Word)> {
    Some(match operation {
        Operation::Move { to, from } => (to, value(from, registers, context)),
        Operation::Negate => (A, word::sub(gates, &word::ZERO, &registers[A])),
        Operation::Arithmetic(op, with) => {
            (A, compute(gates, op, &registers[A], &value(with, registers, context)))
        }
        Operation::Jump(_) | Operation::Branch { .. } | Operation::Return(_) => return None,
    })
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

pub(crate) fn compare(gates: &mut impl Gates, test: Test, a: &Word, value: &Word) -> Bit {
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
