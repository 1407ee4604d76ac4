//! What submitter and emulator share: two queues, as in the memory that io_uring maps.

use ringwarden::filter::RawSqe;
use ringwarden::uapi::ring::{Cqe, Sqe};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const ENTRIES: usize = 8;

/// A ring of 8 entries. Every word of it can be written to by either side at any time.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    sq_head: AtomicU32,
    sq_tail: AtomicU32,
    sqes: [[AtomicU64; 8]; ENTRIES],
    cq_head: AtomicU32,
    cq_tail: AtomicU32,
    cqes: [[AtomicU64; 2]; ENTRIES],
}

fn slot(number: u32) -> usize {
    number as usize % ENTRIES
}

/// The submitter's side.
impl Ring {
    /// Puts an entry into the submission queue, if there is room.
    pub(crate) fn push(&self, sqe: &Sqe) -> bool {
        let tail = self.sq_tail.load(Ordering::Relaxed);
        if tail.wrapping_sub(self.sq_head.load(Ordering::Acquire)) as usize >= ENTRIES {
            return false;
        }
        let words: [u64; 8] = zerocopy::transmute!(*sqe);
        for (shared, word) in self.sqes[slot(tail)].iter().zip(words) {
            shared.store(word, Ordering::Relaxed);
        }
        self.sq_tail.store(tail.wrapping_add(1), Ordering::Release);
        true
    }

    /// Takes a completion.
    pub(crate) fn pop(&self) -> Option<Cqe> {
        let head = self.cq_head.load(Ordering::Relaxed);
        if head == self.cq_tail.load(Ordering::Acquire) {
            return None;
        }
        let words = self.cqes[slot(head)].each_ref().map(|word| word.load(Ordering::Relaxed));
        self.cq_head.store(head.wrapping_add(1), Ordering::Release);
        Some(zerocopy::transmute!(words))
    }
}

/// The emulator's side. What it has come to it knows itself, and never asks the ring.
impl Ring {
    /// Copies the entry of that number, if it has been submitted. A tail that makes no sense is an empty queue.
    pub(crate) fn entry(&self, head: u32) -> Option<RawSqe> {
        let there = self.sq_tail.load(Ordering::Acquire).wrapping_sub(head) as usize;
        (1..=ENTRIES).contains(&there).then(|| RawSqe::load(&self.sqes[slot(head)]))
    }

    /// Gives the slots of all entries before that number back.
    pub(crate) fn taken(&self, head: u32) {
        self.sq_head.store(head, Ordering::Release);
    }

    /// Posts the completion of that number, if there is room.
    pub(crate) fn post(&self, tail: u32, cqe: Cqe) -> bool {
        if tail.wrapping_sub(self.cq_head.load(Ordering::Acquire)) as usize >= ENTRIES {
            return false;
        }
        let words: [u64; 2] = zerocopy::transmute!(cqe);
        for (shared, word) in self.cqes[slot(tail)].iter().zip(words) {
            shared.store(word, Ordering::Relaxed);
        }
        self.cq_tail.store(tail.wrapping_add(1), Ordering::Release);
        true
    }
}
