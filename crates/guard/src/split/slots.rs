//! The private SQEs: what the kernel reads.
//!
//! Each slot is at all times one of
//! - *poison*: its opcode is the sacrificial one, which the real ring's restrictions refuse;
//! - *valid*: a whole SQE that was approved (or turned into a refusal);
//! - on its way from poison to valid, with the word that holds the opcode stored last.
//!
//! So whatever the program does to the shared heads and tails, to its descriptors or with its other
//! threads, the kernel finds poison or something approved. A valid slot is reused only after it was
//! poisoned and every submission that may have read it before is over ([`Slots::poison`], then a
//! wait, then [`Slots::clear`]).
//!
//! The kernel's reads and these writes are ordered by nothing but the processor: stores must become
//! visible in program order and the kernel must not read a slot's other words before its opcode.
//! x86 gives both (total store order; loads are not reordered with loads). The guard is built for
//! x86-64 alone until another architecture's path is proven.

use crate::mapping::{AtomicU64, Mapping};
use ringwarden_uapi::ring::Sqe;
use rustix::io::Errno;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use zerocopy::transmute;

/// One SQE as 64-bit words: 8, or 16 on SQE128 rings.
pub(crate) type SqeWords = [u64; 16];

/// The 64 bytes that every SQE has.
pub(crate) fn sqe(words: &SqeWords) -> Sqe {
    let [a, b, c, d, e, f, g, h, ..] = *words;
    transmute!([a, b, c, d, e, f, g, h])
}

/// Puts the 64 bytes back.
pub(crate) fn set_sqe(words: &mut SqeWords, sqe: Sqe) {
    let first: [u64; 8] = transmute!(sqe);
    words[..8].copy_from_slice(&first);
}

/// Words that SQEs are made of, 64 bytes at a time; an SQE128 is two of them.
pub(crate) type Line = [AtomicU64; 8];

/// The private SQE array of one ring.
#[derive(Debug)]
pub(crate) struct Slots {
    private: Arc<Private>,
    valid: Box<[bool]>,
}

/// The memory of one, which may be poisoned at any time.
#[derive(Debug)]
pub(crate) struct Private {
    memory: Mapping,
    /// Lines of one SQE, 1 or 2.
    width: usize,
    mask: u32,
    sacrifice: u8,
}

impl Private {
    /// Poisons all slots but those that are being filled at this moment.
    pub(crate) fn poison_all(&self) {
        for slot in 0..=self.mask {
            let poison = |first| Some(first & !0xff | u64::from(self.sacrifice));
            let _ = self.lines(slot)[0][0].fetch_update(Ordering::SeqCst, Ordering::Relaxed, poison);
        }
    }

    /// What the kernel reads of a slot.
    pub(crate) fn lines(&self, slot: u32) -> &[Line] {
        let start = slot as usize * self.width;
        &self.memory.lines()[start..start + self.width]
    }
}

impl Slots {
    /// Makes `count` (a power of two) poisoned slots of `sqe_size` bytes.
    pub(crate) fn new(count: u32, sqe_size: usize, len: usize, sacrifice: u8) -> Result<Self, Errno> {
        let memory = Mapping::private(len)?;
        let private = Private { memory, width: sqe_size / 64, mask: count - 1, sacrifice };
        private.poison_all();
        Ok(Self { private: Arc::new(private), valid: vec![false; count as usize].into() })
    }

    pub(crate) fn private(&self) -> Arc<Private> {
        Arc::clone(&self.private)
    }

    /// The array's address, for the kernel.
    pub(crate) fn address(&self) -> u64 {
        self.private.memory.address()
    }

    /// How many slots there are.
    pub(crate) fn count(&self) -> u32 {
        self.private.mask + 1
    }

    /// The slot that the kernel reads for position `sequence` of the submission queue.
    pub(crate) fn slot_of(&self, sequence: u32) -> u32 {
        sequence & self.private.mask
    }

    /// Whether the slot must be retired before it can be filled.
    pub(crate) fn is_valid(&self, slot: u32) -> bool {
        self.valid[slot as usize]
    }

    /// Whether the slot holds exactly `sqe`.
    pub(crate) fn holds(&self, slot: u32, sqe: &SqeWords) -> bool {
        let words = self.lines(slot).as_flattened();
        words.iter().zip(sqe).all(|(word, &wanted)| word.load(Ordering::Relaxed) == wanted)
    }

