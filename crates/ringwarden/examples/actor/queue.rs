//! One ring, and what a script does with it.

use ringwarden_conformance::{Entries, Request};
use ringwarden_testring::{EnterFlags, Ring, SetupFlags};
use ringwarden_uapi::{RegisterOp, sys};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

/// More than any case has in flight.
const ENTRIES: u32 = 16;
/// A completion that has not come by then will not come.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// A ring whose requests are numbered.
pub(crate) struct Queue {
    ring: Ring,
    requests: u64,
}

impl Queue {
    pub(crate) fn new(setup: SetupFlags) -> io::Result<Self> {
        Ok(Self { ring: Ring::new(ENTRIES, setup)?, requests: 0 })
    }

    /// Queues a request. The memory that it points at is never freed.
    pub(crate) fn push(&mut self, request: &Request, user_data: u64) -> io::Result<()> {
        let sqe = request.build(user_data, |bytes| Vec::leak(bytes.to_vec()).as_ptr() as u64);
        if self.ring.push(&sqe) { Ok(()) } else { Err(io::Error::other("the queue is full")) }
    }

    /// The same with the next number.
    pub(crate) fn push_next(&mut self, request: &Request) -> io::Result<()> {
        self.requests += 1;
        self.push(request, self.requests)
    }

    /// `io_uring_enter(2)` with all that is queued: what it returned, or `-errno`.
    pub(crate) fn enter(&mut self, min_complete: u32) -> i32 {
        let (head, tail) = (self.ring.sq_head(), self.ring.sq_tail());
        let queued = tail.load(Ordering::Relaxed).wrapping_sub(head.load(Ordering::Acquire));
        let mut flags = EnterFlags::empty();
        flags.set(EnterFlags::GETEVENTS, min_complete > 0);
        flags.set(EnterFlags::SQ_WAKEUP, self.ring.params().flags & SetupFlags::SQPOLL.bits() != 0);
        self.call(queued, min_complete, flags)
    }

    fn call(&self, to_submit: u32, min_complete: u32, flags: EnterFlags) -> i32 {
        // SAFETY: what requests point at is leaked, or chosen to be no memory at all.
        result(unsafe { sys::enter(self.ring.as_fd(), to_submit, min_complete, flags.bits()) })
    }

    /// Waits for that many completions. Gives fewer if no more come, and more if they have come.
    pub(crate) fn wait(&mut self, count: usize) -> io::Result<Vec<(u64, i32)>> {
        let mut cqes = Vec::new();
        loop {
            // Completions may wait for this thread to fetch them.
            self.call(0, 0, EnterFlags::GETEVENTS);
            cqes.extend(std::iter::from_fn(|| self.ring.pop()).map(|cqe| (cqe.user_data, cqe.res)));
            let mut ring = [PollFd::new(&self.ring, PollFlags::IN)];
            if cqes.len() >= count || poll(&mut ring, Some(&PATIENCE))? == 0 {
                return Ok(cqes);
            }
        }
    }

    /// Submits one request alone: its result, or `-errno` of the call, which then has not taken it.
    pub(crate) fn submit(&mut self, request: &Request, user_data: u64) -> io::Result<i32> {
        self.push(request, user_data)?;
        let entered = self.enter(0);
        if entered < 0 {
            self.ring.sq_tail().fetch_sub(1, Ordering::Release);
            return Ok(entered);
        }
        match self.wait(1)?[..] {
            [(_, result)] => Ok(result),
            ref other => Err(io::Error::other(format!("one request, and completions {other:?}"))),
        }
    }

    /// The same with the next number.
    pub(crate) fn submit_next(&mut self, request: &Request) -> io::Result<i32> {
        self.requests += 1;
        self.submit(request, self.requests)
    }

    /// `IORING_REGISTER_ENABLE_RINGS`.
    pub(crate) fn enable(&self) -> i32 {
        self.register(RegisterOp::REGISTER_ENABLE_RINGS, null_mut(), 0)
    }

    /// `IORING_REGISTER_RESTRICTIONS`.
    pub(crate) fn restrict(&self, entries: &Entries) -> i32 {
        let list = entries.list.as_ptr().cast_mut().cast();
        // An address in a table is one where nothing is mapped.
        let argument = entries.arg.map_or(list, |address| address as usize as *mut c_void);
        let count = entries.nr_args.unwrap_or(entries.list.len() as u32);
        self.register(RegisterOp::REGISTER_RESTRICTIONS, argument, count)
    }

    fn register(&self, op: RegisterOp, argument: *mut c_void, count: u32) -> i32 {
        // SAFETY: the operations above take nothing, or only read the list given.
        result(unsafe { sys::register(self.ring.as_fd().as_raw_fd(), op.0, argument, count) })
    }
}

fn result(result: io::Result<u32>) -> i32 {
    result.map_or_else(|error| -error.raw_os_error().unwrap_or(libc::EIO), |value| value as i32)
}
