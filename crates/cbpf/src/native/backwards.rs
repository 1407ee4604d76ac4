//! Code written from its end to its beginning.

use crate::op::Branch;
use alloc::vec;
use alloc::vec::Vec;

/// Code of programs, of which the end is there and the beginning is not yet.
///
/// All jumps of a program lead forwards. So where each leads to is known when it is written, if what comes
/// last is written first, and nothing has to be filled in afterwards.
pub(super) struct Backwards {
    /// Last byte first.
    bytes: Vec<u8>,
    /// Of each place, of an instruction or something else: how far before the end its code begins.
    begins: Vec<usize>,
}

impl Backwards {
    /// No code yet, for that many places.
    pub(super) fn new(places: usize) -> Self {
        Self { bytes: Vec::with_capacity(8 * places), begins: vec![0; places] }
    }

    /// Puts bytes before those that are there.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes.iter().rev());
    }

    /// What was put last is the beginning of that place.
    pub(super) fn begin(&mut self, place: usize) {
        self.begins[place] = self.bytes.len();
    }

    /// How far it is to the beginning of a place from the code that is there.
    pub(super) fn distance(&self, place: usize) -> usize {
        self.bytes.len() - self.begins[place]
    }

    /// How long the code is that `put` puts.
    pub(super) fn measure(&mut self, put: impl FnOnce(&mut Self)) -> usize {
        let before = self.bytes.len();
        put(self);
        self.bytes.len() - before
    }

    /// Goes on from the instruction at that place where `to` says, by a condition on what `test` finds. `jump` leads to a
    /// place always, `jump_if` where the condition holds or, for `false`, where it does not.
    pub(super) fn branch(
        &mut self,
        place: usize,
        to: Branch,
        jump: impl Fn(&mut Self, usize),
        jump_if: impl Fn(&mut Self, bool, usize),
        test: impl FnOnce(&mut Self),
    ) {
        let [jt, jf] = [to.jt, to.jf].map(|skip| place + 1 + usize::from(skip));
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
