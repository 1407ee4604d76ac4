//! A condition of a profile on one argument, as the set of the 32-bit values that meet it.
//!
//! Profiles compare all 64 bits of an argument. The parameters that filters see are of the C type
//! `int` or smaller: the kernel drops the upper half, and what stands there is up to the program.
//! A request has no upper half. It is held to both calls that a C library may make of it: the upper
//! half is zero, or it repeats the sign bit. Where the two come out differently, the profile's
//! stricter answer counts.

use crate::ranges::Ranges;
use ringwarden_profile::{Arg, Operator};

/// The highest value of an argument that filters see.
pub(crate) const MOST: u64 = u32::MAX as u64;

const SIGN: u64 = 1 << 31;
/// What a sign bit adds to the upper half.
const EXTENSION: u64 = u64::MAX << 32;

/// Values of an argument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Values {
    Ranges(Ranges),
    /// Those that have `value` in the bits of `mask`; not all bits are in the mask, and some are.
    Bits {
        mask: u64,
        value: u64,
    },
}

/// Which way to err where the two calls of a request come out differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The condition allows: it has to hold for both.
    Both,
    /// The condition denies: it is enough if it holds for one.
    Either,
}

impl Values {
    /// Those that meet a condition.
    pub(crate) fn of(arg: &Arg, reading: Reading) -> Self {
        let Arg { value, value_two, op, .. } = *arg;
        let ranges = match op {
            Operator::Eq => Ranges::between(value, value),
            Operator::Ne => Ranges::between(value, value).complement(u64::MAX),
            Operator::Lt => Ranges::between(value, u64::MAX).complement(u64::MAX),
            Operator::Le => Ranges::between(0, value),
            Operator::Ge => Ranges::between(value, u64::MAX),
            Operator::Gt => Ranges::between(0, value).complement(u64::MAX),
            // libseccomp drops the bits of the second number that are not in the first.
            Operator::MaskedEq => return Self::masked(value, value_two & value, reading),
        };
        let zero = ranges.intersection(&Ranges::between(0, MOST));
        let sign = ranges.intersection(&Ranges::between(EXTENSION | SIGN, u64::MAX));
        let sign: Ranges = sign.as_slice().iter().map(|&(first, last)| (first & MOST, last & MOST)).collect();
        let sign = sign.union(&zero.intersection(&Ranges::between(0, SIGN - 1)));
        Self::Ranges(match reading {
            Reading::Both => zero.intersection(&sign),
            Reading::Either => zero.union(&sign),
        })
    }

    /// Those that have some bits, among 64, as they should be.
    fn masked(mask: u64, value: u64, reading: Reading) -> Self {
        let upper = mask & EXTENSION;
        // What has the sign bit meets the condition with an upper half of ones, and so on.
        let (with_zeros, with_ones) = (value & EXTENSION == 0, value & EXTENSION == upper);
        let lower = |sign: Option<u64>| {
            let (mask, value) = (mask & MOST, value & MOST);
            match sign {
                Some(sign) if mask & SIGN != 0 && value & SIGN != sign => Self::none(),
                Some(sign) => Self::bits(mask | SIGN, value | sign),
                None => Self::bits(mask, value),
            }
        };
        match (reading, with_zeros, with_ones) {
            (_, true, true) | (Reading::Either, true, false) => lower(None),
            // Without the sign bit both upper halves are zero.
            (Reading::Both, true, false) => lower(Some(0)),
            (Reading::Either, false, true) => lower(Some(SIGN)),
            (_, false, false) | (Reading::Both, false, true) => Self::none(),
        }
    }

    /// Those that have `value` in the bits of `mask`.
    pub(crate) fn bits(mask: u64, value: u64) -> Self {
        match mask {
            0 => Self::all(),
            MOST => Self::Ranges(Ranges::between(value, value)),
            _ => Self::Bits { mask, value },
        }
    }

    pub(crate) fn all() -> Self {
        Self::Ranges(Ranges::between(0, MOST))
    }

    pub(crate) fn none() -> Self {
        Self::Ranges(Ranges::none())
    }

    /// The same among values that have no bits but those of `possible`.
    pub(crate) fn among(self, possible: u64) -> Self {
        match self {
            Self::Bits { value, .. } if value & !possible != 0 => Self::none(),
            Self::Bits { mask, value } if mask & possible == possible => {
                Self::Ranges(Ranges::between(value, value))
            }
            Self::Bits { mask, value } => Self::bits(mask & possible, value),
            Self::Ranges(ranges) => {
                let inside = ranges.without_single_strangers(possible);
                let outside = inside.complement(MOST).without_single_strangers(possible);
                Self::Ranges(outside.complement(MOST))
            }
        }
    }

    pub(crate) fn is_all(&self) -> bool {
        *self == Self::all()
    }

    pub(crate) fn is_none(&self) -> bool {
        *self == Self::none()
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        match self {
            Self::Ranges(ranges) => ranges.contains(number),
            Self::Bits { mask, value } => number & mask == *value,
        }
    }

    /// Whether every number of the one is in the other; `false` where that is not easily seen.
    pub(crate) fn is_subset(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ranges(a), Self::Ranges(b)) => a.is_subset(b),
            (Self::Bits { mask, value }, Self::Bits { mask: wider, value: other }) => {
                mask & wider == *wider && value & wider == *other
            }
            (Self::Ranges(a), bits) => {
                a.as_slice().iter().all(|&(first, last)| first == last && bits.contains(first))
            }
            (Self::Bits { .. }, ranges) => ranges.is_all(),
        }
    }

    /// Whether no number is in both; `false` where that is not easily seen.
    pub(crate) fn is_disjoint(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ranges(a), Self::Ranges(b)) => a.intersection(b).is_empty(),
            (Self::Bits { mask: a, value }, Self::Bits { mask: b, value: other }) => {
                (value ^ other) & a & b != 0
            }
            (Self::Ranges(a), bits) | (bits, Self::Ranges(a)) => {
                a.as_slice().iter().all(|&(first, last)| first == last && !bits.contains(first))
            }
        }
    }
}
