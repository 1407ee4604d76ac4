//! Numbers: fields as parts of words, 64 bits as two words.

use crate::check::cond::{Cond, Value, Width};
use crate::compile::logic::Logic;
use crate::compile::word::{Alu, Pair, Word, complement};
use crate::data::field::{Field, Form};
use crate::syntax::ast::{Arithmetic, Comparison};
use std::collections::BTreeMap;

/// The decision for a condition on numbers, all fields taken to be present.
pub(super) fn test(cond: &Cond) -> Logic {
    match cond {
        Cond::Compare { op, left, right, width } => compare(*op, left, right, *width),
        Cond::NonZero(number, width) => {
            let number = pair(number, *width);
            Logic::any([Logic::non_zero(&number.low), Logic::non_zero(&number.high)])
        }
        Cond::Within(number, ranges, width) => within(number, ranges, *width),
        // The caller has taken these apart.
        Cond::Address(..) | Cond::Not(_) | Cond::All(_) | Cond::Any(_) => Logic::Const(false),
    }
}

fn compare(op: Comparison, left: &Value, right: &Value, width: Width) -> Logic {
    let (l, r) = match (in_network_order(left), in_network_order(right), left, right) {
        (Some(l), _, _, Value::Const(port)) if is_equality(op) => (narrow(l), narrow(swapped(*port))),
        (_, Some(r), Value::Const(port), _) if is_equality(op) => (narrow(swapped(*port)), narrow(r)),
        _ => (pair(left, width), pair(right, width)),
    };
    match op {
        Comparison::Eq => equal(&l, &r),
        Comparison::Ne => equal(&l, &r).not(),
        Comparison::Lt => less(&l, &r),
        Comparison::Ge => less(&l, &r).not(),
        Comparison::Gt => less(&r, &l),
        Comparison::Le => less(&r, &l).not(),
    }
}

fn is_equality(op: Comparison) -> bool {
    matches!(op, Comparison::Eq | Comparison::Ne)
}

fn equal(left: &Pair, right: &Pair) -> Logic {
    Logic::all([Logic::equal(&left.high, &right.high), Logic::equal(&left.low, &right.low)])
}

fn less(left: &Pair, right: &Pair) -> Logic {
    Logic::any([
        Logic::less(&left.high, &right.high),
        Logic::all([Logic::equal(&left.high, &right.high), Logic::less(&left.low, &right.low)]),
    ])
}

fn within(number: &Value, ranges: &[(u64, u64)], width: Width) -> Logic {
    let points = ranges.iter().all(|(first, last)| first == last);
    if let Some(word) = in_network_order(number).filter(|_| points) {
        let mut swapped: Vec<u32> = ranges.iter().filter_map(|(port, _)| swapped(*port).as_const()).collect();
        swapped.sort_unstable();
        return Logic::within(&word, swapped.into_iter().map(|port| (port, port)).collect());
    }
    let number = pair(number, width);
    // Ranges of low words by the high word that they belong to; high words in between are whole.
    let mut lows: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
    let mut whole = Vec::new();
    for &(first, last) in ranges {
        let ((first_high, first), (last_high, last)) = (split(first), split(last));
        if first_high == last_high {
            lows.entry(first_high).or_default().push((first, last));
            continue;
        }
        lows.entry(first_high).or_default().push((first, u32::MAX));
        lows.entry(last_high).or_default().push((0, last));
        if last_high - first_high > 1 {
            whole.push((first_high + 1, last_high - 1));
        }
    }
    let whole = Logic::within(&number.high, whole);
    let split = lows.into_iter().map(|(high, ranges)| {
        let high = Logic::equal(&number.high, &Word::constant(high));
        Logic::all([high, Logic::within(&number.low, ranges)])
    });
    Logic::any(split.chain([whole]))
}

fn split(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

/// A number as two words; the upper one is 0 in 32 bits.
fn pair(value: &Value, width: Width) -> Pair {
    let wide = width == Width::W64;
    match value {
        Value::Const(value) => Pair::constant(*value),
        Value::Field(field) => of_field(field),
        Value::Complement(inner) => {
            let inner = pair(inner, width);
            let high = if wide { complement(&inner.high) } else { inner.high };
            Pair { low: complement(&inner.low), high }
        }
        Value::Arithmetic(op, left, right) => {
            let result = arithmetic(*op, &pair(left, width), right, width);
            if wide { result } else { narrow(result.low) }
        }
    }
}

fn arithmetic(op: Arithmetic, left: &Pair, right: &Value, width: Width) -> Pair {
    let by = match right {
        Value::Const(by) => *by as u32,
        _ => 0,
    };
    match op {
        Arithmetic::Shl => return left.shl(by),
        Arithmetic::Shr => return left.shr(by),
        _ => {}
    }
    let right = &pair(right, width);
    match op {
        Arithmetic::Or => Pair::bitwise(Alu::Or, left, right),
        Arithmetic::Xor => Pair::bitwise(Alu::Xor, left, right),
        Arithmetic::Sub => Pair::sub(left, right),
        Arithmetic::Add => Pair::add(left, right),
        Arithmetic::And | Arithmetic::Shl | Arithmetic::Shr => Pair::bitwise(Alu::And, left, right),
    }
}

fn narrow(low: Word) -> Pair {
    Pair { low, high: Word::constant(0) }
}

fn of_field(field: &Field) -> Pair {
    let word = Word::load(field.byte & !3);
    let (low_mask, high_mask) = (field.mask as u32, (field.mask >> 32) as u32);
    match field.form {
        Form::U8 | Form::U16 => narrow(word.shr(8 * (field.byte as u32 % 4)).and(low_mask)),
        Form::Be16 => {
            let stored = word.and(0xffff);
            let upper = stored.and(0xff).shl(8);
            narrow(Word::op(Alu::Or, &upper, &word.shr(8).and(0xff)))
        }
        Form::U32 => narrow(word.and(low_mask)),
        Form::U64 | Form::Address => {
            Pair { low: word.and(low_mask), high: Word::load(field.byte + 4).and(high_mask) }
        }
    }
}

/// The stored word of a field in network order, which equality can be tested on as it is.
fn in_network_order(value: &Value) -> Option<Word> {
    match value {
        Value::Field(field) if field.form == Form::Be16 => Some(Word::load(field.byte & !3).and(0xffff)),
        _ => None,
    }
}

/// A port's stored word.
fn swapped(port: u64) -> Word {
    Word::constant(u32::from((port as u16).swap_bytes()))
}
