//! One instruction at a time.

use crate::insn::BPF_MEMWORDS;
use crate::op::Op;

/// What a running program has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    pub(crate) a: u32,
    pub(crate) x: u32,
    cells: [u32; BPF_MEMWORDS as usize],
}

/// Where a program goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// Behind so many instructions.
    Skip(usize),
    /// Nowhere: this is its value.
    Return(u32),
}

impl State {
    /// All 0 but A.
    pub(crate) fn with_a(a: u32) -> Self {
        Self { a, ..Self::default() }
    }

    /// Executes an instruction, or gives `None` where it loads a word that `context` lacks.
    #[inline(always)]
    pub(crate) fn execute(&mut self, op: Op, context: &[u32]) -> Option<Next> {
        let Self { a, x, cells } = self;
        match op {
            Op::LdAbs(word) => *a = *context.get(usize::from(word))?,
            Op::LdImm(k) => *a = k,
            Op::LdMem(cell) => *a = cells[index(cell)],
            Op::LdxImm(k) => *x = k,
            Op::LdxMem(cell) => *x = cells[index(cell)],
            Op::St(cell) => cells[index(cell)] = *a,
            Op::Stx(cell) => cells[index(cell)] = *x,
            Op::AddK(k) => *a = a.wrapping_add(k),
            Op::AddX => *a = a.wrapping_add(*x),
            Op::SubK(k) => *a = a.wrapping_sub(k),
            Op::SubX => *a = a.wrapping_sub(*x),
            Op::MulK(k) => *a = a.wrapping_mul(k),
            Op::MulX => *a = a.wrapping_mul(*x),
            Op::DivK(k) => *a /= k,
            Op::DivX => match a.checked_div(*x) {
                Some(quotient) => *a = quotient,
                None => return Some(Next::Return(0)),
            },
            Op::OrK(k) => *a |= k,
            Op::OrX => *a |= *x,
            Op::AndK(k) => *a &= k,
            Op::AndX => *a &= *x,
            // The wrapping shifts use the low five bits of the count, as kernels do.
            Op::LshK(k) => *a = a.wrapping_shl(k),
            Op::LshX => *a = a.wrapping_shl(*x),
            Op::RshK(k) => *a = a.wrapping_shr(k),
            Op::RshX => *a = a.wrapping_shr(*x),
            Op::XorK(k) => *a ^= k,
            Op::XorX => *a ^= *x,
            Op::Neg => *a = a.wrapping_neg(),
            Op::Ja(k) => return Some(Next::Skip(k as usize)),
            Op::JeqK(k, branch) => return Some(Next::Skip(branch.skip(*a == k))),
            Op::JeqX(branch) => return Some(Next::Skip(branch.skip(*a == *x))),
            Op::JgtK(k, branch) => return Some(Next::Skip(branch.skip(*a > k))),
            Op::JgtX(branch) => return Some(Next::Skip(branch.skip(*a > *x))),
            Op::JgeK(k, branch) => return Some(Next::Skip(branch.skip(*a >= k))),
            Op::JgeX(branch) => return Some(Next::Skip(branch.skip(*a >= *x))),
            Op::JsetK(k, branch) => return Some(Next::Skip(branch.skip(*a & k != 0))),
            Op::JsetX(branch) => return Some(Next::Skip(branch.skip(*a & *x != 0))),
            Op::RetK(k) => return Some(Next::Return(k)),
            Op::RetA => return Some(Next::Return(*a)),
            Op::Tax => *x = *a,
            Op::Txa => *a = *x,
        }
        Some(Next::Skip(0))
    }
}

/// A cell's place; the mask spares a bounds check that the checker has made.
fn index(cell: u8) -> usize {
    usize::from(cell) % BPF_MEMWORDS as usize
}
