//! An end for injections that a hostile program drags out.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::sync::atomic::{AtomicI32, Ordering};

/// Injections take well under a millisecond. A thread that does not stop for this long is being
/// held, in a way that a program can only bring about on purpose.
const LIMIT: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Set by the thread that injects, watched by the main thread.
#[derive(Debug)]
pub(crate) struct Deadline {
    timer: OwnedFd,
    tid: AtomicI32,
}

impl Deadline {
    pub(crate) fn new() -> Result<Self, Errno> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Self { timer, tid: AtomicI32::new(0) })
    }

    /// Readable once the deadline has passed.
    pub(crate) fn timer(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Runs `injection` into `tid`; past the deadline the thread's process is killed, which ends it.
    pub(crate) fn bound<R>(&self, tid: Pid, injection: impl FnOnce() -> R) -> R {
        self.tid.store(tid.as_raw_nonzero().get(), Ordering::SeqCst);
        self.arm(LIMIT);
        let result = injection();
        self.arm(NEVER);
        self.tid.store(0, Ordering::SeqCst);
        result
    }

    /// Kills the process that an injection is stuck in.
    pub(crate) fn enforce(&self) {
        self.arm(NEVER);
        if let Some(tid) = Pid::from_raw(self.tid.load(Ordering::SeqCst)) {
            // A signal to any thread's number reaches its process, SIGKILL all of it.
            let _ = kill_process(tid, Signal::KILL);
        }
    }

    fn arm(&self, value: Timespec) {
        let spec = Itimerspec { it_interval: NEVER, it_value: value };
        // Valid arguments on a timer of ours: cannot fail.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec);
    }
}
