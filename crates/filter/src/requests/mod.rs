//! Judging rings of one's own: the requests of a ring that somebody other than the kernel carries out, from raw SQE to
//! CQE. [`Requests`] says how; it keeps what the kernel keeps, and does with it what the kernel does.

mod admission;
mod entry;
mod rules;
mod started;
mod table;

pub use entry::RawSqe;
pub use rules::{Refusal, Rules, Submitted};
pub use started::{Next, NotRunning, Outcome, RequestId, Started};

use crate::{Errno, KernelModel, UserMemory};
use admission::Drains;
use ringwarden_uapi::ring::{Cqe, SetupFlags, SqeFlags};
use std::collections::VecDeque;
use table::{Live, State, Table};

const LINKS: SqeFlags = SqeFlags::IO_LINK.union(SqeFlags::IO_HARDLINK);

/// The requests of a ring that somebody other than the kernel carries out, from raw SQE to CQE.
///
/// For virtual machine monitors, kernels in user space and rings between threads. It holds what passes from
/// one request of a ring to the next, and decides as Linux 7.x does: which are let through, which fail with what, what
/// becomes of those linked to them, who has to wait for a drain, where a submission ends. It runs nothing itself.
///
/// ```
/// use ringwarden_cbpf::asm::assemble;
/// use ringwarden_filter::{Errno, FilterSet, KernelModel, Next, Registration, Requests, Rules, UserMemory};
/// use ringwarden_uapi::{Opcode, ring::{SetupFlags, Sqe, SqeFlags}};
///
/// struct Nothing; // A submitter without any memory.
/// impl UserMemory for Nothing {
///     fn read(&self, _: u64, _: &mut [u8]) -> Result<(), Errno> { Err(Errno::EFAULT) }
/// }
///
/// let mut set = FilterSet::new(KernelModel::V7_3);
/// set.register(Registration::new(Opcode::WRITE, &assemble("ret #0")?))?;
///
/// let mut requests = Requests::new(KernelModel::V7_3, SetupFlags::empty());
/// let link = SqeFlags::IO_LINK.bits();
/// let submission = [
///     Sqe { opcode: Opcode::NOP.0, user_data: 1, ..Sqe::default() },
///     Sqe { opcode: Opcode::WRITE.0, user_data: 2, flags: link, ..Sqe::default() },
///     Sqe { opcode: Opcode::NOP.0, user_data: 3, ..Sqe::default() },
/// ];
/// let mut cqes = Vec::new();
/// let mut act = |requests: &mut Requests| while let Some(next) = requests.next() {
///     match next {
///         Next::Start(started) => requests.complete(started.id, 0).expect("it was started"), // All are NOPs.
///         Next::Post(cqe) => cqes.push((cqe.user_data, cqe.res)),
///     }
/// };
/// for sqe in submission {
///     let submitted = requests.submit(&Rules::from(&set), sqe, &Nothing);
///     act(&mut requests);
///     if !submitted.goes_on { break; }
/// }
/// assert_eq!(requests.end(), 3); // What `io_uring_enter(2)` returns.
/// act(&mut requests);
/// assert_eq!(cqes, [(1, 0), (2, Errno::EACCES.negated()), (3, Errno::ECANCELED.negated())]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What is left to whoever emulates
///
/// - The ring: heads, tails, the index array (an index beyond the ring ends a submission; the head passes it, the count
///   of the call does not), CQEs that find no room. Slots become the submitter's again once they are copied.
/// - Carrying out what is [started](Next::Start), by the [copies](Started) that were judged and not by the ring or the
///   memory they came from. What was not copied (buffers, names of attributes) is the operation's to read.
/// - Errors that an operation finds when it runs: this crate prepares what an SQE and the memory it points at decide,
///   without the rarer checks of flags ([`prep`](crate::prep)). Registered files, buffers and personalities are not
///   known here; a request with a personality is EINVAL.
/// - CQEs before a request's last (`IORING_CQE_F_MORE`), which go straight to the ring; cancelling; timers. The
///   notification that the kernel posts behind a SEND_ZC or SENDMSG_ZC, even a denied one, is not announced
///   (`IORING_CQE_F_MORE`) and does not come.
/// - A limit to how much is [in flight](Requests::in_flight): there is none, as a submitter may link and wait for ever.
///
/// # Sources
///
/// `io_submit_sqes` and what it calls, `io_init_req`, `io_submit_fail_init`, `io_drain_req` and `io_queue_deferred`
/// (`io_uring/io_uring.c`), `io_disarm_next` and `io_fail_links` (`io_uring/timeout.c`), Linux 7.2. The case tables
/// that hold this against running kernels are conformance/batches.toml, restrictions.toml and preparation.toml;
/// `cargo xtask kernel-fuzz` does so with random submissions.
///
/// The order of completions is the kernel's where that is fixed and the [`next`](Requests::next) steps are taken after
/// each [`submit`](Requests::submit): what completes at once comes when the submission ends, in its order; what a
/// completion sets off comes after. Workers (IOSQE_ASYNC) of the kernel run beside all that; here they are started
/// behind it.
///
/// # Threads and memory
///
/// It belongs to one thread at a time, as submissions of a ring do; filters may be [shared](crate::SharedFilters). It takes
/// memory for as many requests as were in flight at most.
#[derive(Debug)]
pub struct Requests {
    model: KernelModel,
    setup: SetupFlags,
    drains: Drains,
    table: Table,
    /// The link being put together: its first and its last.
    chain: Option<(u32, u32)>,
    submitting: bool,
    taken: u32,
    /// To be started at once.
    inline: VecDeque<u32>,
    /// Over, to be posted together.
    completed: Vec<u32>,
    /// Set off by completions, or for a worker: after the submission.
    work: VecDeque<Work>,
    /// Heads of chains that a drain holds back.
    deferred: VecDeque<u32>,
    /// How many requests those chains have.
    drained: usize,
    cqes: VecDeque<Cqe>,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Start(u32),
    Cancel(u32),
}

