//! Rings of one issuer that do without their lock.
//!
//! Reusing a private SQE leans on a register call of the guard's that waits for submissions under way,
//! because both take the ring's lock ([`wait_for_submissions`]). Of rings with IORING_SETUP_SINGLE_ISSUER a
//! kernel could think that the one issuer needs no lock. A series to that end was posted in 2025 ("avoid
//! uring_lock for IORING_SETUP_SINGLE_ISSUER", the last version in December) and is in no release up to
//! 7.2.13 and 7.3-rc7: their descriptions of their own types lack its structures. There, another task's
//! register call would have the issuer stop in task work, which it cannot do while it waits for the
//! guard's answer.
//!
//! So two things are tried, in a throw-away child: that another task's register call ends no sooner than a
//! submission that is under way, and that it ends while the issuer sleeps and can do nothing for it.

use crate::kernel_ring::{KernelRing, wait_for_submissions};
use crate::mapping::{Mapping, page_align};
use ringwarden_trial::{TrialError, series};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{Params, SetupFlags};
use ringwarden_uapi::sys;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// Requests in one submission: some ten microseconds, in which another thread, who watches the first
/// one's result, comes to act.
const REQUESTS: u32 = 512;
/// How often that is tried.
const TRIES: usize = 20;
/// How often the other thread looks before it lets others run.
const LOOKS: u32 = 1000;
/// How long the issuer sleeps at most, in seconds.
const PATIENCE: i64 = 1;

/// What a register call by another task does on a ring of one issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssuerLock {
    /// It waits for a submission under way, and for nothing else.
    Held,
    /// It does not wait for a submission under way.
    NotHeld,
    /// It waits for the issuer, who may be waiting for whoever makes it.
    NeedsIssuer,
    /// No submission was caught under way (with one processor, say), or something that the trial needs
    /// is missing.
    Unknown,
}

impl IssuerLock {
    /// Tries it. Takes one millisecond, and some more on a machine that is busy with other things.
    pub(crate) fn find(kernel: &KernelRing) -> Self {
        let attempts: [fn(&KernelRing) -> io::Result<()>; 2] = [waits_for_submission, needs_no_issuer];
        match series(attempts.len(), |index| attempts[index](kernel))[..] {
            [Err(TrialError::Failed(NOT_HELD)), _] => Self::NotHeld,
            [_, Err(TrialError::Killed(libc::SIGALRM))] => Self::NeedsIssuer,
            [Ok(()), Ok(())] => Self::Held,
            _ => Self::Unknown,
        }
    }

    /// The same for whoever knows nothing of this kernel's rings yet.
    ///
    /// # Errors
    /// No ring can be made.
    pub fn try_here() -> io::Result<Self> {
        Ok(Self::find(&KernelRing::probe()?))
    }
}

/// What the first attempt fails with where the lock is not taken: nothing else in it does.
const NOT_HELD: Errno = Errno::XDEV;

/// A ring of one issuer, the calling thread, in memory of its own.
struct IssuerRing {
    ring: OwnedFd,
    header: Mapping,
    sqes: Mapping,
    tail_at: usize,
    cq_head_at: usize,
    cq_tail_at: usize,
}

impl IssuerRing {
    fn new(kernel: &KernelRing, entries: u32) -> io::Result<Self> {
        let header = Mapping::private(page_align(kernel.cqes_offset + entries as usize * 16))?;
        let sqes = Mapping::private(page_align(entries as usize * 64))?;
        let flags = SetupFlags::NO_MMAP
            | SetupFlags::NO_SQARRAY
            | SetupFlags::CQSIZE
            | SetupFlags::SINGLE_ISSUER
            | SetupFlags::DEFER_TASKRUN;
        let mut params = Params { flags: flags.bits(), cq_entries: entries, ..Params::default() };
        params.cq_off.user_addr = header.address();
        params.sq_off.user_addr = sqes.address();
        // SAFETY: both mappings are as long as so many entries need, and the kernel pins their pages.
        let ring = unsafe { sys::setup(entries, &mut params) }?;
        Ok(Self {
            ring,
            header,
            sqes,
            tail_at: params.sq_off.tail as usize,
            cq_head_at: params.cq_off.head as usize,
            cq_tail_at: params.cq_off.tail as usize,
        })
    }