    /// Fills a poisoned slot.
    ///
    /// # Panics
    /// When the slot is valid: its old content may be being read.
    pub(crate) fn fill(&mut self, slot: u32, sqe: &SqeWords) {
        self.claim(slot);
        let words = self.lines(slot).as_flattened();
        for (word, &value) in words.iter().zip(sqe).skip(1) {
            word.store(value, Ordering::Relaxed);
        }
        // The word with the opcode, last.
        words[0].store(sqe[0], Ordering::Release);
    }

    /// Fills a poisoned slot with an SQE that needs no judgement but by `first`, its word with the
    /// opcode: the other words are copied from `shadow` as they are at this moment.
    ///
    /// # Panics
    /// As [`Slots::fill`].
    pub(crate) fn fill_from(&mut self, slot: u32, first: u64, shadow: &[Line]) {
        self.claim(slot);
        let lines = self.lines(slot);
        for (word, source) in lines[0].iter().zip(&shadow[0]).skip(1) {
            word.store(source.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        if let ([_, second], [_, source]) = (lines, shadow) {
            for (word, source) in second.iter().zip(source) {
                word.store(source.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        // The word with the opcode, last.
        lines[0][0].store(first, Ordering::Release);
    }

    fn claim(&mut self, slot: u32) {
        let valid = &mut self.valid[slot as usize];
        assert!(!*valid, "slot {slot} filled before it was retired");
        *valid = true;
    }

    /// First half of retiring: no submission that begins from now on finds anything in the slots of
    /// `sequences` but poison.
    pub(crate) fn poison(&self, sequences: impl Iterator<Item = u32>) {
        for sequence in sequences {
            let slot = self.slot_of(sequence);
            if self.is_valid(slot) {
                // The opcode alone: a submission that has read it already goes on to the flags.
                let first = &self.lines(slot)[0][0];
                let rest = first.load(Ordering::Relaxed) & !0xff;
                first.store(rest | u64::from(self.private.sacrifice), Ordering::Relaxed);
            }
        }
        fence(Ordering::SeqCst);
    }

    /// Second half, once every submission that began before [`Slots::poison`] is over.
    pub(crate) fn clear(&mut self, sequences: impl Iterator<Item = u32>) {
        for sequence in sequences {
            let slot = self.slot_of(sequence);
            self.valid[slot as usize] = false;
        }
    }

    fn lines(&self, slot: u32) -> &[Line] {
        self.private.lines(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POISON: u8 = 58;

    fn slots() -> Slots {
        Slots::new(4, 64, 4096, POISON).expect("memory")
    }

    fn opcode(slots: &Slots, slot: u32) -> u8 {
        slots.lines(slot)[0][0].load(Ordering::Relaxed) as u8
    }

    #[test]
    fn slots_are_poison_until_filled_and_again_when_retired() {
        let mut slots = slots();
        for slot in 0..4 {
            assert_eq!((opcode(&slots, slot), slots.is_valid(slot)), (POISON, false));
        }
        let mut words = SqeWords::default();
        set_sqe(&mut words, Sqe { opcode: 22, flags: 1, fd: 9, user_data: 7, ..Sqe::default() });
        slots.fill(1, &words);
        assert!(slots.is_valid(1) && slots.holds(1, &words));
        assert_eq!(sqe(&words).user_data, 7);
        slots.poison(4..8);
        assert_eq!(opcode(&slots, 1), POISON);
        let rest = slots.lines(1)[0][0].load(Ordering::Relaxed) >> 8;
        assert_eq!(rest, words[0] >> 8, "a submission that is reading the slot must find one SQE");
        assert!(slots.is_valid(1), "not reusable before the wait");
        slots.clear(4..8);
        assert!(!slots.is_valid(1));
    }

    #[test]
    fn what_somebody_else_poisons_has_to_be_retired_all_the_same() {
        let mut slots = slots();
        let words = SqeWords::from(std::array::from_fn(|word| if word == 0 { 22 | 7 << 32 } else { 0 }));
        slots.fill(2, &words);
        slots.private().poison_all();
        assert_eq!((0..4).map(|slot| opcode(&slots, slot)).collect::<Vec<_>>(), [POISON; 4]);
        assert_eq!(slots.lines(2)[0][0].load(Ordering::Relaxed) >> 32, 7, "the rest is as it was");
        assert!(slots.is_valid(2) && !slots.holds(2, &words));
    }

    #[test]
    #[should_panic(expected = "before it was retired")]
    fn a_valid_slot_is_never_overwritten() {
        let mut slots = slots();
        slots.fill(2, &SqeWords::default());
        slots.fill(2, &SqeWords::default());
    }
}
