//! What is known of a value before any request is seen: enough to refuse conditions that cannot
//! come out both ways.

use crate::check::cond::{Value, Width};
use crate::syntax::ast::{Arithmetic, Comparison};

/// The bits that a value surely has, and those that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Set in every value: also the least that it can be.
    pub(crate) ones: u64,
    /// Set in some value: also the most that it can be.
    pub(crate) maybe: u64,
}

impl Known {
    pub(crate) fn of(value: &Value, width: Width) -> Self {
        match value {
            Value::Const(value) => Self { ones: *value, maybe: *value },
            Value::Field(field) => Self { ones: 0, maybe: field.mask },
            Value::Complement(value) => {
                let inner = Self::of(value, width);
                Self { ones: !inner.maybe & width.mask(), maybe: !inner.ones & width.mask() }
            }
            Value::Arithmetic(op, left, right) => {
                Self::arithmetic(*op, Self::of(left, width), Self::of(right, width), width)
            }
        }
    }

    fn arithmetic(op: Arithmetic, left: Self, right: Self, width: Width) -> Self {
        let (ones, maybe) = match op {
            Arithmetic::And => (left.ones & right.ones, left.maybe & right.maybe),
            Arithmetic::Or => (left.ones | right.ones, left.maybe | right.maybe),
            Arithmetic::Xor => (
                (left.ones & !right.maybe) | (right.ones & !left.maybe),
                (left.maybe | right.maybe) & !(left.ones & right.ones),
            ),
            // The amount is constant: both of its sides are the number.
            Arithmetic::Shl | Arithmetic::Shr => {
                (op.apply(left.ones, right.ones, width), op.apply(left.maybe, right.maybe, width))
            }
            Arithmetic::Add => match left.maybe.checked_add(right.maybe) {
                Some(most) if most <= width.mask() => (0, up_to(most)),
                _ => (0, width.mask()),
            },
            Arithmetic::Sub => (0, width.mask()),
        };
        Self { ones, maybe }
    }

    /// The value, where only one is possible.
    fn constant(self) -> Option<u64> {
        (self.ones == self.maybe).then_some(self.ones)
    }

    /// The outcome of a comparison, where it is always the same.
    pub(crate) fn compare(op: Comparison, left: Self, right: Self) -> Option<bool> {
        if let (Some(left), Some(right)) = (left.constant(), right.constant()) {
            return Some(op.holds(left, right));
        }
        match op {
            Comparison::Eq => left.differs(right).then_some(false),
            Comparison::Ne => left.differs(right).then_some(true),
            Comparison::Lt if left.maybe < right.ones => Some(true),
            Comparison::Lt if left.ones >= right.maybe => Some(false),
            Comparison::Le if left.maybe <= right.ones => Some(true),
            Comparison::Le if left.ones > right.maybe => Some(false),
            Comparison::Gt => Self::compare(Comparison::Lt, right, left),
            Comparison::Ge => Self::compare(Comparison::Le, right, left),
            _ => None,
        }
    }

    /// Whether the two are never equal: one surely has a bit that the other never has.
    fn differs(self, other: Self) -> bool {
        self.ones & !other.maybe != 0 || other.ones & !self.maybe != 0
    }

    /// Whether a range may hold the value.
    pub(crate) fn meets(self, (first, last): (u64, u64)) -> bool {
        let outside = last < self.ones || first > self.maybe;
        let impossible = first == last && self.differs(Self { ones: first, maybe: first });
        !outside && !impossible
    }

    /// Whether a range surely holds the value.
    pub(crate) fn inside(self, (first, last): (u64, u64)) -> bool {
        first <= self.ones && self.maybe <= last
    }
}

/// All bits up to the highest one of a number.
fn up_to(most: u64) -> u64 {
    u64::MAX.checked_shr(most.leading_zeros()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_possible_value_is_ruled_out() {
        // Every pair of three-bit values against every possible description of them.
        let all: Vec<Known> =
            (0..8).flat_map(|maybe| (0..8).map(move |ones| Known { ones: ones & maybe, maybe })).collect();
        let values = |known: Known| (0..8u64).filter(move |v| v & !known.maybe == 0 && known.ones & !v == 0);
        let ops = [Arithmetic::Or, Arithmetic::Xor, Arithmetic::And, Arithmetic::Add, Arithmetic::Sub];
        let compares =
            [Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge];
        for &left in &all {
            for &right in &all {
                for (l, r) in values(left).flat_map(|l| values(right).map(move |r| (l, r))) {
                    for op in ops {
                        let known = Known::arithmetic(op, left, right, Width::W32);
                        let result = op.apply(l, r, Width::W32);
                        assert!(result & !known.maybe == 0 && known.ones & !result == 0, "{l} {op:?} {r}");
                    }
                    for op in compares {
                        if let Some(outcome) = Known::compare(op, left, right) {
                            assert_eq!(op.holds(l, r), outcome, "{l} {op:?} {r}");
                        }
                    }
                    let (first, last) = (r.min(3), r.max(3));
                    let within = first <= l && l <= last;
                    assert!(left.meets((first, last)) || !within, "{l} in {first}..={last}");
                    assert!(!left.inside((first, last)) || within, "{l} in {first}..={last}");
                }
            }
        }
    }
}
