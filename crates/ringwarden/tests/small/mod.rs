//! Conditions of which all requests can be tried.

use proptest::prelude::*;
use proptest::sample::select;
use std::fmt;

/// A condition on the type of a socket and the flags given with it: 64 requests tell all of them apart.
#[derive(Clone, Debug)]
pub(crate) enum Small {
    Compare(&'static str, u32),
    Within(u32, u32),
    Bits(u32),
    Flag(&'static str),
    Not(Box<Small>),
    Both(Box<Small>, Box<Small>),
    Either(Box<Small>, Box<Small>),
}

const FLAGS: [(&str, u32); 2] = [("SOCK_NONBLOCK", 0o4000), ("SOCK_CLOEXEC", 0o2000000)];

impl Small {
    pub(crate) fn holds(&self, word: u32) -> bool {
        let kind = word & 0xf;
        match self {
            Self::Compare(op, value) => match *op {
                "==" => kind == *value,
                "!=" => kind != *value,
                "<" => kind < *value,
                ">=" => kind >= *value,
                _ => unreachable!("{op}"),
            },
            Self::Within(first, last) => (first..=last).contains(&&kind),
            Self::Bits(bits) => kind & bits != 0,
            Self::Flag(flag) => FLAGS.iter().any(|(name, bit)| name == flag && word & bit != 0),
            Self::Not(inner) => !inner.holds(word),
            Self::Both(left, right) => left.holds(word) && right.holds(word),
            Self::Either(left, right) => left.holds(word) || right.holds(word),
        }
    }
}

impl fmt::Display for Small {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(op, value) => write!(f, "type {op} {value}"),
            Self::Within(first, last) => write!(f, "type in {first}..={last}"),
            Self::Bits(bits) => write!(f, "type & {bits} != 0"),
            Self::Flag(flag) => write!(f, "type_flags & {flag} != 0"),
            Self::Not(inner) => write!(f, "!({inner})"),
            Self::Both(left, right) => write!(f, "({left}) && ({right})"),
            Self::Either(left, right) => write!(f, "({left}) || ({right})"),
        }
    }
}

pub(crate) fn small() -> impl Strategy<Value = Small> {
    let leaf = prop_oneof![
        (select(&["==", "!=", "<", ">="][..]), 1..15u32).prop_map(|(op, value)| Small::Compare(op, value)),
        (0..15u32, 0..15u32).prop_map(|(one, other)| Small::Within(one.min(other), one.max(other))),
        (1..16u32).prop_map(Small::Bits),
        select(&["SOCK_NONBLOCK", "SOCK_CLOEXEC"][..]).prop_map(Small::Flag),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|inner| Small::Not(Box::new(inner))),
            two.clone().prop_map(|(left, right)| Small::Both(Box::new(left), Box::new(right))),
            two.prop_map(|(left, right)| Small::Either(Box::new(left), Box::new(right))),
        ]
    })
}

/// Every request of SOCKET that those conditions tell apart, by its second word.
pub(crate) fn every() -> impl Iterator<Item = u32> {
    let flags = (0..4).map(|set| FLAGS[0].1 * (set & 1) + FLAGS[1].1 * (set >> 1));
    flags.flat_map(|flags| (0..16).map(move |kind| kind | flags))
}
