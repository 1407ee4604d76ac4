//! Arguments on both sides of a formula, for the policy's own tests.

use crate::condition::{MOST, Values};
use crate::formula::Formula;
use std::collections::BTreeMap;

/// How many values of an argument are tried, and how many denied calls are given.
const TRIED: usize = 12;
const DENIED: usize = 3;

/// Arguments by index, and whether the formula allows them: one allowed call, where there is one
/// among those tried, and a few denied ones. `usual` is a value that programs often give each
/// argument.
pub(crate) fn of(formula: &Formula, usual: impl Fn(u8) -> u64) -> Vec<(BTreeMap<u8, u64>, bool)> {
    let mut candidates: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    for (&index, values) in formula.any.iter().chain(&formula.none).flat_map(|one| &one.0) {
        let numbers = candidates.entry(index).or_insert_with(|| vec![usual(index)]);
        for number in edges(values) {
            if numbers.len() < TRIED && !numbers.contains(&number) {
                numbers.push(number);
            }
        }
    }
    let mut calls = vec![BTreeMap::new()];
    for (&index, numbers) in &candidates {
        let with = |call: &BTreeMap<u8, u64>, number| {
            let mut call = call.clone();
            call.insert(index, number);
            call
        };
        calls = numbers.iter().flat_map(|&number| calls.iter().map(move |call| with(call, number))).collect();
    }
    let (allowed, denied): (Vec<_>, Vec<_>) =
        calls.into_iter().map(|call| (formula.holds(&call), call)).partition(|(holds, _)| *holds);
    let chosen = allowed.into_iter().take(1).chain(denied.into_iter().take(DENIED));
    chosen.map(|(holds, call)| (call, holds)).collect()
}

/// Values next to which the condition changes.
fn edges(values: &Values) -> Vec<u64> {
    match values {
        Values::Ranges(ranges) => {
            let gaps = ranges.complement(MOST);
            let ends = gaps.as_slice().iter().chain(ranges.as_slice());
            ends.flat_map(|&(first, last)| [first, last]).collect()
        }
        Values::Bits { mask, value } => vec![*value, value ^ (mask & mask.wrapping_neg())],
    }
}
