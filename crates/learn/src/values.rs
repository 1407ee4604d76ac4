//! The values that a field was seen to have.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The most values that are kept apart.
const MOST: usize = 256;

/// The values of one field: numbers, or addresses as numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Values {
    /// Each of them.
    Few(BTreeSet<u128>),
    /// More than are kept apart.
    Many(Bounds),
}

/// What many values have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    pub(crate) least: u128,
    pub(crate) most: u128,
    /// The bits that all of them have.
    pub(crate) all: u128,
    /// The bits that any of them has.
    pub(crate) any: u128,
}

impl Bounds {
    fn of(value: u128) -> Self {
        Self { least: value, most: value, all: value, any: value }
    }

    fn join(self, other: Self) -> Self {
        Self {
            least: self.least.min(other.least),
            most: self.most.max(other.most),
            all: self.all & other.all,
            any: self.any | other.any,
        }
    }
}

impl Default for Values {
    fn default() -> Self {
        Self::Few(BTreeSet::new())
    }
}

impl Values {
    pub(crate) fn add(&mut self, value: u128) {
        match self {
            Self::Few(values) => {
                values.insert(value);
                if values.len() > MOST {
                    *self = Self::Many(self.bounds());
                }
            }
            Self::Many(bounds) => *bounds = bounds.join(Bounds::of(value)),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        match other {
            Self::Few(values) => values.iter().for_each(|&value| self.add(value)),
            Self::Many(bounds) => *self = Self::Many(self.join_all(*bounds)),
        }
    }

    /// The values, where they are kept apart.
    pub(crate) fn few(&self) -> Option<&BTreeSet<u128>> {
        match self {
            Self::Few(values) => Some(values),
            Self::Many(_) => None,
        }
    }

    /// What they have in common; of none, that all are 0.
    pub(crate) fn bounds(&self) -> Bounds {
        match self {
            Self::Few(values) => values
                .iter()
                .map(|&value| Bounds::of(value))
                .reduce(Bounds::join)
                .unwrap_or_else(|| Bounds::of(0)),
            Self::Many(bounds) => *bounds,
        }
    }

    fn join_all(&self, other: Bounds) -> Bounds {
        match self {
            Self::Few(values) => values.iter().fold(other, |bounds, &value| bounds.join(Bounds::of(value))),
            Self::Many(bounds) => bounds.join(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(all: impl IntoIterator<Item = u128>) -> Values {
        let mut values = Values::default();
        all.into_iter().for_each(|value| values.add(value));
        values
    }

    #[test]
    fn many_values_are_known_by_their_ends_and_bits() {
        let few = values(1..=MOST as u128);
        assert_eq!(few.few().map(BTreeSet::len), Some(MOST));
        let many = values((1..=MOST as u128 + 1).map(|value| value << 8 | 3));
        let most = (MOST as u128 + 1) << 8 | 3;
        assert_eq!(many, Values::Many(Bounds { least: 0x103, most, all: 3, any: 0x1ff03 }));
    }

    #[test]
    fn merging_is_adding_the_other_s_values() {
        for (a, b) in [(0..10, 5..20), (0..300, 7..9), (7..9, 0..300), (0..300, 200..700), (0..200, 100..300)]
        {
            let mut merged = values(a.clone());
            merged.merge(&values(b.clone()));
            assert_eq!(merged, values(a.clone().chain(b.clone())), "{a:?} {b:?}");
        }
    }
}
