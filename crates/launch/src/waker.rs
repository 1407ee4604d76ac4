//! A process that continues the calling one, which stops itself with the program and cannot see what becomes of it.

use crate::wait::{self, State};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal, setsid};

/// How often it looks: jobs may be stopped for days.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A child, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waker(Pid);

impl Waker {
    /// Starts it, if there can be one. From when `program` is not stopped any more, whoever has continued or ended it, or
    /// `asked` is readable, it sends SIGCONT again and again: one before the caller has stopped would come too early.
    pub(crate) fn start(program: &State, asked: Option<BorrowedFd<'_>>) -> Option<Self> {
        let caller = getpid();
        // SAFETY: what the child does takes no lock that another thread may have held: it allocates nothing, and never
        // returns.
        match unsafe { libc::fork() } {
            0 => look_after(caller, program, asked),
            pid => Pid::from_raw(pid.max(0)).map(Self),
        }
    }

    /// The process that the signals come from.
    pub(crate) fn pid(&self) -> Pid {
        self.0
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        // It is a child that nobody has waited for.
        let _ = kill_process(self.0, Signal::KILL);
        let _ = wait::end(self.0);
    }
}

fn look_after(caller: Pid, program: &State, asked: Option<BorrowedFd<'_>>) -> ! {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // What stops the caller's group does not stop this.
    let _ = setsid();
    while getppid() == Some(caller) {
        let mut fds = asked.map(|asked| PollFd::from_borrowed_fd(asked, PollFlags::IN));
        let fds = fds.as_mut_slice();
        let _ = poll(fds, Some(&PAUSE));
        let is_asked = fds.iter().any(|fd| fd.revents().contains(PollFlags::IN));
        if is_asked || !program.is_stopped() {
            let _ = kill_process(caller, Signal::CONT);
            let _ = poll(&mut [], Some(&PAUSE));
        }
    }
    // SAFETY: nothing of the caller's is to be done here.
    unsafe { libc::_exit(0) }
}
