//! Truth values that depend on a request, and what can be built from them.
//!
//! Programs are translated once and for two machines: [`Bdd`](crate::bdd::Bdd), where equal functions
//! are equal references, and [`Circuit`](crate::circuit::Circuit), which a SAT solver reads.

use std::ops::Not;

/// A truth value that depends on the request: a reference to a node of the [`Gates`] that made it,
/// negated or not. It means nothing to any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bit(u32);

impl Bit {
    /// False, whatever the request.
    pub const FALSE: Self = Self(0);
    /// True, whatever the request.
    pub const TRUE: Self = Self(1);

    /// The function of a node: there are fewer than 2³¹ of them, and node 0 of every machine is false.
    pub(crate) fn of_node(node: usize) -> Self {
        Self((node as u32) << 1)
    }

    /// The same for every request.
    pub fn constant(value: bool) -> Self {
        Self(value.into())
    }

    pub(crate) fn node(self) -> usize {
        (self.0 >> 1) as usize
    }

    /// The reference itself, for hashing.
    pub(crate) fn raw(self) -> u32 {
        self.0
    }

    pub(crate) fn is_negated(self) -> bool {
        self.0 & 1 != 0
    }

    pub(crate) fn is_constant(self) -> bool {
        self.node() == 0
    }

    /// The negation if `negate`, else the same.
    pub(crate) fn negated_if(self, negate: bool) -> Self {
        Self(self.0 ^ u32::from(negate))
    }
}

impl Not for Bit {
    type Output = Self;

    fn not(self) -> Self {
        self.negated_if(true)
    }
}

/// A machine that joins truth values.
///
/// It has a budget. Once [exhausted](Self::is_exhausted), it stops working and answers anything, and
/// everything it ever gave is void: ask before an answer is used.
pub trait Gates {
    /// The variable of that number.
    fn variable(&mut self, number: usize) -> Bit;

    /// `then` where the condition holds, `otherwise` where not.
    fn choose(&mut self, condition: Bit, then: Bit, otherwise: Bit) -> Bit;

    /// Whether the budget is used up.
    fn is_exhausted(&self) -> bool;

    /// Whether both hold.
    fn and(&mut self, left: Bit, right: Bit) -> Bit {
        self.choose(left, right, Bit::FALSE)
    }

    /// Whether one of them holds, or both.
    fn or(&mut self, left: Bit, right: Bit) -> Bit {
        !self.and(!left, !right)
    }

    /// Whether one of them holds and the other does not.
    fn xor(&mut self, left: Bit, right: Bit) -> Bit {
        self.choose(left, !right, right)
    }

    /// Whether `right` holds wherever `left` does.
    fn implies(&mut self, left: Bit, right: Bit) -> Bit {
        !self.and(left, !right)
    }
}
