//! What a profile says of one system call: allowed, denied, or allowed under conditions.

use crate::condition::{MOST, Values};
use crate::ranges::Ranges;
use ringwarden_cbpf::insn::BPF_MAXINSNS;
use std::collections::{BTreeMap, BTreeSet};

/// How many arguments system calls have.
const ARGUMENTS: u8 = 6;

/// Conditions on arguments, by their index, all of which have to hold; none of them says nothing.
/// Those of one rule, or of what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Match(pub(crate) BTreeMap<u8, Values>);

impl Match {
    /// `None` where a condition can never hold.
    pub(crate) fn new(values: impl IntoIterator<Item = (u8, Values)>) -> Option<Self> {
        let mut all = BTreeMap::new();
        for (index, values) in values {
            if values.is_none() {
                return None;
            }
            if !values.is_all() {
                all.insert(index, values);
            }
        }
        Some(Self(all))
    }

    fn is_always(&self) -> bool {
        self.0.is_empty()
    }

    fn is_subset(&self, other: &Self) -> bool {
        other.0.iter().all(|(index, values)| self.0.get(index).is_some_and(|own| own.is_subset(values)))
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        self.0.iter().any(|(index, own)| other.0.get(index).is_some_and(|values| own.is_disjoint(values)))
    }

    fn holds(&self, arguments: &BTreeMap<u8, u64>) -> bool {
        self.0.iter().all(|(index, values)| arguments.get(index).is_some_and(|&own| values.contains(own)))
    }
}

/// Allowed where one of `any` holds, and none of `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Formula {
    pub(crate) any: Vec<Match>,
    pub(crate) none: Vec<Match>,
}

/// A formula, where one is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Simplified {
    Always,
    Never,
    Depends(Formula),
}

impl Formula {
    /// A call is allowed where one of `any` holds, and none of `none`.
    pub(crate) fn new(any: Vec<Match>, none: Vec<Match>) -> Self {
        Self { any: united(any), none: united(none) }
    }

    /// Whether some call is in both parts.
    pub(crate) fn disagrees(&self) -> bool {
        self.none.iter().any(|never| self.any.iter().any(|one| !one.is_disjoint(never)))
    }

    /// Whether it is longer than any filter. All parts but a few look at two arguments or at some
    /// bits of one: that takes two instructions at least.
    pub(crate) fn is_too_long(&self) -> bool {
        self.any.len() + self.none.len() > BPF_MAXINSNS / 2
    }

    /// The same in fewer words.
    pub(crate) fn simplify(self) -> Simplified {
        let mut none = pruned(self.none);
        if none.iter().any(Match::is_always) {
            return Simplified::Never;
        }
        let mut any = self.any;
        // Ranges of one argument that nothing passes are left out of what passes.
        none.retain(|never| match never.0.iter().next() {
            Some((&index, Values::Ranges(denied))) if never.0.len() == 1 => {
                let in_ranges = |one: &Match| !matches!(one.0.get(&index), Some(Values::Bits { .. }));
                let folds = any.iter().all(in_ranges);
                if folds {
                    any = any.drain(..).filter_map(|one| without(one, index, denied)).collect();
                }
                !folds
            }
            _ => true,
        });
        any.retain(|one| !none.iter().any(|never| one.is_subset(never)));
        let any = pruned(united(any));
        none.retain(|never| !any.iter().all(|one| one.is_disjoint(never)));
        if any.is_empty() {
            Simplified::Never
        } else if none.is_empty() && any.iter().any(Match::is_always) {
            Simplified::Always
        } else {
            Simplified::Depends(Self { any, none })
        }
    }

    /// Whether it allows a call: `arguments` has those that it speaks of, by index.
    pub(crate) fn holds(&self, arguments: &BTreeMap<u8, u64>) -> bool {
        self.any.iter().any(|one| one.holds(arguments)) && !self.none.iter().any(|one| one.holds(arguments))
    }
}

/// A match with an argument outside some ranges.
fn without(mut one: Match, index: u8, denied: &Ranges) -> Option<Match> {
    let outside = denied.complement(MOST);
    let values = match one.0.remove(&index) {
        Some(Values::Ranges(own)) => own.intersection(&outside),
        _ => outside,
    };
    one.0.insert(index, Values::Ranges(values));
    Match::new(one.0)
}

/// What an argument may be: ranges of values, and masks with the bits that are to be in them.
#[derive(Default)]
struct Union {
    ranges: Vec<(u64, u64)>,
    bits: BTreeSet<(u64, u64)>,
}

/// The same in fewer parts: those that differ in ranges of one argument only are one, and so are those that differ
/// in one bit.
fn united(mut parts: Vec<Match>) -> Vec<Match> {
    for index in 0..ARGUMENTS {
        let mut unions: BTreeMap<Match, Union> = BTreeMap::new();
        let mut others = Vec::new();
        for mut part in parts {
            match part.0.remove(&index) {
                Some(Values::Ranges(own)) => unions.entry(part).or_default().ranges.extend(own.as_slice()),
                Some(Values::Bits { mask, value }) => {
                    unions.entry(part).or_default().bits.insert((mask, value));
                }
                None => others.push(part),
            }
        }
        for (part, Union { ranges, bits }) in unions {
            let ranges = (!ranges.is_empty()).then(|| Values::Ranges(ranges.into_iter().collect()));
            let bits = joined(bits).into_iter().map(|(mask, value)| Values::bits(mask, value));
            // What is now everything says nothing any more.
            let with = |values| Match::new(part.0.clone().into_iter().chain([(index, values)]));
            others.extend(ranges.into_iter().chain(bits).filter_map(with));
        }
        parts = others;
    }
    parts
}

/// The same values by fewer masks and bits.
fn joined(mut bits: BTreeSet<(u64, u64)>) -> BTreeSet<(u64, u64)> {
    let mut single = BTreeSet::new();
    while let Some((mask, value)) = bits.pop_last() {
        let mut differing = (0..u64::BITS).map(|bit| 1 << bit).filter(|bit| mask & bit != 0);
        let mut is_there = |other| bits.remove(&other) || single.remove(&other);
        match differing.find(|bit| is_there((mask, value ^ bit))) {
            Some(bit) => bits.insert((mask & !bit, value & !bit)),
            None => single.insert((mask, value)),
        };
    }
    single
}

/// Those of which each says something that no other one does.
fn pruned(parts: Vec<Match>) -> Vec<Match> {
    let mut kept: Vec<Match> = Vec::new();
    for part in parts {
        if !kept.iter().any(|other| part.is_subset(other)) {
            kept.retain(|other| !other.is_subset(&part));
            kept.push(part);
        }
    }
    kept
}
