//! Conditions to decisions on words: 64-bit numbers become two words, fields their place in the
//! context, absent fields a test of the family.

mod address;
mod number;

use crate::ast::Comparison;
use crate::cond::{Cond, Value};
use crate::field::{FAMILY_OF_ADDRESS, Form};
use crate::logic::Logic;
use crate::word::Word;
use std::collections::BTreeSet;

/// The decision that a condition is: false where the condition is undecided.
pub(crate) fn decision(cond: &Cond) -> Logic {
    logic(cond, false, &None)
}

/// The families that a request may have, as far as earlier conditions tell; `None` is any.
type Families = Option<BTreeSet<u64>>;

/// The decision for a condition, or for its negation: false where the condition is undecided, both
/// times. Negation therefore goes down to the single tests, where absence is known.
fn logic(cond: &Cond, negated: bool, known: &Families) -> Logic {
    match cond {
        Cond::Not(inner) => logic(inner, !negated, known),
        Cond::All(parts) if !negated => conjunction(parts, negated, known),
        Cond::Any(parts) if negated => conjunction(parts, negated, known),
        Cond::All(parts) | Cond::Any(parts) => {
            Logic::any(parts.iter().map(|part| logic(part, negated, known)))
        }
        Cond::Address(field, networks) => address::test(field, networks, negated, known),
        Cond::Compare { .. } | Cond::NonZero(..) | Cond::Within(..) => {
            let test = number::test(cond);
            let test = if negated { test.not() } else { test };
            let families: BTreeSet<u64> =
                cond.fields().iter().flat_map(|field| field.families).copied().collect();
            if families.is_empty() { test } else { Logic::all([family_in(&families, known), test]) }
        }
    }
}

/// Parts that must all hold: each knows what the ones before it have ruled out.
fn conjunction(parts: &[Cond], negated: bool, known: &Families) -> Logic {
    let mut known = known.clone();
    let mut list = Vec::new();
    for part in parts {
        list.push(logic(part, negated, &known));
        if let Some(only) = families_of(part, negated) {
            known = Some(known.map_or_else(|| only.clone(), |before| &before & &only));
        }
    }
    Logic::all(list)
}

/// The families of the requests that meet a condition (or its negation), where it tells.
fn families_of(cond: &Cond, negated: bool) -> Families {
    let is_family = |value: &Value| matches!(value, Value::Field(field) if field.byte == FAMILY_OF_ADDRESS && field.form == Form::U32);
    match cond {
        Cond::Not(inner) => families_of(inner, !negated),
        Cond::Compare { op, left: value, right: Value::Const(family), .. }
        | Cond::Compare { op, left: Value::Const(family), right: value, .. } => {
            let wanted = if negated { Comparison::Ne } else { Comparison::Eq };
            (*op == wanted && is_family(value)).then(|| BTreeSet::from([*family]))
        }
        Cond::Within(value, ranges, _) if !negated && is_family(value) => {
            // Long ranges are no lists of families that anything here could need.
            let short = ranges.iter().all(|(first, last)| last - first < 16);
            short.then(|| ranges.iter().flat_map(|&(first, last)| first..=last).collect())
        }
        Cond::All(parts) if !negated => {
            parts.iter().filter_map(|part| families_of(part, negated)).reduce(|a, b| &a & &b)
        }
        Cond::Any(parts) if !negated => {
            let each: Option<Vec<_>> = parts.iter().map(|part| families_of(part, negated)).collect();
            each?.into_iter().reduce(|a, b| &a | &b)
        }
        _ => None,
    }
}

/// The request has one of the families; tested only if that is not known.
fn family_in(families: &BTreeSet<u64>, known: &Families) -> Logic {
    if known.as_ref().is_some_and(|known| known.is_subset(families)) {
        return Logic::Const(true);
    }
    let points = families.iter().map(|&family| (family as u32, family as u32)).collect();
    Logic::within(&Word::load(FAMILY_OF_ADDRESS), points)
}
