//! Conditions to decisions on words: 64-bit numbers become two words, fields their place in the
//! context, absent fields a test of the family.

mod address;
mod number;

use crate::check::cond::{Cond, Value};
use crate::compile::logic::Logic;
use crate::compile::word::Word;
use crate::data::field::{AF_INET, AF_INET6, FAMILY_OF_ADDRESS, Form};
use crate::syntax::ast::Comparison;
use crate::syntax::network::Network;
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
    if is_conjunction(cond, negated) {
        let mut parts = Vec::new();
        collect_conjuncts(cond, negated, &mut parts);
        return conjunction(parts, known);
    }
    match cond {
        Cond::Not(inner) => logic(inner, !negated, known),
        Cond::All(parts) | Cond::Any(parts) => {
            Logic::any(parts.iter().map(|part| logic(part, negated, known)))
        }
        Cond::Address(field, networks) => address::test(field, networks, negated, known),
        Cond::Compare { .. } | Cond::NonZero(..) | Cond::Within(..) => {
            if let (Some(known), Some(wanted)) = (known, families_asked(cond, negated))
                && known.is_subset(&wanted)
            {
                return Logic::Const(true);
            }
            let test = number::test(cond);
            let test = if negated { test.not() } else { test };
            let families = families_needed(cond);
            if families.is_empty() { test } else { Logic::all([family_in(&families, known), test]) }
        }
    }
}

/// Whether a condition, or its negation, holds where all of its parts do, or all fail.
fn is_conjunction(cond: &Cond, negated: bool) -> bool {
    matches!((cond, negated), (Cond::All(_), false) | (Cond::Any(_), true))
}

/// The parts that must hold, or fail where that is said with them, whatever brackets are around some of them.
fn collect_conjuncts<'c>(cond: &'c Cond, negated: bool, all: &mut Vec<(&'c Cond, bool)>) {
    match cond {
        Cond::Not(inner) => collect_conjuncts(inner, !negated, all),
        Cond::All(parts) | Cond::Any(parts) if is_conjunction(cond, negated) => {
            parts.iter().for_each(|part| collect_conjuncts(part, negated, all));
        }
        _ => all.push((cond, negated)),
    }
}

/// Parts that must all hold: each knows what the ones before it have ruled out. What all of them together leave
/// of families is asked first, where some part cannot be asked without; an address, which has to tell
/// the two families apart anyway, asks for it.
fn conjunction(mut parts: Vec<(&Cond, bool)>, known: &Families) -> Logic {
    let mut known = known.clone();
    let mut list = Vec::new();
    if parts.iter().any(|(part, _)| part.fields().iter().any(|field| !field.families.is_empty())) {
        let families = parts.iter().filter_map(|(part, negated)| families_of(part, *negated));
        if let Some(families) = families.reduce(|a, b| &a & &b) {
            let address = parts.iter().position(|(part, _)| matches!(part, Cond::Address(..)));
            match address.filter(|_| families.len() > 1) {
                Some(address) => parts[..=address].rotate_right(1),
                None => {
                    list.push(family_in(&families, &known));
                    narrow(&mut known, families);
                }
            }
        }
    }
    for (part, negated) in parts {
        list.push(logic(part, negated, &known));
        if let Some(only) = families_of(part, negated) {
            narrow(&mut known, only);
        }
    }
    Logic::all(list)
}

fn narrow(known: &mut Families, families: BTreeSet<u64>) {
    *known = Some(match known {
        Some(before) => &*before & &families,
        None => families,
    });
}

/// The families of the requests that meet a condition (or its negation), where it tells.
fn families_of(cond: &Cond, negated: bool) -> Families {
    match cond {
        Cond::Not(inner) => families_of(inner, !negated),
        Cond::All(parts) | Cond::Any(parts) if is_conjunction(cond, negated) => {
            parts.iter().filter_map(|part| families_of(part, negated)).reduce(|a, b| &a & &b)
        }
        Cond::All(parts) | Cond::Any(parts) => {
            let each: Option<Vec<_>> = parts.iter().map(|part| families_of(part, negated)).collect();
            each?.into_iter().reduce(|a, b| &a | &b)
        }
        // Where no network is of the address's family, neither the condition nor its negation holds.
        Cond::Address(_, networks) => {
            let family = |network: &Network| if network.address.is_ipv4() { AF_INET } else { AF_INET6 };
            Some(networks.iter().map(family).collect())
        }
        Cond::Compare { .. } | Cond::NonZero(..) | Cond::Within(..) => {
            let needed = families_needed(cond);
            families_asked(cond, negated).or_else(|| (!needed.is_empty()).then_some(needed))
        }
    }
}

/// The families in which a request has all the fields of a condition; none where they do not depend on it.
fn families_needed(cond: &Cond) -> BTreeSet<u64> {
    cond.fields().iter().flat_map(|field| field.families).copied().collect()
}

/// The families for which a condition (or its negation) holds, where it asks for nothing else.
fn families_asked(cond: &Cond, negated: bool) -> Families {
    let is_family = |value: &Value| matches!(value, Value::Field(field) if field.byte == FAMILY_OF_ADDRESS && field.form == Form::U32);
    match cond {
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
