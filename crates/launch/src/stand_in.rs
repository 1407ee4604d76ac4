//! The process that the user started, as the one that gets the program's signals.

use crate::signal::{Arrivals, Signal};
use crate::stop::stop_like;
use crate::wait::State;
use crate::waker::Waker;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::Pid;

/// How soon a signal is sent again that the program's queue had no room for.
const AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// So many signals are passed on before the caller looks at something else: a storm of them must not hide
/// that the program has ended.
const BATCH: usize = 64;

/// Passes on what arrives, in order, and loses nothing that has a place in a queue.
#[derive(Debug)]
pub struct StandIn {
    arrivals: Arrivals,
    /// The same without those that queue up, which must not hold up the others.
    standard: Arrivals,
    /// Waits for room in the program's queue, and all later ones of its kind with it.
    delayed: Option<Signal>,
    /// Processes whose SIGCONT is for us and not for the program: one of the caller's, and one of ours.
    wakers: [Option<Pid>; 2],
}

impl std::fmt::Debug for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signal({})", self.number())
    }
}

impl StandIn {
    /// Signals have to be [held](crate::HeldSignals). `waker` may continue this process by SIGCONT without
    /// the program hearing of it.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn new(waker: Option<Pid>) -> Result<Self, Errno> {
        Ok(Self {
            arrivals: Arrivals::all()?,
            standard: Arrivals::of_standard()?,
            delayed: None,
            wakers: [waker, None],
        })
    }

    /// What to poll for.
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.open().as_fd(), PollFlags::IN)
    }

    /// Where signals come from at the moment.
    fn open(&self) -> &Arrivals {
        if self.delayed.is_some() { &self.standard } else { &self.arrivals }
    }

    /// How long to poll at most.
    pub fn timeout(&self) -> Option<&'static Timespec> {
        self.delayed.is_some().then_some(&AGAIN)
    }

    /// Passes on what has arrived to the program that `pidfd` is; whether a child has changed, too.
    pub fn pass_on(&mut self, pidfd: BorrowedFd<'_>) -> bool {
        let mut child_changed = false;
        // Only real-time signals need room (`__send_signal_locked`).
        self.delayed = self.delayed.take().filter(|signal| signal.send_to(pidfd) == Err(Errno::AGAIN));
        for _ in 0..BATCH {
            let Some(signal) = self.arrived() else { break };
            child_changed |= signal.tells_of_a_child();
            if signal.is_for_program() && signal.send_to(pidfd) == Err(Errno::AGAIN) {
                self.delayed = Some(signal);
            }
        }
        child_changed
    }

    /// Stops the calling process as [`stop_like`] does, where `program` was stopped by that signal. It is continued with the
    /// program, whoever continues that, and when something can be read from `asked`: then it does not stop again while the
    /// program is stopped for the same reason.
    ///
    /// A child of its own sees to that, for as long as it is stopped. Where there cannot be one, or `/proc` hides the program,
    /// it stays stopped until somebody continues it.
    pub fn stop_like(&mut self, signal: i32, program: Option<&State>, asked: Option<BorrowedFd<'_>>) {
        let waker = program.and_then(|program| Waker::start(program, asked));
        self.wakers[1] = waker.as_ref().map(Waker::pid);
        stop_like(signal);
    }

    /// The next one, for a caller who decides alone what becomes of it.
    pub fn next_signal(&mut self) -> Option<Signal> {
        self.delayed.take().or_else(|| self.arrived())
    }

    /// Whether a signal has arrived that would have ended the program, which has ended by itself. Takes all that
    /// have.
    pub fn cuts_short(&mut self) -> bool {
        std::iter::from_fn(|| self.next_signal()).filter(Signal::ends_the_rest).count() != 0
    }

    fn arrived(&self) -> Option<Signal> {
        loop {
            let signal = self.open().next()?;
            let mut wakers = self.wakers.iter().flatten();
            if signal.number() != libc::SIGCONT || !wakers.any(|&waker| signal.is_from(waker)) {
                return Some(signal);
            }
        }
    }
}
