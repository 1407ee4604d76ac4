//! A split ring: the header that program and kernel share, the shadow SQEs that the program writes,
//! and the private SQEs that the kernel reads.

use crate::identity::{Watch, Watches};
use crate::kernel_ring::{Confinement, KernelRing, errno};
use crate::mapping::Mapping;
use crate::plan::{Plan, RINGS_OFFSET};
use crate::slots::{self, Line, Private, Slots, SqeWords};
use crate::taken::{Closer, Taken};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{Params, SQ_NEED_WAKEUP, SetupFlags, Sqe, SqeFlags};
use ringwarden_uapi::sys;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::process::Pid;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One split ring.
#[derive(Debug)]
pub(crate) struct SplitRing {
    plan: Plan,
    /// Backs the header and the shadow; the program maps it in place of the ring.
    memory: OwnedFd,
    /// Header, CQEs, index array.
    shared: Mapping,
    shadow: Mapping,
    watch: Watch,
    head_at: usize,
    tail_at: usize,
    dropped_at: usize,
    private: Arc<Private>,
    /// How often all that was approved has been poisoned by somebody without the queue.
    poisonings: AtomicU64,
    /// Locked for as long as the program drags a submission out.
    queue: Mutex<Queue>,
}

/// What is on its way to the kernel.
#[derive(Debug)]
struct Queue {
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

impl Queue {
    fn granted(&self) -> u32 {
        self.grants.iter().fold(0, |sum, grant| sum.saturating_add(grant.count))
    }
}

/// One submission, as [`SplitRing::publish`] is asked for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission {
    /// The calling thread, which is in no other.
    pub(crate) tid: Pid,
    /// How many SQEs it wants to submit.
    pub(crate) count: u32,
}

/// One SQE on its way through [`SplitRing::publish`].
pub(crate) struct Incoming<'a> {
    /// The copy, to be judged and rewritten.
    pub(crate) words: &'a mut SqeWords,
    /// The private slot that it will take.
    pub(crate) slot: u32,
}

/// What became of an [`Incoming`] SQE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Complete in itself.
    Whole,
    /// It points to the slot's argument, which is part of the request.
    WithArgument,
}

/// Decides about SQEs on their way to the kernel.
pub(crate) trait Publisher {
    /// Why it may give up.
    type Stop;

    /// Whether every request of that opcode is published as it is.
    fn passes(&self, opcode: u8) -> bool;

