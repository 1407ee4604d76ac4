//! 32-bit arithmetic on truth values, as classic BPF has it.

use crate::gate::{Bit, Gates};

/// A number that depends on the request, the lowest bit first.
pub type Word = [Bit; 32];

/// 0.
pub(crate) const ZERO: Word = [Bit::FALSE; 32];

/// A number that does not depend on the request.
pub(crate) fn constant(value: u32) -> Word {
    std::array::from_fn(|bit| Bit::constant(value >> bit & 1 != 0))
}

/// All bits inverted.
pub(crate) fn complement(word: &Word) -> Word {
    word.map(|bit| !bit)
}

/// Bit by bit: AND, OR, XOR.
pub(crate) fn each(left: &Word, right: &Word, mut gate: impl FnMut(Bit, Bit) -> Bit) -> Word {
    std::array::from_fn(|bit| gate(left[bit], right[bit]))
}

/// `then` where the condition holds, `otherwise` where not.
pub(crate) fn choose(gates: &mut impl Gates, condition: Bit, then: &Word, otherwise: &Word) -> Word {
    each(then, otherwise, |then, otherwise| gates.choose(condition, then, otherwise))
}

/// The sum, wrapping, and `carry` with it.
fn add_with(gates: &mut impl Gates, left: &Word, right: &Word, mut carry: Bit) -> Word {
    each(left, right, |left, right| {
        let one = gates.xor(left, right);
        let sum = gates.xor(one, carry);
        carry = gates.choose(one, carry, left);
        sum
    })
}

/// The sum, wrapping.
pub(crate) fn add(gates: &mut impl Gates, left: &Word, right: &Word) -> Word {
    add_with(gates, left, right, Bit::FALSE)
}

/// The difference, wrapping.
pub(crate) fn sub(gates: &mut impl Gates, left: &Word, right: &Word) -> Word {
    add_with(gates, left, &complement(right), Bit::TRUE)
}

/// The product, wrapping.
pub(crate) fn mul(gates: &mut impl Gates, left: &Word, right: &Word) -> Word {
    // A constant makes most summands 0 where it decides which there are; other than that the order
    // only matters in that `x * y` and `y * x` should come out the same.
    let constants = |word: &Word| word.iter().filter(|bit| bit.is_constant()).count();
    let (left, right) =
        if (constants(left), left) > (constants(right), right) { (right, left) } else { (left, right) };
    let mut product = ZERO;
    for (by, &bit) in right.iter().enumerate() {
        if bit != Bit::FALSE {
            let summand = shift_left(left, by).map(|shifted| gates.and(shifted, bit));
            product = add(gates, &product, &summand);
        }
    }
    product
}

/// The quotient; of a division by 0, anything.
pub(crate) fn div(gates: &mut impl Gates, left: &Word, right: &Word) -> Word {
    let mut quotient = ZERO;
    let mut rest = ZERO;
    for bit in (0..32).rev() {
        // It has as many bits as were brought down so far, so that none is lost.
        rest = shift_left(&rest, 1);
        rest[0] = left[bit];
        quotient[bit] = !less(gates, &rest, right);
        let reduced = sub(gates, &rest, right);
        rest = choose(gates, quotient[bit], &reduced, &rest);
    }
    quotient
}

/// Shifted by the low five bits of `by`, one power of two after the other.
pub(crate) fn shift(
    gates: &mut impl Gates,
    word: &Word,
    by: &Word,
    shifted: impl Fn(&Word, usize) -> Word,
) -> Word {
    by[..5]
        .iter()
        .enumerate()
        .fold(*word, |word, (power, &bit)| choose(gates, bit, &shifted(&word, 1 << power), &word))
}

/// Shifted left by less than 32.
pub(crate) fn shift_left(word: &Word, by: usize) -> Word {
    std::array::from_fn(|bit| if bit < by { Bit::FALSE } else { word[bit - by] })
}

/// Shifted right by less than 32.
pub(crate) fn shift_right(word: &Word, by: usize) -> Word {
    std::array::from_fn(|bit| word.get(bit + by).copied().unwrap_or(Bit::FALSE))
}

/// Whether the two are the same.
pub(crate) fn equal(gates: &mut impl Gates, left: &Word, right: &Word) -> Bit {
    left.iter().zip(right).fold(Bit::TRUE, |equal, (&left, &right)| {
        let differ = gates.xor(left, right);
        gates.and(equal, !differ)
    })
}

/// Whether the left one is less, unsigned.
pub(crate) fn less(gates: &mut impl Gates, left: &Word, right: &Word) -> Bit {
    left.iter().zip(right).fold(Bit::FALSE, |less, (&left, &right)| {
        let differ = gates.xor(left, right);
        gates.choose(differ, right, less)
    })
}

/// Whether some bit is set.
pub(crate) fn is_nonzero(gates: &mut impl Gates, word: &Word) -> Bit {
    word.iter().fold(Bit::FALSE, |any, &bit| gates.or(any, bit))
}
