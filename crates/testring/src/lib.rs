//! A raw io_uring client for tests and benches.
//!
//! [`Ring`] is what a program sees of a ring after `io_uring_setup` and two `mmap` calls, and
//! nothing else: every word that it shares with the kernel (or with a guard between them) is an
//! atomic that any thread may store to at any time. That is what an adversary needs and what a
//! client library would never offer. One thread at a time may [`push`](Ring::push), one may
//! [`pop`](Ring::pop); the words behind them belong to nobody.
//!
//! Only 16-byte CQEs, and of 128-byte SQEs the first 64 bytes.

#![deny(missing_docs)]

mod descriptor;
mod mapping;

pub use ringwarden_uapi::ring::{Cqe, EnterFlags, Params, SetupFlags, Sqe};

use descriptor::Descriptor;
use mapping::Mapping;
use ringwarden_uapi::{RegisterOp, ring, sys};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long the kernel may take to give back what rings had.
const PATIENCE: Duration = Duration::from_secs(20);

/// The eight 64-bit words of a shared SQE; word 0 holds opcode, flags, ioprio and fd.
pub type SqeWords = [AtomicU64; 8];

/// A ring with its two mappings.
#[derive(Debug)]
pub struct Ring {
    fd: Descriptor,
    params: Params,
    queues: Mapping,
    sqes: Mapping,
    /// 64-byte lines of one SQE, 1 or 2.
    lines: u32,
}

impl Ring {
    /// Makes a ring of `entries` SQEs with these `IORING_SETUP_*` flags and maps it.
    ///
    /// # Errors
    /// What `io_uring_setup(2)` or `mmap(2)` answered; `InvalidInput` for flags that change the size
    /// of entries or where the ring's memory comes from.
    pub fn new(entries: u32, flags: SetupFlags) -> io::Result<Self> {
        Self::with_params(entries, Params { flags: flags.bits(), ..Params::default() })
    }

    /// The same, where rings that were closed may count against the user's limit still: the kernel gives their memory
    /// back in the background. Waits up to 20 s for it.
    ///
    /// # Errors
    /// As [`Ring::new`].
    pub fn when_there_is_room(entries: u32, flags: SetupFlags) -> io::Result<Self> {
        let start = Instant::now();
        loop {
            match Self::new(entries, flags) {
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && start.elapsed() < PATIENCE => {
                    thread::yield_now();
                }
                ring => return ring,
            }
        }
    }

    /// The same as [`Ring::new`], with parameters beyond the flags (`cq_entries`, `wq_fd`, …).
    ///
    /// # Errors
    /// As [`Ring::new`].
    pub fn with_params(entries: u32, mut params: Params) -> io::Result<Self> {
        let unsupported = SetupFlags::CQE32 | SetupFlags::NO_MMAP;
        if params.flags & unsupported.bits() != 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: without NO_MMAP the parameters hold no pointers.
        let fd = unsafe { sys::setup(entries, &mut params)? };
        Self::map(fd, params)
    }

    /// Maps a ring that was made with these parameters, as `io_uring_setup(2)` left them.
    ///
    /// # Errors
    /// What `mmap(2)` answered.
    pub fn map(fd: OwnedFd, params: Params) -> io::Result<Self> {
        let fd = Descriptor::from(fd);
        let lines = if params.flags & SetupFlags::SQE128.bits() == 0 { 1 } else { 2 };
        let (queues, sqes) = map(fd.as_fd(), &params, lines)?;
        let ring = Self { fd, params, queues, sqes, lines };
        ring.number_slots();
        Ok(ring)
    }

    /// Has every entry of the index array name the SQE in its own place.
    fn number_slots(&self) {
        for slot in 0..self.params.sq_entries {
            if let Some(index) = self.array(slot) {
                index.store(slot, Ordering::Relaxed);
            }
        }
    }

    /// `IORING_REGISTER_RESIZE_RINGS`: gives it `entries` SQEs, and maps it again. What is queued stays.
    ///
    /// # Errors
    /// The kernel's errno, or what `mmap(2)` answered: the ring cannot be used then.
    pub fn resize(&mut self, entries: u32) -> io::Result<()> {
        let mut params = Params { sq_entries: entries, ..Params::default() };
        let argument = std::ptr::from_mut(&mut params).cast();
        // SAFETY: one `struct io_uring_params`, which the call reads and writes.
        unsafe {
            sys::register(self.fd.as_fd().as_raw_fd(), RegisterOp::REGISTER_RESIZE_RINGS.0, argument, 1)?
        };
        let params = Params { flags: self.params.flags, ..params };
        (self.queues, self.sqes) = map(self.fd.as_fd(), &params, self.lines)?;
        self.params = params;
        self.number_slots();
        Ok(())
    }

    /// What the kernel (or the guard) filled in at set-up.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// SQE slots, a power of two.
    pub fn entries(&self) -> u32 {
        self.params.sq_entries
    }

