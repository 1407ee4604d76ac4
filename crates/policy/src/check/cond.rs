//! Expressions checked: names resolved, types agreed, every condition possible both ways.
//!
//! What a condition means is [`eval`](crate::policy::eval)'s to say; [`lower`](crate::compile::lower) says it again
//! for the compiler.

use crate::data::field::Field;
use crate::syntax::ast::{Arithmetic, Comparison};
use crate::syntax::network::Network;

/// A condition on one request.
#[derive(Clone, Debug)]
pub(crate) enum Cond {
    Compare {
        op: Comparison,
        left: Value,
        right: Value,
        width: Width,
    },
    /// The value is not 0.
    NonZero(Value, Width),
    /// The value lies in one of the ranges, both ends included. First ends ascend, and no range
    /// touches the next.
    Within(Value, Vec<(u64, u64)>, Width),
    /// The address lies in one of the networks; not empty.
    Address(&'static Field, Vec<Network>),
    Not(Box<Cond>),
    All(Vec<Cond>),
    Any(Vec<Cond>),
}

/// A number computed from a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Const(u64),
    Field(&'static Field),
    Complement(Box<Value>),
    /// The right side of a shift is constant and below the width.
    Arithmetic(Arithmetic, Box<Value>, Box<Value>),
}

/// How many bits a condition's numbers are computed in: results wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    W32,
    W64,
}

impl Width {
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::W32 => 32,
            Self::W64 => 64,
        }
    }

    pub(crate) fn mask(self) -> u64 {
        match self {
            Self::W32 => u64::from(u32::MAX),
            Self::W64 => u64::MAX,
        }
    }
}

impl Arithmetic {
    /// The result of the operator on two numbers that fit the width.
    pub(crate) fn apply(self, left: u64, right: u64, width: Width) -> u64 {
        let result = match self {
            Self::Or => left | right,
            Self::Xor => left ^ right,
            Self::And => left & right,
            Self::Shl => left.checked_shl(right as u32).unwrap_or(0),
            Self::Shr => left.checked_shr(right as u32).unwrap_or(0),
            Self::Add => left.wrapping_add(right),
            Self::Sub => left.wrapping_sub(right),
        };
        result & width.mask()
    }
}

impl Comparison {
    pub(crate) fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ne => left != right,
            Self::Lt => left < right,
            Self::Le => left <= right,
            Self::Gt => left > right,
            Self::Ge => left >= right,
        }
    }
}

impl Cond {
    /// The fields that the condition reads, each once.
    pub(crate) fn fields(&self) -> Vec<&'static Field> {
        let mut fields = Vec::new();
        self.collect(&mut fields);
        fields
    }

    fn collect(&self, fields: &mut Vec<&'static Field>) {
        match self {
            Self::Compare { left, right, .. } => {
                left.collect(fields);
                right.collect(fields);
            }
            Self::NonZero(value, _) | Self::Within(value, ..) => value.collect(fields),
            Self::Address(field, _) if fields.contains(field) => {}
            Self::Address(field, _) => fields.push(field),
            Self::Not(inner) => inner.collect(fields),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.collect(fields)),
        }
    }
}

impl Cond {
    /// The numbers that the condition speaks of, ends of ranges included; addresses are none.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        self.collect_numbers(&mut numbers);
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn collect_numbers(&self, numbers: &mut Vec<u64>) {
        match self {
            Self::Compare { left, right, .. } => {
                left.collect_numbers(numbers);
                right.collect_numbers(numbers);
            }
            Self::NonZero(value, _) => value.collect_numbers(numbers),
            Self::Within(value, ranges, _) => {
                value.collect_numbers(numbers);
                numbers.extend(ranges.iter().flat_map(|&(first, last)| [first, last]));
            }
            Self::Address(..) => {}
            Self::Not(inner) => inner.collect_numbers(numbers),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.collect_numbers(numbers));
            }
        }
    }
}

impl Value {
    fn collect_numbers(&self, numbers: &mut Vec<u64>) {
        match self {
            Self::Const(value) => numbers.push(*value),
            Self::Field(_) => {}
            Self::Complement(inner) => inner.collect_numbers(numbers),
            Self::Arithmetic(_, left, right) => {
                left.collect_numbers(numbers);
                right.collect_numbers(numbers);
            }
        }
    }

    fn collect(&self, fields: &mut Vec<&'static Field>) {
        match self {
            Self::Const(_) => {}
            Self::Field(field) if fields.contains(field) => {}
            Self::Field(field) => fields.push(field),
            Self::Complement(inner) => inner.collect(fields),
            Self::Arithmetic(_, left, right) => {
                left.collect(fields);
                right.collect(fields);
            }
        }
    }
}