    /// Queues a read of one word, which completes at once if it is there.
    fn read(&self, position: usize, pipe: &OwnedFd, into: &AtomicU32) {
        let words = &self.sqes.lines()[position];
        let first = u64::from(Opcode::READ.0) | (pipe.as_raw_fd() as u64) << 32;
        let (at_its_position, len) = (u64::MAX, size_of::<u32>() as u64);
        for (word, value) in words.iter().zip([first, at_its_position, into.as_ptr().addr() as u64, len]) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Makes room for as many completions as there can be.
    fn consume(&self) {
        let tail = self.header.u32_at(self.cq_tail_at).load(Ordering::Acquire);
        self.header.u32_at(self.cq_head_at).store(tail, Ordering::Release);
    }

    fn submit(&self, count: u32) -> io::Result<()> {
        let tail = self.header.u32_at(self.tail_at);
        tail.store(tail.load(Ordering::Relaxed).wrapping_add(count), Ordering::Release);
        // SAFETY: NOPs, and reads into words that outlive the submission, which completes them.
        unsafe { sys::enter(self.ring.as_fd(), count, 0, 0) }.map(drop)
    }
}

/// A pipe that holds one word.
fn word_in_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (out, in_) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::write(&in_, &1u32.to_ne_bytes())?;
    Ok((out, in_))
}

/// Whether another thread's register call waits for the end of a submission that it finds under way.
///
/// # Errors
/// [`NOT_HELD`] where it does not; another where none was found under way.
fn waits_for_submission(kernel: &KernelRing) -> io::Result<()> {
    let ring = IssuerRing::new(kernel, REQUESTS)?;
    for _ in 0..TRIES {
        // NOPs, which all bytes 0 are, between two reads.
        let (first, last) = (word_in_pipe()?, word_in_pipe()?);
        let (begun, over) = (AtomicU32::new(0), AtomicU32::new(0));
        ring.read(0, &first.0, &begun);
        ring.read(REQUESTS as usize - 1, &last.0, &over);
        let ready = Barrier::new(2);
        let gave_up = AtomicU32::new(0);
        let seen = thread::scope(|scope| {
            let other = scope.spawn(|| {
                ready.wait();
                let mut looks = 0;
                while begun.load(Ordering::Acquire) == 0 && gave_up.load(Ordering::Relaxed) == 0 {
                    looks += 1;
                    if looks % LOOKS == 0 { thread::yield_now() } else { std::hint::spin_loop() }
                }
                let late = begun.load(Ordering::Acquire) == 0 || over.load(Ordering::Acquire) == 1;
                wait_for_submissions(ring.ring.as_fd());
                (!late).then(|| over.load(Ordering::Acquire) == 1)
            });
            ready.wait();
            let submitted = ring.submit(REQUESTS);
            gave_up.store(1, Ordering::Relaxed);
            submitted.map(|()| other.join().unwrap_or(None))
        })?;
        // A read that did not complete within its submission proves nothing, and may still come.
        if over.load(Ordering::Acquire) == 0 {
            return Err(Errno::INPROGRESS.into());
        }
        match seen {
            Some(true) => return Ok(()),
            Some(false) => return Err(NOT_HELD.into()),
            None => {}
        }
        ring.consume();
    }
    Err(Errno::AGAIN.into())
}

/// Has a child make the register call while its parent, the issuer, sleeps until that one ends, in a way
/// that nothing but a fatal signal interrupts: as a thread that waits for the guard's answer does.
///
/// # Errors
/// Something that this takes is missing. Where the call needs the issuer, SIGALRM ends the process.
fn needs_no_issuer(kernel: &KernelRing) -> io::Result<()> {
    let ring = IssuerRing::new(kernel, 1)?;
    let second = libc::timeval { tv_sec: PATIENCE, tv_usec: 0 };
    let timer = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: second };
    // SAFETY: the set is initialised before it is read, and `timer` lives for the call. Its signal ends
    // this throw-away process.
    let set = unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        let mut alarm: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut alarm);
        libc::sigaddset(&mut alarm, libc::SIGALRM);
        libc::sigprocmask(libc::SIG_UNBLOCK, &alarm, std::ptr::null_mut());
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut())
    };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    let flags = (libc::CLONE_VFORK | libc::SIGCHLD) as libc::c_long;
    // SAFETY: a fork whose child makes two system calls and ends; its parent goes on then.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            wait_for_submissions(ring.ring.as_fd());
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_known_kernel_does_without_the_lock() {
        let found = IssuerLock::try_here().expect("a ring");
        // With one processor no submission may be caught under way.
        assert!(matches!(found, IssuerLock::Held | IssuerLock::Unknown), "{found:?}");
    }
}
