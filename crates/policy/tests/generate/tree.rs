//! Rules as trees, and what they mean.

use super::context::TestField;
use std::net::IpAddr;

#[derive(Clone, Debug)]
pub(crate) enum Num {
    Field(TestField),
    Literal(u64),
    Complement(Box<Num>),
    Binary(&'static str, Box<Num>, Box<Num>),
}

#[derive(Clone, Debug)]
pub(crate) enum Bool {
    Compare(&'static str, Num, Num),
    Within(Num, Vec<(u64, u64)>),
    Truthy(Num),
    Address(Vec<&'static str>),
    Not(Box<Bool>),
    All(Vec<Bool>),
    Any(Vec<Bool>),
}

impl Num {
    pub(crate) fn tightness(&self) -> u8 {
        match self {
            Self::Binary("|", ..) => 1,
            Self::Binary("^", ..) => 2,
            Self::Binary("&", ..) => 3,
            Self::Binary("<<" | ">>", ..) => 4,
            Self::Binary(..) => 5,
            Self::Complement(_) => 6,
            _ => 7,
        }
    }

    fn wide(&self) -> bool {
        match self {
            Self::Field(field) => field.wide,
            Self::Literal(_) => false,
            Self::Complement(inner) => inner.wide(),
            Self::Binary(_, left, right) => left.wide() || right.wide(),
        }
    }

    pub(crate) fn has_field(&self) -> bool {
        match self {
            Self::Field(_) => true,
            Self::Literal(_) => false,
            Self::Complement(inner) => inner.has_field(),
            Self::Binary(_, left, right) => left.has_field() || right.has_field(),
        }
    }

    fn value(&self, words: &[u32], mask: u64) -> Option<u64> {
        let value = match self {
            Self::Field(field) => (field.read)(words)?,
            Self::Literal(value) => *value,
            Self::Complement(inner) => !inner.value(words, mask)?,
            Self::Binary(op, left, right) => {
                let (left, right) = (left.value(words, mask)?, right.value(words, mask)?);
                match *op {
                    "|" => left | right,
                    "^" => left ^ right,
                    "&" => left & right,
                    "<<" => left << right,
                    ">>" => left >> right,
                    "+" => left.wrapping_add(right),
                    _ => left.wrapping_sub(right),
                }
            }
        };
        Some(value & mask)
    }

    fn literals(&self, into: &mut Vec<u64>) {
        match self {
            Self::Field(_) => {}
            Self::Literal(value) => into.push(*value),
            Self::Complement(inner) => inner.literals(into),
            Self::Binary(_, left, right) => {
                left.literals(into);
                right.literals(into);
            }
        }
    }
}

impl Bool {
    pub(crate) fn tightness(&self) -> u8 {
        match self {
            Self::Any(_) => 1,
            Self::All(_) => 2,
            Self::Compare(..) | Self::Within(..) | Self::Address(_) => 3,
            Self::Truthy(num) => 4 + num.tightness(),
            Self::Not(_) => 10,
        }
    }

    /// `None` where an absent field leaves it undecided.
    pub(crate) fn holds(&self, words: &[u32]) -> Option<bool> {
        let mask = |nums: &[&Num]| {
            if nums.iter().any(|num| num.wide()) { u64::MAX } else { u64::from(u32::MAX) }
        };
        match self {
            Self::Compare(op, left, right) => {
                let mask = mask(&[left, right]);
                let order = left.value(words, mask)?.cmp(&right.value(words, mask)?);
                Some(match *op {
                    "==" => order.is_eq(),
                    "!=" => order.is_ne(),
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_ge(),
                })
            }
            Self::Within(num, ranges) => {
                let value = num.value(words, mask(&[num]))?;
                Some(ranges.iter().any(|(first, last)| (first..=last).contains(&&value)))
            }
            Self::Truthy(num) => Some(num.value(words, mask(&[num]))? != 0),
            Self::Address(networks) => {
                let bytes: Vec<u8> = words[6..10].iter().flat_map(|word| word.to_ne_bytes()).collect();
                let (length, v4) = match words[4] {
                    2 => (4, true),
                    10 => (16, false),
                    _ => return None,
                };
                let same: Vec<_> = networks.iter().filter(|network| network.contains(':') != v4).collect();
                let inside = |network: &&&str| {
                    let (address, prefix) = network.split_once('/').unwrap_or((network, "128"));
                    let address: Vec<u8> = match address.parse().expect("an address") {
                        IpAddr::V4(v4) => v4.octets().to_vec(),
                        IpAddr::V6(v6) => v6.octets().to_vec(),
                    };
                    let prefix: usize = prefix.parse().expect("a prefix");
                    let bit = |bytes: &[u8], bit: usize| bytes[bit / 8] >> (7 - bit % 8) & 1;
                    (0..prefix.min(length * 8)).all(|at| bit(&bytes, at) == bit(&address, at))
                };
                (!same.is_empty()).then(|| same.iter().any(inside))
            }
            Self::Not(inner) => inner.holds(words).map(|holds| !holds),
            Self::All(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| part.holds(words)).collect();
                if parts.contains(&Some(false)) {
                    Some(false)
                } else {
                    (!parts.contains(&None)).then_some(true)
                }
            }
            Self::Any(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| part.holds(words)).collect();
                if parts.contains(&Some(true)) {
                    Some(true)
                } else {
                    (!parts.contains(&None)).then_some(false)
                }
            }
        }
    }

    /// The numbers in it: values at which its outcome may change.
    pub(crate) fn literals(&self, into: &mut Vec<u64>) {
        match self {
            Self::Compare(_, left, right) => {
                left.literals(into);
                right.literals(into);
            }
            Self::Within(num, ranges) => {
                num.literals(into);
                into.extend(ranges.iter().flat_map(|&(first, last)| [first, last]));
            }
            Self::Truthy(num) => num.literals(into),
            Self::Address(_) => {}
            Self::Not(inner) => inner.literals(into),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.literals(into)),
        }
    }
}
