//! Arithmetic on the words of a context, 32 bits at a time, as programs do it.

use std::rc::Rc;

/// A 32-bit value that a program can compute. Parts may be shared: what is small here can be long
/// as code, which is what [`size`](Self::size) tells.
#[derive(Clone, Debug)]
pub(crate) struct Word(Rc<Node>);

#[derive(Debug)]
pub(crate) enum Node {
    Const(u32),
    /// The word at that byte of the context.
    Load(u32),
    Op {
        op: Alu,
        left: Word,
        right: Word,
        /// How many nodes there are, shared ones counted as often as they occur.
        size: u32,
        /// The bits that may be set.
        maybe: u32,
        /// Some operation in it has no constant on its right: computing it takes X.
        needs_x: bool,
    },
}

/// An operation that programs have. Shifts are by constants below 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alu {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

impl Alu {
    pub(crate) fn commutes(self) -> bool {
        !matches!(self, Self::Sub | Self::Shl | Self::Shr)
    }

    fn apply(self, left: u32, right: u32) -> u32 {
        match self {
            Self::Add => left.wrapping_add(right),
            Self::Sub => left.wrapping_sub(right),
            Self::And => left & right,
            Self::Or => left | right,
            Self::Xor => left ^ right,
            Self::Shl => left << right,
            Self::Shr => left >> right,
        }
    }
}

impl Word {
    pub(crate) fn constant(value: u32) -> Self {
        Self(Rc::new(Node::Const(value)))
    }

    /// The word at that byte of the context, a multiple of 4.
    pub(crate) fn load(byte: usize) -> Self {
        Self(Rc::new(Node::Load(byte as u32)))
    }

    pub(crate) fn node(&self) -> &Node {
        &self.0
    }

    pub(crate) fn as_const(&self) -> Option<u32> {
        match *self.0 {
            Node::Const(value) => Some(value),
            _ => None,
        }
    }

    /// The operation at the top with a constant on its right.
    pub(crate) fn as_op_const(&self, wanted: Alu) -> Option<(&Word, u32)> {
        match &*self.0 {
            Node::Op { op, left, right, .. } if *op == wanted => Some((left, right.as_const()?)),
            _ => None,
        }
    }

    pub(crate) fn size(&self) -> u32 {
        match *self.0 {
            Node::Op { size, .. } => size,
            _ => 1,
        }
    }

    pub(crate) fn needs_x(&self) -> bool {
        matches!(*self.0, Node::Op { needs_x: true, .. })
    }

    fn maybe(&self) -> u32 {
        match *self.0 {
            Node::Const(value) => value,
            Node::Load(_) => u32::MAX,
            Node::Op { maybe, .. } => maybe,
        }
    }

    /// A word that agrees with this one on some bits, and is shorter where that is easily seen.
    pub(crate) fn on_bits(&self, bits: u32) -> Self {
        if self.maybe() & bits == 0 {
            return Self::constant(0);
        }
        let Node::Op { op, left, right, .. } = self.node() else { return self.clone() };
        match (op, right.as_const()) {
            (Alu::And, Some(mask)) if mask & bits == bits => left.on_bits(bits),
            (Alu::Or | Alu::Xor, _) if left.maybe() & bits == 0 => right.on_bits(bits),
            (Alu::Or | Alu::Xor, _) if right.maybe() & bits == 0 => left.on_bits(bits),
            (Alu::Shl, Some(by)) => left.on_bits(bits >> by).shl(by),
            (Alu::Shr, Some(by)) => left.on_bits(bits << by).shr(by),
            _ => self.clone(),
        }
    }

    /// The operation's result, in the shortest form that is easily seen.
    pub(crate) fn op(op: Alu, left: &Self, right: &Self) -> Self {
        match (left.as_const(), right.as_const()) {
            (Some(left), Some(right)) => return Self::constant(op.apply(left, right)),
            (Some(_), None) if op.commutes() => return Self::op(op, right, left),
            (Some(0), None) if matches!(op, Alu::Shl | Alu::Shr) => return left.clone(),
            (None, Some(right)) => return Self::op_const(op, left, right),
            _ => {}
        }
        Self::node_of(op, left, right)
    }

