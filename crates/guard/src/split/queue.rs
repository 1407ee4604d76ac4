//! The queue of a split ring: from the SQEs that the program writes to those that the kernel reads.
//!
//! The program changes header, index array and shadow whenever it likes. Whatever they say, private slots are filled
//! as `slots` has it and with what was judged.

use crate::mapping::{AtomicU32, Mapping};
use crate::split::arena::Argument;
use crate::split::judge::{Judge, Judged, Note};
use crate::split::slots::{self, Line, Private, Slots, SqeWords};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{Sqe, SqeFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(test)]
mod model;

/// Where things are in the memory that program and kernel share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// SQEs that the program sees, a power of two.
    pub(crate) entries: u32,
    /// Bytes of one SQE, 64 or 128.
    pub(crate) sqe_size: usize,
    pub(crate) head_at: usize,
    pub(crate) tail_at: usize,
    pub(crate) dropped_at: usize,
    /// The program's index array, if it has one.
    pub(crate) array_at: Option<usize>,
}

/// The queue of one split ring.
#[derive(Debug)]
pub(crate) struct Queue {
    layout: Layout,
    /// Header, CQEs, index array.
    shared: Mapping,
    shadow: Mapping,
    private: Arc<Private>,
    /// How often all that was approved has been poisoned by somebody without the lock.
    poisonings: AtomicU64,
    /// Locked for as long as the program drags a submission out.
    progress: Mutex<Progress>,
}

/// What is on its way to the kernel.
#[derive(Debug)]
struct Progress {
    slots: Slots,
    /// The position after the last SQE that was published. Ahead of the head while another thread's
    /// submission is under way, or after one that ended early.
    published: u32,
    /// What calls that may not be over yet may take. The kernel takes from the head, whoever asks.
    grants: Vec<Grant>,
}

/// So many SQEs one thread's call may take.
#[derive(Clone, Copy, Debug)]
struct Grant {
    tid: Pid,
    count: u32,
}

impl Progress {
    fn granted(&self) -> u32 {
        self.grants.iter().fold(0, |sum, grant| sum.saturating_add(grant.count))
    }
}

/// Where a submission begins.
struct Position {
    head: u32,
    /// How many SQEs the program has queued from there on.
    pending: u32,
    /// How many of them are published.
    ahead: u32,
    /// How many other calls are about to take.
    taken: u32,
}

/// One submission, as [`Queue::publish`] is asked for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission {
    /// The calling thread, which is in no other.
    pub(crate) tid: Pid,
    /// How many SQEs it wants to submit.
    pub(crate) count: u32,
}

/// What a submission needs that is neither in its ring nor in the rules.
pub(crate) trait Outside {
    /// Fills `buffer` from the submitting program's memory.
    ///
    /// # Errors
    /// `ESRCH` when whoever wanted to submit is gone; any other where that cannot be read.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno>;

    /// Returns when no submission on the ring that began before is in progress.
    ///
    /// # Errors
    /// Why that cannot be waited for.
    fn wait(&self) -> Result<(), Errno>;

    /// Whether that thread may be in a submission.
    fn may_be_submitting(&self, tid: Pid) -> bool;

    /// Whether the slot's argument is that one.
    fn holds_argument(&self, slot: u32, argument: &Argument) -> bool;

    /// Stores the argument of a slot that nobody reads any more.
    fn store_argument(&self, slot: u32, argument: &Argument);

    /// What is to be told of an SQE, which is published as one that was not before.
    fn published(&mut self, note: Note);
}

impl Queue {
    /// Of a ring whose header and shadow are these, and whose private SQEs `slots`.
    pub(crate) fn new(layout: Layout, shared: Mapping, shadow: Mapping, slots: Slots) -> Self {
        Self {
            layout,
            shared,
            shadow,
            private: slots.private(),
            poisonings: AtomicU64::new(0),
            progress: Mutex::new(Progress { slots, published: 0, grants: Vec::new() }),
        }
    }

