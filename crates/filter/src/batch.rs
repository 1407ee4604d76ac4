//! What a program sees of a submission in which requests are refused: what `io_uring_enter(2)`
//! returns, which completions are posted, and in which order.
//!
//! From `io_submit_sqe` and what it calls (`io_uring/io_uring.c`, Linux 7.2); the cases are in
//! conformance/batches.toml. Order is modelled where the kernel's is fixed: requests that complete
//! at once come first, in their order; what a completed request sets off comes after, in its; what
//! takes time comes last.

use crate::Errno;
use crate::request::{Fate, Request};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{Cqe, SqeFlags};
use std::collections::VecDeque;

const LINKS: SqeFlags = SqeFlags::IO_LINK.union(SqeFlags::IO_HARDLINK);

/// A submission queue and the completions that come of it. A model: it runs nothing, and keeps every
/// request it was ever given.
#[derive(Debug, Default)]
pub struct Batch {
    submit_all: bool,
    taken: u32,
    /// The link being put together.
    chain: Vec<usize>,
    requests: Vec<Live>,
    /// Completed at once; posted when the batch ends.
    completed: Vec<usize>,
    /// Set off by completions.
    work: VecDeque<Work>,
    /// Running.
    later: VecDeque<usize>,
    /// Heads of chains that a drain holds back.
    deferred: VecDeque<usize>,
    unfinished: usize,
    cqes: Vec<Cqe>,
}

#[derive(Clone, Copy, Debug)]
struct Live {
    request: Request,
    res: i32,
    failed: bool,
    skip: bool,
    skip_links: bool,
    hard: bool,
    /// The next in the chain is a LINK_TIMEOUT that was prepared.
    armed: bool,
    next: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Issue(usize),
    Cancel(usize),
}

impl Batch {
    /// For a ring with or without IORING_SETUP_SUBMIT_ALL.
    pub fn new(submit_all: bool) -> Self {
        Self { submit_all, ..Self::default() }
    }

    /// Submits the next request of a call and tells whether the kernel goes on to the one after it: a
    /// request that is refused outside a chain, or as its last, ends the call unless the ring has
    /// SUBMIT_ALL.
    pub fn push(&mut self, request: Request) -> bool {
        self.taken += request.slots;
        let index = self.add(request);
        let refused = self.requests[index].failed;
        if refused && self.chain.len() > 1 {
            self.fail(self.chain[0], Errno::ECANCELED);
        }
        if request.flags.intersects(LINKS) {
            return true;
        }
        self.queue();
        self.submit_all || !refused
    }

    /// Ends the call, and with it a chain that is still open. Returns what the call returns: the number
    /// of SQE slots taken.
    pub fn end(&mut self) -> u32 {
        self.queue();
        self.flush();
        std::mem::take(&mut self.taken)
    }

    /// Waits until everything has completed, and takes all completions posted so far.
    pub fn complete(&mut self) -> Vec<Cqe> {
        self.settle();
        while let Some(index) = self.later.pop_front() {
            self.finish(index);
            self.settle();
        }
        std::mem::take(&mut self.cqes)
    }

    fn add(&mut self, request: Request) -> usize {
        let index = self.requests.len();
        self.requests.push(Live {
            request,
            res: 0,
            failed: false,
            skip: request.flags.contains(SqeFlags::CQE_SKIP_SUCCESS),
            skip_links: false,
            hard: request.flags.contains(SqeFlags::IO_HARDLINK),
            armed: false,
            next: None,
        });
        self.unfinished += 1;
        if let Some(&last) = self.chain.last() {
            self.requests[last].next = Some(index);
            let prepared = !matches!(request.fate, Fate::Refused(_));
            self.requests[last].armed = request.opcode == Opcode::LINK_TIMEOUT && prepared;
        }
        self.chain.push(index);
        match request.fate {
            Fate::Refused(errno) => self.fail(index, errno),
            Fate::Denied => self.fail(index, Errno::EACCES),
            Fate::Done(_) | Fate::Later { .. } => {}
        }
        index
    }

