//! The program and the watchdog as one job: when one is stopped or continued, so is the other.
//!
//! The program's parent is the guard, so the kernel tells the guard of the program's stops and not the
//! process that a shell waits for. The other way, SIGSTOP to that process can be neither caught nor passed on
//! by it: the guard sees it in `/proc`, once a second.

use crate::report::Report;
use ringwarden_launch::wait::{self, State, Stop};
use rustix::fd::AsFd;
use rustix::process::{Pid, Signal, kill_process};

/// What may wait in the pipe of reports before stops are not reported any more: a watchdog that reads
/// nothing, because it is stopped itself, must not keep the guard waiting.
const WAITING: u64 = 1024;

pub(crate) struct Job<'a, R> {
    program: Pid,
    watchdog: Pid,
    /// Of the watchdog; none where `/proc` hides it.
    state: Option<State>,
    reports: &'a R,
    stopped: bool,
    /// The program was stopped because the watchdog was.
    followed: bool,
}

impl<'a, R: AsFd> Job<'a, R> {
    pub(crate) fn new(program: Pid, watchdog: Pid, reports: &'a R) -> Self {
        let state = State::open(watchdog).ok();
        Self { program, watchdog, state, reports, stopped: false, followed: false }
    }

    /// Looks whether the program has stopped or goes on. Nobody may be tracing its main thread meanwhile.
    pub(crate) fn look(&mut self) {
        match wait::stop(self.program) {
            Ok(Some(Stop::Stopped(signal))) => {
                self.stopped = true;
                if !self.followed {
                    self.report(Report::Stopped { signal });
                }
            }
            Ok(Some(Stop::Continued)) => {
                (self.stopped, self.followed) = (false, false);
                self.report(Report::Continued);
                // Only if it is stopped: SIGCONT takes away a stop signal that is on its way to the program.
                if self.state.as_ref().is_none_or(State::is_stopped) {
                    let _ = kill_process(self.watchdog, Signal::CONT);
                }
            }
            // It has ended, or nothing has happened.
            Ok(None) | Err(_) => {}
        }
    }

    /// Looks after the watchdog, once a second.
    pub(crate) fn look_after_watchdog(&mut self) {
        let stopped = self.state.as_ref().is_some_and(State::is_stopped);
        if stopped && !self.stopped && !self.followed {
            // It may have stopped because of an earlier report, when the next, that the program runs on, was on
            // its way.
            if self.waiting() > 0 {
                let _ = kill_process(self.watchdog, Signal::CONT);
            } else {
                self.followed = true;
                let _ = kill_process(self.program, Signal::STOP);
            }
        } else if !stopped && self.followed {
            self.followed = false;
            let _ = kill_process(self.program, Signal::CONT);
        }
    }

    /// How much of what was reported the watchdog has not read.
    fn waiting(&self) -> u64 {
        rustix::io::ioctl_fionread(self.reports).unwrap_or(WAITING)
    }

    fn report(&self, report: Report) {
        if self.waiting() < WAITING {
            let _ = rustix::io::write(self.reports, &report.to_bytes());
        }
    }
}
