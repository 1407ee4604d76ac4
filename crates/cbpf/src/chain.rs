//! Programs that run after one another, as one function.

use crate::Program;

#[cfg(feature = "jit")]
use crate::native::Chain as Code;

/// Stands for code where there is none.
#[cfg(not(feature = "jit"))]
pub(crate) enum Code {}

#[cfg(not(feature = "jit"))]
impl Code {
    fn run(&self, _: &[u32]) -> Option<u32> {
        match *self {}
    }
}

/// Programs that run one after the other until one refuses, as code of the processor that is in one piece: from each it
/// goes on to the next without a return and a call in between.
///
/// ```
/// use ringwarden_cbpf::{Chain, Machine, Program, asm::assemble};
///
/// let program = |text| Program::new(&assemble(text).unwrap(), 40).unwrap();
/// let programs = [program("ld [8]\nret a"), program("ld [12]\nret a")];
/// // Where code cannot be had, there is no chain.
/// if let Some(chain) = Chain::new(&programs.map(|program| program.with_machine(Machine::Native))) {
///     assert_eq!(chain.first_refusal(&[0, 0, 1, 1, 0, 0, 0, 0, 0, 0]), None);
///     assert_eq!(chain.first_refusal(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), Some(1));
///     assert_eq!(chain.first_refusal(&[0, 0, 1]), Some(0), "a context that is too short");
/// }
/// ```
pub struct Chain(Code);

impl Chain {
    /// The chain of those programs, the first one first. `None` where not all of them are run by
    /// [`Machine::Native`](crate::Machine::Native) and for contexts of the same size, where there are none, and where no
    /// memory is to be had that may become executable.
    pub fn new(programs: &[Program]) -> Option<Self> {
        Program::chained(programs).map(Self)
    }

    /// Which of them is the first to give 0 for that context, counted from 0. The first of all does where the context is
    /// too short.
    #[inline]
    pub fn first_refusal(&self, context: &[u32]) -> Option<usize> {
        let number = self.0.run(context).unwrap_or(1);
        (number as usize).checked_sub(1)
    }
}

impl core::fmt::Debug for Chain {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}