    /// The word of the header at byte `offset`.
    pub(crate) fn header(&self, offset: usize) -> &AtomicU32 {
        self.shared.u32_at(offset)
    }

    /// How many SQEs the program has queued, as far as its header can be believed.
    pub(crate) fn pending(&self) -> u32 {
        self.pending_from(self.load(self.layout.head_at))
    }

    fn pending_from(&self, head: u32) -> u32 {
        self.load(self.layout.tail_at).wrapping_sub(head).min(self.layout.entries)
    }

    /// Publishes the SQEs that a submission may reach, each as `judge` decides, and gives how many
    /// those are: the call must not ask the kernel for more, which would take what nobody has looked at
    /// since it was last submitted, or what another call is to take.
    ///
    /// Head and tail are hints: whoever forges them misplaces requests of its own.
    ///
    /// # Errors
    /// Those of `outside`; then nothing more was published, and what was is as approved as ever.
    pub(crate) fn publish(
        &self,
        submission: Submission,
        judge: &Judge<'_>,
        outside: &mut impl Outside,
    ) -> Result<u32, Errno> {
        let Submission { tid, count } = submission;
        let progress = &mut *self.progress();
        let poisonings = self.poisonings.load(Ordering::SeqCst);
        // Whether all that was approved is void: looked at after everything that can take long, and after
        // each slot that was filled.
        let is_void = || {
            let is_void = self.poisonings.load(Ordering::SeqCst) != poisonings;
            if is_void {
                self.private.poison_all();
            }
            is_void
        };
        // Whatever this thread was granted before is taken or not wanted any more.
        progress.grants.retain(|grant| grant.tid != tid);
        let mut at = self.position(progress);
        // Another thread's submission may be about to take what was published for it.
        if at.taken.saturating_add(count) > at.pending && at.taken > 0 {
            progress.grants.retain(|grant| outside.may_be_submitting(grant.tid));
            // Those that are over may have taken something since the head was read.
            at = self.position(progress);
        }
        let Position { head, pending, mut ahead, taken } = at;
        let window = taken.saturating_add(count).min(pending);
        // What others are about to take is left alone: it may be taken by now, and its place in the shadow be
        // used again.
        for position in taken..window {
            if is_void() {
                break;
            }
            let sequence = head.wrapping_add(position);
            let slot = progress.slots.slot_of(sequence);
            if position >= ahead && progress.slots.is_valid(slot) {
                self.retire(progress, sequence, window - position, position, outside)?;
            }
            if is_void() {
                break;
            }
            let Some(index) = self.shadow_index(sequence) else {
                self.drop_entry(progress, slot, position < ahead, judge)?;
                continue;
            };
            let first = self.shadow_lines(index)[0][0].load(Ordering::Relaxed);
            if position >= ahead && judge.passes(first as u8) {
                progress.slots.fill_from(slot, first, self.shadow_lines(index));
                continue;
            }
            let asked = self.shadow_sqe(index, first);
            let read = |address, buffer: &mut [u8]| outside.read(address, buffer);
            let Judged { words, argument, note } = judge.judge(asked, slot, read)?;
            if progress.slots.is_valid(slot) {
                let same = argument.is_none_or(|argument| outside.holds_argument(slot, &argument));
                if same && progress.slots.holds(slot, &words) {
                    continue;
                }
                self.retire(progress, sequence, window - position, position, outside)?;
                // What was published behind it is gone, too.
                ahead = ahead.min(position);
            }
            if is_void() {
                break;
            }
            if let Some(argument) = argument {
                outside.store_argument(slot, &argument);
            }
            progress.slots.fill(slot, &words);
            if let Some(note) = note {
                outside.published(note);
            }
        }
        is_void();
        progress.published = head.wrapping_add(window.max(ahead));
        let granted = window.saturating_sub(taken);
        if granted > 0 {
            progress.grants.push(Grant { tid, count: granted });
        }
        Ok(granted)
    }