    /// Judges one SQE, rewriting it as needed.
    fn judge(&mut self, incoming: Incoming<'_>) -> Result<Judged, Self::Stop>;

    /// Whether the slot's argument is that of the SQE judged last.
    fn holds_argument(&self, slot: u32) -> bool;

    /// Stores the argument of the SQE judged last, now that nobody reads `slot` any more.
    fn store_argument(&mut self, slot: u32);

    /// The SQE judged last is published, as one that was not before.
    fn published(&mut self);

    /// Returns when no submission on the ring that began before is in progress.
    fn wait(&mut self, ring: &Watch) -> Result<(), Self::Stop>;

    /// Whether that thread may be in a submission.
    fn may_be_submitting(&self, tid: Pid) -> bool;
}

impl SplitRing {
    /// Makes the real ring, still disabled, and everything around it. The descriptor is the only one:
    /// whoever closes it closes the ring.
    ///
    /// # Errors
    /// The errno that the program is to see.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        plan: Plan,
        asked: &Params,
        kernel: &KernelRing,
        confinement: &Confinement,
        sacrifice: u8,
        watches: &Watches,
        closer: &Closer,
    ) -> Result<(Self, Taken, Params), Errno> {
        let memory = memfd_create("io_uring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, plan.shadow_offset() + plan.shadow_len as u64)?;
        // The program may not shrink what the guard reads.
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let shared = Mapping::shared(&memory, RINGS_OFFSET, plan.rings_len)?;
        let shadow = Mapping::shared(&memory, plan.shadow_offset(), plan.shadow_len)?;
        let slots = Slots::new(plan.slots, plan.sqe_size, plan.private_len(), sacrifice)?;

        let mut real = plan.real_params(asked);
        real.cq_off.user_addr = shared.address();
        real.sq_off.user_addr = slots.address();
        // SAFETY: both addresses are mappings of the lengths that `Plan` computed for these entries;
        // the kernel pins their pages, so they outlive even the mappings.
        let ring = unsafe { sys::setup(plan.slots, &mut real) }.map_err(|error| errno(&error))?;
        let ring = closer.take(ring);
        let end_of_cqes = real.cq_off.cqes as usize
            + plan.cq_entries as usize * if plan.asked.contains(SetupFlags::CQE32) { 32 } else { 16 };
        if real.sq_entries != plan.slots
            || real.cq_entries != plan.cq_entries
            || real.cq_off.cqes as usize != kernel.cqes_offset
            || end_of_cqes > plan.header_len
        {
            return Err(Errno::NOMEM);
        }
        confinement.apply(ring.as_fd())?;
        let watch = watches.watch(ring.as_fd())?;

        let split = Self {
            head_at: real.sq_off.head as usize,
            tail_at: real.sq_off.tail as usize,
            dropped_at: real.sq_off.dropped as usize,
            plan,
            memory,
            shared,
            shadow,
            watch,
            private: slots.private(),
            poisonings: AtomicU64::new(0),
            queue: Mutex::new(Queue { slots, published: 0, grants: Vec::new() }),
        };
        if let Some(sizes) = plan.sizes_offset {
            split.shared.u32_at(sizes).store(plan.entries - 1, Ordering::Relaxed);
            split.shared.u32_at(sizes + 4).store(plan.entries, Ordering::Relaxed);
        }
        if plan.emulates_sqpoll() {
            // Keeps the program coming: it enters whenever it finds this bit. The kernel changes
            // other bits of the word only.
            split.shared.u32_at(real.sq_off.flags as usize).fetch_or(SQ_NEED_WAKEUP, Ordering::SeqCst);
        }
        let told = plan.program_params(asked, &real);
        Ok((split, ring, told))
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How many private SQEs it has.
    pub(crate) fn slot_count(&self) -> u32 {
        self.plan.slots
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The memfd that the program maps.
    pub(crate) fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// How many SQEs the program has queued, as far as its header can be believed.
    pub(crate) fn pending(&self) -> u32 {
        self.pending_from(self.load(self.head_at))
    }

    fn pending_from(&self, head: u32) -> u32 {
        self.load(self.tail_at).wrapping_sub(head).min(self.plan.entries)
    }

    /// Publishes the SQEs that a submission may reach, each as `publisher` decides, and gives how many
    /// those are: the call must not ask the kernel for more, which would take what nobody has looked at
    /// since it was last submitted, or what another call is to take.
    ///
    /// Head and tail are hints: whoever forges them misplaces requests of its own.
    ///
    /// # Errors
    /// Why `publisher` gave up; then nothing more was published, and what was is as approved as ever.
    pub(crate) fn publish<P: Publisher>(
        &self,
        submission: Submission,
        publisher: &mut P,
    ) -> Result<u32, P::Stop> {
        let Submission { tid, count } = submission;
        let queue = &mut *self.queue();
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
        let head = self.load(self.head_at);
        let pending = self.pending_from(head);
        // Whatever this thread was granted before is taken or not wanted any more.
        queue.grants.retain(|grant| grant.tid != tid);
        let ahead = queue.published.wrapping_sub(head);
        let mut ahead = if ahead <= self.plan.entries { ahead } else { 0 };
        // Another thread's submission may be about to take what was published for it.
        let mut taken = queue.granted().min(ahead);
        if taken.saturating_add(count) > pending && taken > 0 {
            queue.grants.retain(|grant| publisher.may_be_submitting(grant.tid));
            taken = queue.granted().min(ahead);
        }
        let window = taken.saturating_add(count).min(pending);
        // What others are about to take is left alone: it may be taken by now, and its place in the shadow be
        // used again.
        for position in taken..window {
            if is_void() {
                break;
            }
            let sequence = head.wrapping_add(position);
            let slot = queue.slots.slot_of(sequence);
            if position >= ahead && queue.slots.is_valid(slot) {
                self.retire(queue, sequence, window - position, position, publisher)?;
            }
            if is_void() {
                break;
            }
            let Some(index) = self.shadow_index(sequence) else {
                self.drop_entry(queue, slot, position < ahead, publisher)?;
                continue;
            };
            let first = self.shadow_lines(index)[0][0].load(Ordering::Relaxed);
            if position >= ahead && publisher.passes(first as u8) {
                queue.slots.fill_from(slot, first, self.shadow_lines(index));
                continue;
            }
            let mut words = self.shadow_sqe(index, first);
            let valid = queue.slots.is_valid(slot);
            let judged = publisher.judge(Incoming { words: &mut words, slot })?;
            if valid {
                let same = judged == Judged::Whole || publisher.holds_argument(slot);
                if same && queue.slots.holds(slot, &words) {
                    continue;
                }
                self.retire(queue, sequence, window - position, position, publisher)?;
                // What was published behind it is gone, too.
                ahead = ahead.min(position);
            }
            if is_void() {
                break;
            }
            if judged == Judged::WithArgument {
                publisher.store_argument(slot);
            }
            queue.slots.fill(slot, &words);
            publisher.published();
        }
        is_void();
        queue.published = head.wrapping_add(window.max(ahead));
        let granted = window.saturating_sub(taken);
        if granted > 0 {
            queue.grants.push(Grant { tid, count: granted });
        }
        Ok(granted)
    }

    /// Forgets what calls were granted that are `over`, by their thread and number.
    pub(crate) fn revoke(&self, mut over: impl FnMut(Pid, u32) -> bool) {
        self.queue().grants.retain(|grant| !over(grant.tid, grant.count));
    }

    /// Retires every slot: nothing that was approved before is submitted once this has returned.
    ///
    /// # Errors
    /// Why `wait` gave up, which returns when no submission that began before is in progress.
    pub(crate) fn retire_all<E>(&self, wait: impl FnOnce(&Watch) -> Result<(), E>) -> Result<(), E> {
        let queue = &mut *self.queue();
        let all = 0..queue.slots.count();
        queue.slots.poison(all.clone());
        wait(&self.watch)?;
        queue.slots.clear(all);
        // What is queued and was published is looked at again.
        queue.published = self.load(self.head_at);
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
    fn retire<P: Publisher>(
        &self,
        queue: &mut Queue,
        sequence: u32,
        least: u32,
        kept: u32,
        publisher: &mut P,
    ) -> Result<(), P::Stop> {
        let slots = &mut queue.slots;
        let count = least.max(slots.count() / 2).min(slots.count() - kept);
        let sequences = (0..count).map(|offset| sequence.wrapping_add(offset));
        slots.poison(sequences.clone());
        publisher.wait(&self.watch)?;
        slots.clear(sequences);
        Ok(())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which shadow SQE stands at a position of the queue; `None` for an index out of range.
    fn shadow_index(&self, sequence: u32) -> Option<u32> {
        let position = sequence & (self.plan.entries - 1);
        let Some(at) = self.plan.array_offset else { return Some(position) };
        let index = self.load(at + position as usize * 4);
        (index < self.plan.entries).then_some(index)
    }

    /// Consumes a position whose index is out of range, as the kernel does: counted as dropped,
    /// without a completion. Unlike natively, the submission counts it and goes on.
    fn drop_entry<P: Publisher>(
        &self,
        queue: &mut Queue,
        slot: u32,
        repeated: bool,
        publisher: &mut P,
    ) -> Result<(), P::Stop> {
        if repeated && queue.slots.is_valid(slot) {
            return Ok(());
        }
        let mut words = SqeWords::default();
        slots::set_sqe(
            &mut words,
            Sqe { opcode: Opcode::NOP.0, flags: SqeFlags::CQE_SKIP_SUCCESS.bits(), ..Sqe::default() },
        );
        publisher.judge(Incoming { words: &mut words, slot })?;
        queue.slots.fill(slot, &words);
        self.shared.u32_at(self.dropped_at).fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn shadow_lines(&self, index: u32) -> &[Line] {
        let width = self.plan.sqe_size / 64;
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
