//! The process that the user started: stands in for the program, and waits for the guard's reports.

use crate::error::{Error, not_executed, not_started};
use crate::split::report::Report;
use ringwarden_launch::tree::Children;
use ringwarden_launch::wait::State;
use ringwarden_launch::{HeldSignals, Signal, StandIn, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, kill_process, pidfd_open};

/// What the watchdog watches.
pub(crate) struct Tree<'a> {
    /// The guard's process.
    pub(crate) guard: Pid,
    pub(crate) children: Children,
    /// Children that are not the guard's.
    pub(crate) spared: &'a [Pid],
}

/// Waits until all is over, and gives the program's status. `reports` comes from the guard's process, and
/// dropping `life` tells it that the watchdog is gone. `executed` is called when the program was executed. The signals `held` until the program exists are for
/// the program.
pub(crate) fn watch(
    tree: &Tree<'_>,
    held: HeldSignals,
    reports: &OwnedFd,
    life: OwnedFd,
    program: &str,
    executed: Option<Box<dyn FnOnce() + Send>>,
) -> Result<Status, Error> {
    let outcome = match StandIn::new(Some(tree.guard)) {
        Ok(stand_in) => {
            let guard = State::open(tree.guard).ok();
            let (program_runs, ended, stopped, cut_short) = (None, None, None, false);
            Watch {
                tree,
                reports,
                stand_in,
                guard,
                program: program_runs,
                ended,
                stopped,
                cut_short,
                executed,
            }
            .until_the_end(program)
        }
        Err(error) => Err(Error::Start(error.into())),
    };
    // From here on signals are ignored: what is left of the tree must be ended.
    tree.children.kill_all_but(tree.spared);
    drop(life);
    drop(held);
    outcome
}

struct Watch<'a> {
    tree: &'a Tree<'a>,
    reports: &'a OwnedFd,
    stand_in: StandIn,
    /// The guard's state; none where `/proc` hides it.
    guard: Option<State>,
    /// The program's pidfd and state, while it runs.
    program: Option<(OwnedFd, Option<State>)>,
    /// How it ended, when its descendants have perhaps not.
    ended: Option<Status>,
    /// It is stopped by that signal, and this process is not yet.
    stopped: Option<i32>,
    /// A signal has ended the tree that the program left behind.
    cut_short: bool,
    /// Who is told when the program was executed.
    executed: Option<Box<dyn FnOnce() + Send>>,
}

impl Watch<'_> {
    fn until_the_end(mut self, program: &str) -> Result<Status, Error> {
        loop {
            // Signals wait until there is one whom they are for.
            let heard = self.program.is_some() || self.ended.is_some();
            let reports = PollFd::new(self.reports, PollFlags::IN);
            let mut fds = [reports, self.stand_in.poll_fd()];
            let fds = if heard { &mut fds[..] } else { &mut fds[..1] };
            const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
            let timeout = self.stopped.map_or(self.stand_in.timeout(), |_| Some(&AT_ONCE));
            let (reported, heard) = match poll(fds, timeout) {
                Ok(_) => (!fds[0].revents().is_empty(), heard),
                Err(Errno::INTR) => (false, heard),
                // The program has taken the limit of open files away, which `poll` asks for. Signals are lost
                // on it then; the guard's end is not.
                Err(Errno::INVAL) => (true, false),
                Err(error) => return Err(Error::Died(error.into())),
            };
            if heard {
                self.hear();
            }
            if reported {
                if let Some(outcome) = self.read(program) {
                    return outcome;
                }
                // A report that has come meanwhile may say that it runs again.
            } else if let Some(signal) = self.stopped.take()
                && self.is_still_stopped()
            {
                // That the program runs on may be told too early, and that it has ended nobody would read.
                let program = self.program.as_ref().and_then(|(_, state)| state.as_ref());
                self.stand_in.stop_like(signal, program, None);
            }
        }
    }

    /// Whether the program was not continued since: then it would run on behind a shell that believes it
    /// stopped.
    fn is_still_stopped(&self) -> bool {
        self.program.as_ref().is_none_or(|(_, state)| state.as_ref().is_none_or(State::is_stopped))
    }

    /// Takes note of a report; gives the outcome if that was the last.
    fn read(&mut self, program: &str) -> Option<Result<Status, Error>> {
        let Some(report) = next(self.reports) else {
            return Some(match self.ended {
                Some(status) if self.cut_short => Ok(status),
                _ => Err(Error::Died(std::io::Error::other("killed"))),
            });
        };
        match report {
            Report::Started { pid } => {
                // Should this fail, the process is gone already.
                self.program = Pid::from_raw(pid).and_then(|pid| {
                    Some((pidfd_open(pid, PidfdFlags::empty()).ok()?, State::open(pid).ok()))
                });
            }
            Report::Executed => self.executed.take().into_iter().for_each(|executed| executed()),
            Report::Stopped { signal } => self.stopped = Some(signal),
            Report::Continued => self.stopped = None,
            Report::ProgramEnded { status } => {
                (self.program, self.stopped, self.ended) = (None, None, Some(status));
            }
            Report::Ended { status } => return Some(Ok(status)),
            Report::NotStarted { status, errno } => return Some(Err(not_started(status, errno, program))),
            Report::Failed { errno } if errno < 0 => return Some(Err(not_executed(-errno, program))),
            Report::Failed { errno } => {
                return Some(Err(Error::Died(std::io::Error::from_raw_os_error(errno))));
            }
        }
        None
    }

    fn hear(&mut self) {
        if let Some((program, _)) = &self.program {
            if self.stand_in.pass_on(program.as_fd()) {
                self.wake_the_guard();
            }
            return;
        }
        while let Some(signal) = self.stand_in.next_signal() {
            if signal.tells_of_a_child() {
                self.wake_the_guard();
            }
            self.after_the_program(&signal);
        }
    }

    /// A guard that somebody has stopped would keep the whole tree waiting.
    fn wake_the_guard(&self) {
        if self.guard.as_ref().is_some_and(State::is_stopped) {
            let _ = kill_process(self.tree.guard, rustix::process::Signal::CONT);
        }
    }

    /// What would have ended the program, also from a terminal, ends the rest of its tree.
    fn after_the_program(&mut self, signal: &Signal) {
        if signal.stops() {
            self.stopped = Some(signal.number());
        } else if signal.ends_the_rest() {
            self.cut_short = true;
            // A child that has not been waited for.
            let _ = kill_process(self.tree.guard, rustix::process::Signal::KILL);
        }
    }
}

fn next(reports: &OwnedFd) -> Option<Report> {
    let mut bytes = [0; Report::SIZE];
    loop {
        match rustix::io::read(reports.as_fd(), &mut bytes) {
            Err(Errno::INTR) => {}
            // Written in one piece, shorter than PIPE_BUF.
            Ok(Report::SIZE) => return Report::from_bytes(bytes),
            _ => return None,
        }
    }
}
