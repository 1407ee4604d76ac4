//! What a policy means: its own evaluator, which knows nothing of programs and compilers.
//!
//! A field may be absent: `port` has no value in a connection to an AF_UNIX address. A condition
//! on an absent field is neither true nor false, and neither is its negation; `&&` and `||` are
//! decided by their other parts if those suffice. A rule that stays undecided refuses the request.

use crate::check::cond::{Cond, Value, Width};
use crate::data::view::View;

/// Whether a request, given as the words of its context, meets a condition.
pub(crate) fn holds(cond: &Cond, words: &[u32]) -> bool {
    outcome(cond, words) == Some(true)
}

/// How a condition on such a request comes out; `None` where a field that decides is absent.
pub(crate) fn outcome(cond: &Cond, words: &[u32]) -> Option<bool> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    View(&bytes).cond(cond)
}

impl View<'_> {
    fn cond(&self, cond: &Cond) -> Option<bool> {
        match cond {
            Cond::Compare { op, left, right, width } => {
                Some(op.holds(self.value(left, *width)?, self.value(right, *width)?))
            }
            Cond::NonZero(value, width) => Some(self.value(value, *width)? != 0),
            Cond::Within(value, ranges, width) => {
                let value = self.value(value, *width)?;
                Some(ranges.iter().any(|&(first, last)| first <= value && value <= last))
            }
            Cond::Address(field, networks) => {
                let address = self.address(field)?;
                let known = networks.iter().any(|network| network.address.is_ipv4() == address.is_ipv4());
                known.then(|| networks.iter().any(|network| network.contains(address)))
            }
            Cond::Not(inner) => self.cond(inner).map(|holds| !holds),
            Cond::All(parts) => self.decided(parts, false),
            Cond::Any(parts) => self.decided(parts, true),
        }
    }

    /// One part that comes out as `decisive` decides; else all must have come out.
    fn decided(&self, parts: &[Cond], decisive: bool) -> Option<bool> {
        let mut undecided = false;
        for part in parts {
            match self.cond(part) {
                Some(outcome) if outcome == decisive => return Some(decisive),
                Some(_) => {}
                None => undecided = true,
            }
        }
        (!undecided).then_some(!decisive)
    }

    fn value(&self, value: &Value, width: Width) -> Option<u64> {
        Some(match value {
            Value::Const(value) => *value,
            Value::Field(field) => self.field(field)?,
            Value::Complement(inner) => !self.value(inner, width)? & width.mask(),
            Value::Arithmetic(op, left, right) => {
                op.apply(self.value(left, width)?, self.value(right, width)?, width)
            }
        })
    }
}
