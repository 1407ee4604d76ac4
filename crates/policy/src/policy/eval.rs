//! What a policy means: its own evaluator, which knows nothing of programs and compilers.
//!
//! A field may be absent: `port` has no value in a connection to an AF_UNIX address. A condition
//! on an absent field is neither true nor false, and neither is its negation; `&&` and `||` are
//! decided by their other parts if those suffice. A rule that stays undecided refuses the request.

use crate::check::cond::{Cond, Value, Width};
use crate::data::field::{AF_INET, AF_INET6, FAMILY_OF_ADDRESS, Field, Form};
use ringwarden_uapi::KernelModel;
use std::net::IpAddr;

/// Whether a request, given as the words of its context, meets a condition.
pub(crate) fn holds(cond: &Cond, words: &[u32]) -> bool {
    outcome(cond, words) == Some(true)
}

/// How a condition on such a request comes out; `None` where a field that decides is absent.
pub(crate) fn outcome(cond: &Cond, words: &[u32]) -> Option<bool> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    View(&bytes).cond(cond)
}

/// The context of a request as the C structure that it is. `None` is an absent value.
pub(crate) struct View<'b>(pub(crate) &'b [u8]);

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

    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }

    fn is_present(&self, field: &Field) -> bool {
        // A kernel's context may have room for what only the guard shows.
        let shown = !field.is_guards_own() || self.0.len() == KernelModel::Guard.facts().context_size;
        let family = || self.bytes(FAMILY_OF_ADDRESS).map(|bytes| u64::from(u32::from_ne_bytes(bytes)));
        shown
            && (field.families.is_empty() || family().is_some_and(|family| field.families.contains(&family)))
    }

    pub(crate) fn field(&self, field: &Field) -> Option<u64> {
        if !self.is_present(field) {
            return None;
        }
        let stored = match field.form {
            Form::U8 => u64::from(u8::from_ne_bytes(self.bytes(field.byte)?)),
            Form::U16 => u64::from(u16::from_ne_bytes(self.bytes(field.byte)?)),
            Form::Be16 => u64::from(u16::from_be_bytes(self.bytes(field.byte)?)),
            Form::U32 => u64::from(u32::from_ne_bytes(self.bytes(field.byte)?)),
            Form::U64 => u64::from_ne_bytes(self.bytes(field.byte)?),
            Form::Address => return None,
        };
        Some(stored & field.mask)
    }

    pub(crate) fn address(&self, field: &Field) -> Option<IpAddr> {
        if !self.is_present(field) {
            return None;
        }
        match u64::from(u32::from_ne_bytes(self.bytes(FAMILY_OF_ADDRESS)?)) {
            AF_INET => Some(IpAddr::from(self.bytes::<4>(field.byte)?)),
            AF_INET6 => Some(IpAddr::from(self.bytes::<16>(field.byte)?)),
            _ => None,
        }
    }
}
