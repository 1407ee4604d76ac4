//! Programs compiled to machine code, for verdicts in a few nanoseconds.
//!
//! Programs from sources that are not trusted may be run in this way, for these reasons:
//!
//! - The code is made of *checked* programs, instruction by instruction, and can do no more than they:
//!   it jumps forwards only, to beginnings of instructions, and the last one of a program returns or, in a chain, goes
//!   on to the next program, behind the last of which it returns. So it ends.
//! - The only memory that it reads are words of the context, each at a distance that the check has found to be
//!   inside and that stands in the code. No address depends on a value, so that nothing else is
//!   read speculatively either.
//! - It writes no memory and has no stack: A, X and the sixteen cells are registers that callers
//!   do not expect to be kept. It calls nothing. Each program begins with an A and an X of 0; what cells hold then, a caller
//!   of ours or an earlier program of a chain has left there, and the check sees to it that none is read before it was written.
//! - The pages are writable first and executable then, never both ([`memory`]).
//!
//! A program chooses its constants, and they stand in the code as they are (they are not *blinded*). What they would
//! do if a jump led into their middle is of no use to an attacker who cannot make this process jump there: a
//! program's own jumps lead only to its own instructions, and the one whose request is judged runs in another process.
//! A process that holds other people's data, and may have other holes, should know that it has such pages; that
//! is one of the reasons why this is to be asked for ([`Machine::Native`](crate::Machine::Native)).
//!
//! That the code does what the interpreter does, random programs say (`check_machines` and `check_chain` among the crate's properties).

#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code))]
mod aarch64;
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
mod backwards;
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
mod emit;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod memory;
#[cfg(test)]
mod tests;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64::{self as processor, Aarch64 as Host};
#[cfg(target_arch = "x86_64")]
use x86_64::{self as processor, X86_64 as Host};

use crate::op::Op;
use alloc::vec::Vec;

/// A program as code of this processor.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) struct Native(memory::Function);

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl Native {
    /// The code of checked programs, each of which loads none but so many first words of its context. Nothing where no
    /// memory is to be had for it or none that may become executable.
    pub(crate) fn all(programs: &[(&[Op], usize)]) -> Option<Vec<Self>> {
        Some(memory::Function::all(programs)?.into_iter().map(Self).collect())
    }

    /// The program's value; 0 where the context is too short.
    #[inline]
    pub(crate) fn run(&self, context: &[u32]) -> u32 {
        self.0.call(context).unwrap_or(0)
    }
}

/// Programs after one another as code of this processor.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) struct Chain(memory::Function);

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl Chain {
    /// The code of checked programs, all of which load none but so many first words of their context. Nothing where no
    /// memory is to be had for it or none that may become executable.
    pub(crate) fn new(programs: &[&[Op]], words: usize) -> Option<Self> {
        memory::Function::chain(programs, words).map(Self)
    }

    /// The number of the first program whose value is 0, counted from 1, or 0; `None` where the context is too short.
    #[inline]
    pub(crate) fn run(&self, context: &[u32]) -> Option<u32> {
        self.0.call(context)
    }
}

/// No code: of this processor nothing is known here.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) enum Native {}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl Native {
    pub(crate) fn all(_: &[(&[Op], usize)]) -> Option<Vec<Self>> {
        None
    }

    pub(crate) fn run(&self, _: &[u32]) -> u32 {
        match *self {}
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) enum Chain {}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl Chain {
    pub(crate) fn new(_: &[&[Op]], _: usize) -> Option<Self> {
        None
    }

    pub(crate) fn run(&self, _: &[u32]) -> Option<u32> {
        match *self {}
    }
}