    /// Marks a request as failed. A failure is always reported; CQE_SKIP_SUCCESS then silences what
    /// is linked behind it instead.
    fn fail(&mut self, index: usize, errno: Errno) {
        if !self.requests[index].failed {
            self.set_failed(index);
            self.requests[index].res = errno.negated();
        }
    }

    fn set_failed(&mut self, index: usize) {
        let live = &mut self.requests[index];
        live.failed = true;
        live.skip_links |= std::mem::take(&mut live.skip);
    }

    fn queue(&mut self) {
        let chain = std::mem::take(&mut self.chain);
        let (Some(&head), Some(&tail)) = (chain.first(), chain.last()) else { return };
        let live = &mut self.requests[head];
        if live.failed {
            // Nothing of the chain will run, hard links or not.
            live.hard = false;
            self.completed.push(head);
        } else if self.requests[tail].request.draining {
            let drain = chain.iter().any(|&i| self.requests[i].request.flags.contains(SqeFlags::IO_DRAIN));
            self.requests[head].request.flags.set(SqeFlags::IO_DRAIN, drain);
            self.deferred.push_back(head);
            self.release();
        } else if self.requests[head].request.flags.contains(SqeFlags::ASYNC) {
            self.work.push_back(Work::Issue(head));
        } else {
            self.issue(head);
        }
    }

    fn issue(&mut self, index: usize) {
        match self.requests[index].request.fate {
            Fate::Done(res) => {
                self.requests[index].res = res;
                if res < 0 {
                    self.set_failed(index);
                }
                self.completed.push(index);
            }
            Fate::Later { .. } => self.later.push_back(index),
            Fate::Refused(_) | Fate::Denied => self.completed.push(index),
        }
    }

    fn finish(&mut self, index: usize) {
        if let Fate::Later { res, failure } = self.requests[index].request.fate {
            self.requests[index].res = res;
            if failure {
                self.set_failed(index);
            }
        }
        self.completed.push(index);
        self.flush();
    }

    /// Posts what has completed, then sets off what hangs on it.
    fn flush(&mut self) {
        let completed = std::mem::take(&mut self.completed);
        for &index in &completed {
            self.post(index);
        }
        for &index in &completed {
            self.follow(index);
        }
        self.release();
    }

    fn post(&mut self, index: usize) {
        self.unfinished -= 1;
        let Live { request, res, skip, .. } = self.requests[index];
        if !skip {
            self.cqes.push(Cqe { user_data: request.user_data, res, flags: 0 });
        }
    }

    fn follow(&mut self, index: usize) {
        let live = self.requests[index];
        let mut next = live.next;
        if let Some(timeout) = next.filter(|_| live.armed) {
            // Its request is over, so is the timeout, whatever a filter thought of it.
            next = self.requests[timeout].next;
            self.requests[timeout].res = Errno::ECANCELED.negated();
            self.work.push_back(Work::Cancel(timeout));
        }
        if !live.failed || live.hard {
            self.work.extend(next.map(Work::Issue));
            return;
        }
        while let Some(link) = next {
            next = self.requests[link].next;
            self.fail(link, Errno::ECANCELED);
            self.requests[link].skip = live.skip_links;
            self.work.push_back(Work::Cancel(link));
        }
    }

    fn settle(&mut self) {
        while let Some(work) = self.work.pop_front() {
            match work {
                Work::Issue(index) => self.issue(index),
                Work::Cancel(index) => {
                    self.post(index);
                    self.release();
                }
            }
            self.flush();
        }
    }

    /// Lets go of deferred chains: the first, and any drain, only when all that came before is over.
    fn release(&mut self) {
        let mut first = true;
        let mut drain_seen = false;
        while let Some(&head) = self.deferred.front() {
            drain_seen |= self.requests[head].request.flags.contains(SqeFlags::IO_DRAIN);
            let waiting: usize = self.deferred.iter().map(|&head| self.chain_len(head)).sum();
            if (drain_seen || first) && self.unfinished != waiting {
                return;
            }
            self.deferred.pop_front();
            self.work.push_back(Work::Issue(head));
            first = false;
        }
    }

    fn chain_len(&self, head: usize) -> usize {
        std::iter::successors(Some(head), |&index| self.requests[index].next).count()
    }
}
