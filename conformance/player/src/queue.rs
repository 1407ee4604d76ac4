//! One ring, and what cases do with it.

use crate::memory;
use crate::register::{self, Subject, errno, result};
use anyhow::ensure;
use ringwarden_conformance::{Outcome, Request};
use ringwarden_testring::{EnterFlags, Params, Ring, SetupFlags, Sqe};
use ringwarden_uapi::{OpTraits, RegisterOp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::Ordering;

/// More than any case has in flight.
const ENTRIES: u32 = 16;
/// A completion that has not come by then will not come.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// `IORING_CQE_F_NOTIF`: says that a buffer is free again, and nothing of how the request went.
const F_NOTIF: u32 = 1 << 3;

/// A ring whose requests are numbered.
pub(crate) struct Queue {
    ring: Ring,
    requests: u64,
}

impl Queue {
    /// A ring with these flags; with `ATTACH_WQ` it shares the workers of `sister`.
    ///
    /// # Errors
    /// That of the system call.
    pub(crate) fn new(setup: SetupFlags, sister: Option<&Self>) -> io::Result<Self> {
        let wq_fd = sister.map_or(0, |sister| sister.fd().as_raw_fd() as u32);
        let params = Params { flags: setup.bits(), wq_fd, ..Params::default() };
        Ok(Self { ring: Ring::with_params(ENTRIES, params)?, requests: 0 })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    fn setup(&self) -> SetupFlags {
        SetupFlags::from_bits_retain(self.ring.params().flags)
    }

    /// Queues a request; `fd` takes the place of its own.
    fn push(&mut self, request: &Request, user_data: u64, fd: Option<RawFd>) -> anyhow::Result<()> {
        let mut sqe = request.build(user_data, memory::place);
        sqe.fd = fd.unwrap_or(sqe.fd);
        let large = request.opcode().traits().contains(OpTraits::IS_128);
        let pushed = self.ring.push(&sqe)
            // Its second half.
            && (!large || !self.setup().contains(SetupFlags::SQE_MIXED) || self.ring.push(&Sqe::default()));
        ensure!(pushed, "the queue is full");
        Ok(())
    }

    /// The same with the next number.
    pub(crate) fn push_next(&mut self, request: &Request, fd: Option<RawFd>) -> anyhow::Result<()> {
        self.requests += 1;
        self.push(request, self.requests, fd)
    }

    /// `io_uring_enter(2)` with all that is queued: what it returned, or `-errno`.
    pub(crate) fn enter(&mut self, min_complete: u32) -> i32 {
        let (head, tail) = (self.ring.sq_head(), self.ring.sq_tail());
        let queued = tail.load(Ordering::Relaxed).wrapping_sub(head.load(Ordering::Acquire));
        let mut flags = EnterFlags::empty();
        flags.set(EnterFlags::GETEVENTS, min_complete > 0);
        flags.set(EnterFlags::SQ_WAKEUP, self.setup().contains(SetupFlags::SQPOLL));
        self.call(queued, min_complete, flags)
    }

    #[allow(unsafe_code)]
    fn call(&self, to_submit: u32, min_complete: u32, flags: EnterFlags) -> i32 {
        // SAFETY: what requests point at is never freed, or chosen to be no memory at all.
        result(unsafe { ringwarden_uapi::sys::enter(self.fd(), to_submit, min_complete, flags.bits()) })
    }

    /// Waits for that many completions. Gives fewer if no more come, and more if they have come.
    pub(crate) fn wait(&mut self, count: usize) -> io::Result<Vec<(u64, i32)>> {
        let mut cqes = Vec::new();
        loop {
            // Completions may wait for this thread to fetch them.
            self.call(0, 0, EnterFlags::GETEVENTS);
            let came = std::iter::from_fn(|| self.ring.pop()).filter(|cqe| cqe.flags & F_NOTIF == 0);
            cqes.extend(came.map(|cqe| (cqe.user_data, cqe.res)));
            let mut ring = [PollFd::new(&self.ring, PollFlags::IN)];
            if cqes.len() >= count || poll(&mut ring, Some(&PATIENCE))? == 0 {
                return Ok(cqes);
            }
        }
    }

    /// Submits one request alone: its result, or `-errno` of the call, which then has not taken it.
    pub(crate) fn submit(
        &mut self,
        request: &Request,
        user_data: u64,
        fd: Option<RawFd>,
    ) -> anyhow::Result<i32> {
        self.push(request, user_data, fd)?;
        let entered = self.enter(0);
        if entered < 0 {
            self.ring.sq_tail().fetch_sub(1, Ordering::Release);
            return Ok(entered);
        }
        loop {
            let cqes = self.wait(1)?;
            // Messages from other rings may come before.
            match cqes.iter().find(|(other, _)| *other == user_data) {
                Some(&(_, result)) => return Ok(result),
                None => ensure!(!cqes.is_empty(), "a request that does not complete"),
            }
        }
    }

    /// The same with the next number.
    pub(crate) fn submit_next(&mut self, request: &Request, fd: Option<RawFd>) -> anyhow::Result<i32> {
        self.requests += 1;
        self.submit(request, self.requests, fd)
    }

    /// `IORING_REGISTER_ENABLE_RINGS`.
    pub(crate) fn enable(&self) -> i32 {
        register::call(Subject::Ring(self.fd()), RegisterOp::REGISTER_ENABLE_RINGS, 0, 0)
    }

    /// Some other register call.
    pub(crate) fn register(&mut self, op: RegisterOp) -> anyhow::Result<i32> {
        if op == RegisterOp::REGISTER_RESIZE_RINGS {
            return Ok(self.ring.resize(2 * ENTRIES).map_or_else(|error| errno(&error), |()| 0));
        }
        register::other(self.fd(), op)
    }
}

/// What registering something on a ring or a task gave, and a NOP there afterwards.
pub(crate) fn nop_after(returned: i32, queue: &mut Queue, user_data: u64) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::returned(returned);
    if returned == 0 {
        let nop: Request = "nop".parse().map_err(anyhow::Error::msg)?;
        outcome.cqes.push((user_data, queue.submit(&nop, user_data, None)?));
    }
    Ok(outcome)
}