impl Requests {
    /// Of a ring with those set-up flags, of which those that change requests matter: IOPOLL, SUBMIT_ALL, SQE128,
    /// SQE_MIXED.
    pub fn new(model: KernelModel, setup: SetupFlags) -> Self {
        Self {
            model,
            setup,
            drains: Drains::default(),
            table: Table::default(),
            chain: None,
            submitting: false,
            taken: 0,
            inline: VecDeque::new(),
            completed: Vec::new(),
            work: VecDeque::new(),
            deferred: VecDeque::new(),
            drained: 0,
            cqes: VecDeque::new(),
        }
    }

    /// Judges the next request of a submission, in the kernel's order: opcode and flags, allow lists, the operation's
    /// preparation, filters. Stop and [end](Self::end) the submission when it does not [go on](Submitted::goes_on).
    ///
    /// The `entry` is a copy by now; `memory` is read once at each place, and what was read is in [`Started`].
    pub fn submit(
        &mut self,
        rules: &Rules<'_>,
        entry: impl Into<RawSqe>,
        memory: &impl UserMemory,
    ) -> Submitted {
        self.submitting = true;
        let mut live = Live::new(entry.into());
        let (slots, shown, refusal) = self.admit(rules, &mut live, memory);
        self.taken += slots;
        let links = live.written_flags().intersects(LINKS);
        let index = self.table.insert(live);
        if let Some(refusal) = &refusal {
            self.fail(index, refusal.errno());
            if let Some((head, _)) = self.chain {
                self.fail(head, Errno::ECANCELED);
            }
        }
        let head = match self.chain {
            Some((head, last)) => {
                self.table[last].next = Some(index);
                head
            }
            None => index,
        };
        self.chain = links.then_some((head, index));
        if !links {
            self.queue(head, false);
        }
        let goes_on = links || refusal.is_none() || self.setup.contains(SetupFlags::SUBMIT_ALL);
        Submitted { id: self.table.id(index), slots, shown, refusal, goes_on }
    }

    /// Ends a submission, and with it a link that is still open. Returns how many SQE slots it has taken, which is what
    /// `io_uring_enter(2)` returns; 0 if there was none.
    pub fn end(&mut self) -> u32 {
        if let Some((head, _)) = self.chain.take() {
            self.queue(head, true);
        }
        self.flush();
        self.submitting = false;
        std::mem::take(&mut self.taken)
    }

    /// What is to be done next: to start a request, or to post a CQE. Nothing while all that goes on is what was
    /// started, or as long as a submission has not [ended](Self::end) that holds the rest up.
    #[expect(clippy::should_implement_trait, reason = "it goes on after None")]
    pub fn next(&mut self) -> Option<Next> {
        loop {
            if let Some(cqe) = self.cqes.pop_front() {
                return Some(Next::Post(cqe));
            }
            if let Some(index) = self.inline.pop_front() {
                return Some(Next::Start(self.start(index, false)));
            }
            if self.submitting {
                return None;
            }
            match self.work.pop_front()? {
                Work::Start(index) => {
                    let worker = self.table[index].flags.contains(SqeFlags::ASYNC);
                    return Some(Next::Start(self.start(index, worker)));
                }
                Work::Cancel(index) => {
                    self.completed.push(index);
                    self.flush();
                }
            }
        }
    }