    fn position(&self, progress: &Progress) -> Position {
        let head = self.load(self.layout.head_at);
        let ahead = progress.published.wrapping_sub(head);
        let ahead = if ahead <= self.layout.entries { ahead } else { 0 };
        Position { head, pending: self.pending_from(head), ahead, taken: progress.granted().min(ahead) }
    }

    /// Forgets what calls were granted that are `over`, by their thread and number.
    pub(crate) fn revoke(&self, mut over: impl FnMut(Pid, u32) -> bool) {
        self.progress().grants.retain(|grant| !over(grant.tid, grant.count));
    }

    /// Retires every slot: nothing that was approved before is submitted once this has returned.
    ///
    /// # Errors
    /// Why `wait` gave up, which returns when no submission that began before is in progress.
    pub(crate) fn retire_all(&self, wait: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        let progress = &mut *self.progress();
        let all = 0..progress.slots.count();
        progress.slots.poison(all.clone());
        wait()?;
        progress.slots.clear(all);
        // What is queued and was published is looked at again.
        progress.published = self.load(self.layout.head_at);
        Ok(())
    }

    /// The same for a ring of somebody else's, who must not be waited for: what begins to be submitted from now
    /// on is nothing that was approved before. A submission that is being judged comes to nothing.
    pub(crate) fn poison_all(&self) {
        // In this order: who publishes either sees the number or has what he filled poisoned here.
        self.poisonings.fetch_add(1, Ordering::SeqCst);
        self.private.poison_all();
    }

    /// Makes the slots from `sequence` on reusable: at least `least`, and more while at it, but none
    /// of the `kept` before it, which are being submitted.
    fn retire(
        &self,
        progress: &mut Progress,
        sequence: u32,
        least: u32,
        kept: u32,
        outside: &impl Outside,
    ) -> Result<(), Errno> {
        let slots = &mut progress.slots;
        let count = least.max(slots.count() / 2).min(slots.count() - kept);
        let sequences = (0..count).map(|offset| sequence.wrapping_add(offset));
        slots.poison(sequences.clone());
        outside.wait()?;
        slots.clear(sequences);
        Ok(())
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which shadow SQE stands at a position of the queue; `None` for an index out of range.
    fn shadow_index(&self, sequence: u32) -> Option<u32> {
        let position = sequence & (self.layout.entries - 1);
        let Some(at) = self.layout.array_at else { return Some(position) };
        let index = self.load(at + position as usize * 4);
        (index < self.layout.entries).then_some(index)
    }

    /// Consumes a position whose index is out of range, as the kernel does: counted as dropped,
    /// without a completion. Unlike natively, the submission counts it and goes on.
    fn drop_entry(
        &self,
        progress: &mut Progress,
        slot: u32,
        repeated: bool,
        judge: &Judge<'_>,
    ) -> Result<(), Errno> {
        if repeated && progress.slots.is_valid(slot) {
            return Ok(());
        }
        let mut words = SqeWords::default();
        slots::set_sqe(
            &mut words,
            Sqe { opcode: Opcode::NOP.0, flags: SqeFlags::CQE_SKIP_SUCCESS.bits(), ..Sqe::default() },
        );
        let Judged { words, .. } = judge.judge(words, slot, |_, _| Err(Errno::FAULT))?;
        progress.slots.fill(slot, &words);
        self.shared.u32_at(self.layout.dropped_at).fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn shadow_lines(&self, index: u32) -> &[Line] {
        let width = self.layout.sqe_size / 64;
        let start = index as usize * width;
        &self.shadow.lines()[start..start + width]
    }

    /// Copies one shadow SQE, whose first word is `first`, each other word read once.
    fn shadow_sqe(&self, index: u32, first: u64) -> SqeWords {
        let mut words = SqeWords::default();
        let source = self.shadow_lines(index).as_flattened();
        for (word, source) in words.iter_mut().zip(source).skip(1) {
            *word = source.load(Ordering::Relaxed);
        }
        words[0] = first;
        words
    }

    fn load(&self, offset: usize) -> u32 {
        self.shared.u32_at(offset).load(Ordering::Acquire)
    }
}
