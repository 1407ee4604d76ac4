//! [`Machine`]: the ways in which a program can be run.

/// What runs a program. They all compute the same; they differ in how long it takes, and in what they need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Machine {
    /// One instruction after the other, as they were written: the plainest, which the others are held against.
    Interpreter,
    /// A form made for speed, in which what belongs together is one step: a load, a mask and the jump that
    /// depends on them.
    #[default]
    Decoded,
    /// Code of the processor, of which x86-64 and aarch64 are known. It takes the crate's feature `jit`, a page of
    /// memory for each program or for some that are made [together](crate::Program::all_with_machine), one more for each
    /// [`Chain`](crate::Chain), no more than 4096 in a process, and a process that may make memory executable; where one
    /// of them is missing it is [`Decoded`](Self::Decoded) that runs.
    ///
    /// It is safe for any program that the check accepts: see the crate's module `native` for the reasons.
    Native,
}

impl Machine {
    /// All of them, the plainest first.
    pub const ALL: [Self; 3] = [Self::Interpreter, Self::Decoded, Self::Native];
}