    /// A request that was started is over. Its CQE, and whatever waits for it, comes with [`next`](Self::next).
    ///
    /// With the timeout of a [`Started`] it has expired: that is over then, and the request it was for is no longer
    /// timed. That has to be cancelled and completed by itself.
    ///
    /// # Errors
    /// [`NotRunning`] if it has not started or is over; nothing changes then.
    pub fn complete(&mut self, id: RequestId, outcome: impl Into<Outcome>) -> Result<(), NotRunning> {
        let index = self.table.find(id).ok_or(NotRunning(id))?;
        match self.table[index].state {
            State::Running => {}
            State::Armed(timed) => {
                let next = self.table[index].next.take();
                let timed = &mut self.table[timed];
                (timed.next, timed.armed) = (next, false);
            }
            State::Waiting | State::Over => return Err(NotRunning(id)),
        }
        let Outcome { res, flags, failed } = outcome.into();
        let live = &mut self.table[index];
        (live.res, live.cqe_flags) = (res, flags);
        if failed {
            live.set_failed();
        }
        live.state = State::Over;
        self.completed.push(index);
        if !self.submitting {
            self.flush();
        }
        Ok(())
    }

    /// How many requests were submitted and are not over, started or waiting.
    pub fn in_flight(&self) -> usize {
        self.table.len()
    }

    fn start(&mut self, index: u32, worker: bool) -> Started {
        let timeout = self.table[index].next.filter(|_| self.table[index].armed);
        let timeout = timeout.map(|timeout| {
            self.table[timeout].state = State::Armed(index);
            Box::new(self.started(timeout, false, None))
        });
        self.table[index].state = State::Running;
        self.started(index, worker, timeout)
    }

    fn started(&mut self, index: u32, worker: bool, timeout: Option<Box<Started>>) -> Started {
        let id = self.table.id(index);
        let live = &mut self.table[index];
        let copied = std::mem::take(&mut live.copied);
        Started { id, sqe: live.entry.clone(), flags: live.flags, copied, worker, timeout }
    }

    fn fail(&mut self, index: u32, errno: Errno) {
        let live = &mut self.table[index];
        if !live.failed {
            live.set_failed();
            live.res = errno.negated();
        }
    }

    /// What becomes of a link, or of a request without, once it is complete; `open` where it never was.
    fn queue(&mut self, head: u32, open: bool) {
        let live = &mut self.table[head];
        if live.failed {
            // Nothing of the chain will run, hard links or not.
            live.hard = false;
            live.state = State::Over;
            self.completed.push(head);
        } else if !open && !live.flags.contains(SqeFlags::ASYNC) {
            self.inline.push_back(head);
        } else if self.drains.active {
            let drain = live.flags.contains(SqeFlags::IO_DRAIN);
            self.drained += self.chain_len(head);
            self.deferred.push_back(head);
            self.release();
            self.drains.active = drain || !self.deferred.is_empty();
        } else {
            live.flags |= SqeFlags::ASYNC;
            self.work.push_back(Work::Start(head));
        }
    }

    /// Posts what is over, then sets off what hangs on it.
    fn flush(&mut self) {
        let completed = std::mem::take(&mut self.completed);
        for &index in &completed {
            let live = &self.table[index];
            if !live.skip {
                let user_data = live.user_data();
                self.cqes.push_back(Cqe { user_data, res: live.res, flags: live.cqe_flags });
            }
        }
        for index in completed {
            self.follow(index);
            self.table.remove(index);
        }
        self.release();
    }

    fn follow(&mut self, index: u32) {
        let Live { mut next, armed, failed, hard, skip_links, .. } = self.table[index];
        if let Some(timeout) = next.filter(|_| armed) {
            // Its request is over, so is the timeout, whatever a filter thought of it.
            let live = &mut self.table[timeout];
            next = live.next.take();
            live.res = Errno::ECANCELED.negated();
            live.state = State::Over;
            self.work.push_back(Work::Cancel(timeout));
        }
        if !failed || hard {
            self.work.extend(next.map(Work::Start));
            return;
        }
        while let Some(link) = next {
            self.fail(link, Errno::ECANCELED);
            let live = &mut self.table[link];
            live.skip = skip_links;
            live.state = State::Over;
            next = live.next.take();
            self.work.push_back(Work::Cancel(link));
        }
    }

    /// Lets go of deferred chains: the first, and any drain, only when all that came before is over.
    fn release(&mut self) {
        let (mut first, mut drain_seen) = (true, false);
        while let Some(&head) = self.deferred.front() {
            drain_seen |= self.table[head].flags.contains(SqeFlags::IO_DRAIN);
            if (drain_seen || first) && self.table.len() != self.drained {
                return;
            }
            self.deferred.pop_front();
            self.drained -= self.chain_len(head);
            self.work.push_back(Work::Start(head));
            first = false;
        }
    }

    fn chain_len(&self, head: u32) -> usize {
        std::iter::successors(Some(head), |&index| self.table[index].next).count()
    }
}

#[cfg(test)]
mod tests;
