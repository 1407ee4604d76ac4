//! Decisions on words: what is left of a condition when every absent field, every 64-bit value and
//! every kind is gone.

use crate::compile::word::{Alu, Word};

/// A decision, in the shortest form that is easily seen: constants occur only alone.
#[derive(Clone, Debug)]
pub(crate) enum Logic {
    Const(bool),
    Jump {
        on: Jump,
        left: Word,
        right: Word,
    },
    /// The word lies in one of the ranges, both ends included. They ascend and do not touch.
    Within(Word, Vec<(u32, u32)>),
    Not(Box<Logic>),
    All(Vec<Logic>),
    Any(Vec<Logic>),
}

/// A conditional jump that programs have, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    Equal,
    Greater,
    GreaterOrEqual,
    /// The two have a bit in common.
    CommonBit,
}

impl Jump {
    fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::CommonBit => left & right != 0,
        }
    }
}

impl Logic {
    pub(crate) fn not(self) -> Self {
        match self {
            Self::Const(value) => Self::Const(!value),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    pub(crate) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut list = Vec::new();
        for part in parts {
            match part {
                Self::Const(true) => {}
                Self::Const(false) => return part,
                Self::All(inner) => list.extend(inner),
                other => list.push(other),
            }
        }
        match list.len() {
            0 => Self::Const(true),
            1 => list.remove(0),
            _ => Self::All(list),
        }
    }

    pub(crate) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut list = Vec::new();
        for part in parts {
            match part {
                Self::Const(false) => {}
                Self::Const(true) => return part,
                Self::Any(inner) => list.extend(inner),
                other => list.push(other),
            }
        }
        match list.len() {
            0 => Self::Const(false),
            1 => list.remove(0),
            _ => Self::Any(list),
        }
    }

    pub(crate) fn equal(left: &Word, right: &Word) -> Self {
        Self::jump(Jump::Equal, left, right)
    }

    pub(crate) fn less(left: &Word, right: &Word) -> Self {
        Self::jump(Jump::Greater, right, left)
    }

    pub(crate) fn non_zero(word: &Word) -> Self {
        Self::jump(Jump::CommonBit, word, &Word::constant(u32::MAX))
    }

    fn jump(on: Jump, left: &Word, right: &Word) -> Self {
        match (left.as_const(), right.as_const()) {
            (Some(left), Some(right)) => Self::Const(on.holds(left, right)),
            (None, Some(constant)) => Self::jump_const(on, left, constant),
            (Some(constant), None) => match on {
                Jump::Equal | Jump::CommonBit => Self::jump_const(on, right, constant),
                Jump::Greater => Self::jump_const(Jump::GreaterOrEqual, right, constant).not(),
                Jump::GreaterOrEqual => Self::jump_const(Jump::Greater, right, constant).not(),
            },
            (None, None) => Self::Jump { on, left: left.clone(), right: right.clone() },
        }
    }

    fn jump_const(on: Jump, word: &Word, constant: u32) -> Self {
        let word = &if on == Jump::CommonBit { word.on_bits(constant) } else { word.clone() };
        if let Some(value) = word.as_const() {
            return Self::Const(on.holds(value, constant));
        }
        match (on, constant) {
            (Jump::GreaterOrEqual, 0) => return Self::Const(true),
            (Jump::Greater, u32::MAX) => return Self::Const(false),
            (Jump::CommonBit, _) => {
                // A bit test needs no AND.
                if let Some((inner, mask)) = word.as_op_const(Alu::And) {
                    return Self::jump_const(on, inner, mask & constant);
                }
            }
            (Jump::Equal, _) => {
                if let Some((inner, mask)) = word.as_op_const(Alu::Xor) {
                    return Self::jump_const(on, inner, mask ^ constant);
                }
                if let Some((inner, mask)) = word.as_op_const(Alu::And) {
                    if constant == 0 {
                        return Self::jump_const(Jump::CommonBit, inner, mask).not();
                    }
                    if constant == mask && mask.is_power_of_two() {
                        return Self::jump_const(Jump::CommonBit, inner, mask);
                    }
                }
            }
            _ => {}
        }
        let Some((base, mask, by)) = shifted(word) else {
            return Self::Jump { on, left: word.clone(), right: Word::constant(constant) };
        };
        // Compare in place instead of shifting down.
        match on {
            Jump::CommonBit => Self::jump_const(on, base, (mask & constant) << by),
            _ if constant <= mask => Self::jump_const(on, &base.and(mask << by), constant << by),
            _ => Self::Const(false),
        }
    }

    /// `ranges` ascend and do not touch.
    pub(crate) fn within(word: &Word, ranges: Vec<(u32, u32)>) -> Self {
        if let Some(value) = word.as_const() {
            return Self::Const(ranges.iter().any(|&(first, last)| first <= value && value <= last));
        }
        match ranges[..] {
            [] => return Self::Const(false),
            [(0, last)] => return Self::jump_const(Jump::Greater, word, last).not(),
            [(first, u32::MAX)] => return Self::jump_const(Jump::GreaterOrEqual, word, first),
            [(first, last)] if first == last => return Self::jump_const(Jump::Equal, word, first),
            _ => {}
        }
        let Some((base, mask, by)) = shifted(word) else { return Self::Within(word.clone(), ranges) };
        let in_place = ranges.iter().filter(|(first, _)| *first <= mask);
        let ranges = in_place.map(|&(first, last)| (first << by, last.min(mask) << by)).collect();
        Self::within(&base.and(mask << by), ranges)
    }
}

/// A word that is bits of another, shifted down: the other, the mask after the shift, the shift.
fn shifted(word: &Word) -> Option<(&Word, u32, u32)> {
    let (down, mask) = word.as_op_const(Alu::And).unwrap_or((word, u32::MAX));
    let (base, by) = down.as_op_const(Alu::Shr)?;
    Some((base, mask & (u32::MAX >> by), by))
}