    /// `sq.head`: requests consumed by the kernel so far.
    pub fn sq_head(&self) -> &AtomicU32 {
        self.queues.word(self.params.sq_off.head)
    }

    /// `sq.tail`: requests handed over by the program so far.
    pub fn sq_tail(&self) -> &AtomicU32 {
        self.queues.word(self.params.sq_off.tail)
    }

    /// `cq.head`: completions taken by the program so far.
    pub fn cq_head(&self) -> &AtomicU32 {
        self.queues.word(self.params.cq_off.head)
    }

    /// `cq.tail`: completions posted by the kernel so far.
    pub fn cq_tail(&self) -> &AtomicU32 {
        self.queues.word(self.params.cq_off.tail)
    }

    /// The entry of the index array for `slot` (modulo the ring); `None` with `NO_SQARRAY`.
    pub fn array(&self, slot: u32) -> Option<&AtomicU32> {
        let has_array = self.params.flags & SetupFlags::NO_SQARRAY.bits() == 0;
        has_array.then(|| self.queues.word(self.params.sq_off.array + 4 * (slot & (self.entries() - 1))))
    }

    /// The shared words of SQE `slot` (modulo the ring), the first 64 bytes of it.
    pub fn sqe(&self, slot: u32) -> &SqeWords {
        self.sqes.sqe(((slot & (self.entries() - 1)) * self.lines) as usize)
    }

    /// Writes `sqe` into the slot at the tail and hands it over; false if the queue is full.
    pub fn push(&self, sqe: &Sqe) -> bool {
        let tail = self.sq_tail().load(Ordering::Relaxed);
        if tail.wrapping_sub(self.sq_head().load(Ordering::Acquire)) >= self.entries() {
            return false;
        }
        for (shared, word) in self.sqe(tail).iter().zip(words(sqe)) {
            shared.store(word, Ordering::Relaxed);
        }
        self.sq_tail().store(tail.wrapping_add(1), Ordering::Release);
        true
    }

    /// Takes the oldest completion.
    pub fn pop(&self) -> Option<Cqe> {
        let head = self.cq_head().load(Ordering::Relaxed);
        if head == self.cq_tail().load(Ordering::Acquire) {
            return None;
        }
        let at = self.params.cq_off.cqes + 16 * (head & (self.params.cq_entries - 1));
        let user_data = self.queues.long(at).load(Ordering::Relaxed);
        let res = self.queues.word(at + 8).load(Ordering::Relaxed) as i32;
        let flags = self.queues.word(at + 12).load(Ordering::Relaxed);
        self.cq_head().store(head.wrapping_add(1), Ordering::Release);
        Some(Cqe { user_data, res, flags })
    }

    /// `io_uring_enter(2)`: submits `to_submit` requests; with `min_complete > 0` waits for that
    /// many completions. Returns the number of requests consumed.
    ///
    /// # Safety
    /// Every pointer in a submitted request must stay valid for what the request does with it until
    /// the request has completed.
    ///
    /// # Errors
    /// The kernel's errno.
    pub unsafe fn enter(&self, to_submit: u32, min_complete: u32) -> io::Result<u32> {
        let flags = if min_complete > 0 { EnterFlags::GETEVENTS.bits() } else { 0 };
        // SAFETY: the caller's promise.
        unsafe { sys::enter(self.fd.as_fd(), to_submit, min_complete, flags) }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The header with CQEs and array, and the SQEs.
fn map(fd: BorrowedFd<'_>, params: &Params, lines: u32) -> io::Result<(Mapping, Mapping)> {
    let cqes = params.cq_off.cqes as usize + params.cq_entries as usize * size_of::<Cqe>();
    let array = params.sq_off.array as usize + params.sq_entries as usize * size_of::<u32>();
    let queues = Mapping::shared(fd, ring::OFF_SQ_RING, cqes.max(array))?;
    let sqes = (params.sq_entries * lines) as usize * size_of::<Sqe>();
    Ok((queues, Mapping::shared(fd, ring::OFF_SQES, sqes)?))
}

/// An SQE as the words of [`Ring::sqe`].
pub fn words(sqe: &Sqe) -> [u64; 8] {
    zerocopy::transmute!(*sqe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back_in_order_with_their_user_data() {
        let ring = Ring::new(4, SetupFlags::empty()).expect("a plain ring");
        for user_data in 1..=4 {
            assert!(ring.push(&Sqe { user_data, ..Sqe::default() }));
        }
        assert!(!ring.push(&Sqe::default()), "a fifth request fits nowhere");
        // SAFETY: NOPs hold no pointers.
        assert_eq!(unsafe { ring.enter(4, 4) }.expect("enter"), 4);
        for user_data in 1..=4 {
            assert_eq!(ring.pop(), Some(Cqe { user_data, res: 0, flags: 0 }));
        }
        assert_eq!(ring.pop(), None);
    }
}
