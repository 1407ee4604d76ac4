//! What names stand for that a policy gives to constants and sets: `[define]`.
//!
//! A name means one thing, in a file and in all that it extends: none can be given a second meaning.

use crate::check::cond::Width;
use crate::data::constant::Constant;
use crate::data::kind::Kind;
use crate::diagnostic::origin::RuleOrigin;
use crate::diagnostic::source::{Source, Span};
use crate::syntax::ast::Arithmetic;
use crate::syntax::network::Network;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The definitions of a file, and of those that it extends.
pub(crate) type Names = BTreeMap<String, Arc<Definition>>;

/// A name and what it stands for.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) means: Defined,
    pub(crate) origin: RuleOrigin,
    /// The file that it is in.
    pub(crate) source: Arc<Source>,
    /// The name there.
    pub(crate) span: Span,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Defined {
    Number(Fixed),
    Network(Network),
    /// Each element once.
    Set(Vec<Item>),
    /// Nothing: what is wrong has been reported.
    Broken,
}

/// An element of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// Both ends included.
    Range(Fixed, Fixed),
    Network(Network),
}

/// A number that no request has a part in. How many bits it has is only known where it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fixed {
    /// Computed in 32 bits, where they suffice for what it is made of.
    narrow: Option<u64>,
    /// Computed in 64 bits.
    wide: u64,
    pub(crate) kind: Option<Kind>,
}

impl Fixed {
    pub(crate) fn plain(value: u64) -> Self {
        Self { narrow: Some(value).filter(|value| *value <= Width::W32.mask()), wide: value, kind: None }
    }

    pub(crate) fn constant(constant: &Constant) -> Self {
        Self { kind: Some(constant.kind), ..Self::plain(constant.value) }
    }

    pub(crate) fn complement(self) -> Self {
        Self { narrow: self.narrow.map(|value| !value & Width::W32.mask()), wide: !self.wide, ..self }
    }

    /// What the operator makes of the two, which are of one kind, or one of them plain.
    pub(crate) fn apply(op: Arithmetic, left: Self, right: Self) -> Self {
        let is_shift = matches!(op, Arithmetic::Shl | Arithmetic::Shr);
        let narrow = left.narrow.zip(right.narrow).filter(|(_, by)| !is_shift || *by < 32);
        Self {
            narrow: narrow.map(|(left, right)| op.apply(left, right, Width::W32)),
            wide: op.apply(left.wide, right.wide, Width::W64),
            kind: left.kind.or(right.kind),
        }
    }

    /// The number in that many bits; `None` if it needs more.
    pub(crate) fn value(self, width: Width) -> Option<u64> {
        match width {
            Width::W32 => self.narrow,
            Width::W64 => Some(self.wide),
        }
    }
}
