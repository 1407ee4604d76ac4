//! Code written from its end to its beginning.

use crate::op::Branch;
use alloc::vec;
use alloc::vec::Vec;

/// The code of a program, of which the end is there and the beginning is not yet.
///
/// All jumps of a program lead forwards. So where each leads to is known when it is written, if what comes
/// last is written first, and nothing has to be filled in afterwards.
pub(super) struct Backwards {
    /// Last byte first.
    bytes: Vec<u8>,
    /// Of each instruction of the program: how far before the end its code begins.
    begins: Vec<usize>,
}

impl Backwards {
    /// No code yet, for a program of that many instructions.
    pub(super) fn new(instructions: usize) -> Self {
        Self { bytes: Vec::with_capacity(8 * instructions), begins: vec![0; instructions] }
    }

    /// Puts bytes before those that are there.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes.iter().rev());
    }

    /// What was put last is the beginning of that instruction.
    pub(super) fn begin(&mut self, instruction: usize) {
        self.begins[instruction] = self.bytes.len();
    }

    /// How far it is to the beginning of an instruction from the code that is there.
    pub(super) fn distance(&self, instruction: usize) -> usize {
        self.bytes.len() - self.begins[instruction]
    }

    /// Goes on from that instruction where `to` says, by a condition on what `test` finds. `jump` leads to an
    /// instruction always, `jump_if` where the condition holds or, for `false`, where it does not.
    pub(super) fn branch(
        &mut self,
        index: usize,
        to: Branch,
        jump: impl Fn(&mut Self, usize),
        jump_if: impl Fn(&mut Self, bool, usize),
        test: impl FnOnce(&mut Self),
    ) {
        let [jt, jf] = [to.jt, to.jf].map(|skip| index + 1 + usize::from(skip));
        if jt == jf {
            return jump(self, jt);
        }
        if to.jt == 0 {
            jump_if(self, false, jf);
        } else {
            jump(self, jf);
            jump_if(self, true, jt);
        }
        test(self);
    }

    /// The code from its beginning to its end.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.reverse();
        self.bytes
    }
}