    fn node_of(op: Alu, left: &Self, right: &Self) -> Self {
        let size = left.size().saturating_add(right.size()).saturating_add(1);
        let needs_x = left.needs_x() || right.needs_x() || right.as_const().is_none();
        let maybe = match (op, right.as_const()) {
            (Alu::And, _) => left.maybe() & right.maybe(),
            (Alu::Or | Alu::Xor, _) => left.maybe() | right.maybe(),
            (Alu::Shl, Some(by)) => left.maybe() << by,
            (Alu::Shr, Some(by)) => left.maybe() >> by,
            _ => u32::MAX,
        };
        Self(Rc::new(Node::Op { op, left: left.clone(), right: right.clone(), size, maybe, needs_x }))
    }

    /// The operation with a constant on the right and none on the left.
    fn op_const(op: Alu, left: &Self, right: u32) -> Self {
        let left = &if op == Alu::And { left.on_bits(right) } else { left.clone() };
        match (op, right) {
            (Alu::Or, u32::MAX) => return Self::constant(u32::MAX),
            (Alu::Add | Alu::Sub | Alu::Or | Alu::Xor | Alu::Shl | Alu::Shr, 0) => return left.clone(),
            (Alu::And, mask) if left.maybe() & !mask == 0 => return left.clone(),
            _ => {}
        }
        match left.as_op_const(op) {
            Some((inner, before)) if op.commutes() => Self::op_const(op, inner, op.apply(before, right)),
            _ => Self::node_of(op, left, &Self::constant(right)),
        }
    }

    pub(crate) fn and(&self, mask: u32) -> Self {
        Self::op(Alu::And, self, &Self::constant(mask))
    }

    pub(crate) fn shl(&self, by: u32) -> Self {
        Self::op(Alu::Shl, self, &Self::constant(by))
    }

    pub(crate) fn shr(&self, by: u32) -> Self {
        Self::op(Alu::Shr, self, &Self::constant(by))
    }
}

/// A 64-bit value in two words.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) low: Word,
    pub(crate) high: Word,
}

impl Pair {
    pub(crate) fn constant(value: u64) -> Self {
        Self { low: Word::constant(value as u32), high: Word::constant((value >> 32) as u32) }
    }

    fn each(op: Alu, left: &Self, right: &Self) -> Self {
        Self { low: Word::op(op, &left.low, &right.low), high: Word::op(op, &left.high, &right.high) }
    }

    /// An operation without carry: AND, OR, XOR.
    pub(crate) fn bitwise(op: Alu, left: &Self, right: &Self) -> Self {
        Self::each(op, left, right)
    }

    pub(crate) fn add(left: &Self, right: &Self) -> Self {
        let sum = Self::each(Alu::Add, left, right);
        // The highest bit carries if both have it, or one has it and the sum has not.
        let both = Word::op(Alu::And, &left.low, &right.low);
        let one = Word::op(Alu::Or, &left.low, &right.low);
        let lost = Word::op(Alu::And, &one, &complement(&sum.low));
        let carry = Word::op(Alu::Or, &both, &lost).shr(31);
        Self { high: Word::op(Alu::Add, &sum.high, &carry), ..sum }
    }

    pub(crate) fn sub(left: &Self, right: &Self) -> Self {
        let difference = Self::each(Alu::Sub, left, right);
        // It borrows if only the right one has the highest bit, or if they agree and the
        // difference has it.
        let inverted = complement(&left.low);
        let only_right = Word::op(Alu::And, &inverted, &right.low);
        let not_only_left = Word::op(Alu::Or, &inverted, &right.low);
        let gained = Word::op(Alu::And, &not_only_left, &difference.low);
        let borrow = Word::op(Alu::Or, &only_right, &gained).shr(31);
        Self { high: Word::op(Alu::Sub, &difference.high, &borrow), ..difference }
    }

    /// Shifts left by less than 64.
    pub(crate) fn shl(&self, by: u32) -> Self {
        match by {
            0 => self.clone(),
            32.. => Self { low: Word::constant(0), high: self.low.shl(by - 32) },
            _ => Self {
                low: self.low.shl(by),
                high: Word::op(Alu::Or, &self.high.shl(by), &self.low.shr(32 - by)),
            },
        }
    }

    /// Shifts right by less than 64.
    pub(crate) fn shr(&self, by: u32) -> Self {
        match by {
            0 => self.clone(),
            32.. => Self { low: self.high.shr(by - 32), high: Word::constant(0) },
            _ => Self {
                low: Word::op(Alu::Or, &self.low.shr(by), &self.high.shl(32 - by)),
                high: self.high.shr(by),
            },
        }
    }
}

/// All bits inverted.
pub(crate) fn complement(word: &Word) -> Word {
    Word::op(Alu::Xor, word, &Word::constant(u32::MAX))
}
