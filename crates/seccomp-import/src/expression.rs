//! A formula as the expression of a rule.

use crate::condition::{MOST, Values};
use crate::formula::{Formula, Match};
use crate::ranges::Ranges;
use ringwarden_policy::{Argument, Field, FieldValue, Kind};
use ringwarden_uapi::Opcode;

/// Parts that all hold. Brackets that are not needed are left to the printer.
fn all(parts: Vec<String>) -> String {
    series(parts, ") && (")
}

fn any(parts: Vec<String>) -> String {
    series(parts, ") || (")
}

fn series(mut parts: Vec<String>, between: &str) -> String {
    if parts.len() == 1 { parts.remove(0) } else { format!("({})", parts.join(between)) }
}

/// The expression of a formula on the arguments of a call that the operation stands for.
pub(crate) fn of(formula: &Formula, operation: Opcode, call: &str) -> String {
    let text = |one: &Match| {
        let parts = one.0.iter().map(|(index, values)| {
            let argument = Argument::of(call).iter().find(|argument| argument.index == *index);
            let names = argument.map_or(&[][..], |argument| argument.fields).iter();
            let fields: Vec<_> = names.filter_map(|name| Field::of(operation, name)).collect();
            match fields[..] {
                [low, high] => split(values, low, high),
                _ => whole(values, fields[0]),
            }
        });
        all(parts.collect())
    };
    let mut parts = Vec::new();
    if !formula.any.iter().any(|one| one.0.is_empty()) {
        parts.push(any(formula.any.iter().map(text).collect()));
    }
    parts.extend(formula.none.iter().map(|never| format!("!({})", text(never))));
    all(parts)
}

/// Values of an argument that is one field.
fn whole(values: &Values, field: &Field) -> String {
    match values {
        Values::Ranges(ranges) => within(ranges, field, MOST),
        Values::Bits { mask, value } => bits(*mask, *value, field),
    }
}

/// Values of an argument of which one field has the low bits and another one the rest, each in
/// place.
fn split(values: &Values, low: &Field, high: &Field) -> String {
    match values {
        Values::Bits { mask, value } => {
            let parts = [low, high].into_iter().filter(|field| mask & field.mask != 0);
            all(parts.map(|field| bits(mask & field.mask, value & field.mask, field)).collect())
        }
        // The fewer ranges, the shorter the text.
        Values::Ranges(ranges) if ranges.as_slice().len() > ranges.complement(MOST).as_slice().len() => {
            let outside = split(&Values::Ranges(ranges.complement(MOST)), low, high);
            format!("!({outside})")
        }
        Values::Ranges(ranges) => {
            any(ranges.as_slice().iter().flat_map(|&range| split_range(range, low, high)).collect())
        }
    }
}

/// One range of such an argument: what shares its first value's high bits, what its last value's,
/// and all between.
fn split_range((first, last): (u64, u64), low: &Field, high: &Field) -> Vec<String> {
    let step = low.mask + 1;
    let of = |from: u64, to: u64| {
        let high_bits = within(&Ranges::between(from & high.mask, to & high.mask), high, high.mask);
        let low_bits = Ranges::between(from & low.mask, to & low.mask);
        let is_free = from & low.mask == 0 && to & low.mask == low.mask;
        let is_every = from & high.mask == 0 && to & high.mask == high.mask;
        match (is_every, is_free) {
            (true, _) => within(&low_bits, low, low.mask),
            (_, true) => high_bits,
            _ => all(vec![within(&low_bits, low, low.mask), high_bits]),
        }
    };
    let (head, tail) = (first & high.mask, last & high.mask);
    if head == tail {
        return vec![of(first, last)];
    }
    let mut parts = Vec::new();
    let from = if first & low.mask == 0 { head } else { head + step };
    let to = if last & low.mask == low.mask { tail } else { tail - step };
    if from != head {
        parts.push(of(first, head | low.mask));
    }
    if from <= to {
        parts.push(of(from, to | low.mask));
    }
    if to != tail {
        parts.push(of(tail, last));
    }
    parts
}

/// A field in ranges, of values up to `most`.
fn within(ranges: &Ranges, field: &Field, most: u64) -> String {
    let outside = ranges.complement(most);
    let is_single = |set: &Ranges| matches!(set.as_slice(), [(first, last)] if first == last);
    let name = field.name;
    match (ranges.as_slice(), outside.as_slice()) {
        (&[(only, _)], _) if is_single(ranges) => format!("{name} == {}", number(only, field)),
        (_, &[(only, _)]) if is_single(&outside) => format!("{name} != {}", number(only, field)),
        (&[(0, last)], _) => format!("{name} <= {last}"),
        (&[(first, last)], _) if last == most => format!("{name} >= {first}"),
        (&[(first, last)], _) => format!("{name} in {first}..={last}"),
        (inside, gaps) if gaps.len() < inside.len() => format!("!({name} in {})", set(gaps, field)),
        (inside, _) => format!("{name} in {}", set(inside, field)),
    }
}

fn set(ranges: &[(u64, u64)], field: &Field) -> String {
    let elements = ranges.iter().map(|&(first, last)| match first == last {
        true => number(first, field),
        false => format!("{first}..={last}"),
    });
    match ranges {
        [(first, last)] if first != last => elements.collect(),
        _ => format!("{{{}}}", elements.collect::<Vec<_>>().join(", ")),
    }
}

/// Some bits of a field.
fn bits(mask: u64, value: u64, field: &Field) -> String {
    let name = field.name;
    if mask == field.mask {
        format!("{name} == {}", number(value, field))
    } else if field.kind.is_enumeration() {
        format!("{name} & {mask:#x} == {value:#x}")
    } else {
        let names = |bits: u64| match number(bits, field) {
            // The access mode 0 has a name, which is no bit.
            text if field.kind == Kind::OpenFlags && mask & 3 != 3 => text
                .strip_prefix("O_RDONLY")
                .map_or(text.clone(), |rest| rest.strip_prefix(" | ").map_or("0".to_owned(), str::to_owned)),
            text => text,
        };
        format!("{name} & ({}) == {}", names(mask), names(value))
    }
}

/// A value, by the names of its bits.
fn number(value: u64, field: &Field) -> String {
    field.write(FieldValue::Number(value)).replace('|', " | ")
}
