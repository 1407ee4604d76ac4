//! The program and the watchdog as one job: when one is stopped or continued, so is the other.
//!
//! The program's parent is the guard, so the kernel tells the guard of the program's stops and not the
//! process that a shell waits for. The other way, SIGSTOP to that process can be neither caught nor passed on
//! by it: the guard sees it in `/proc`, once a second.

use crate::split::report::Report;
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
    /// The watchdog may be stopped, or about to, because it was told that the program was.
    told: bool,
}

impl<'a, R: AsFd> Job<'a, R> {
    pub(crate) fn new(program: Pid, watchdog: Pid, reports: &'a R) -> Self {
        let state = State::open(watchdog).ok();
        Self { program, watchdog, state, reports, stopped: false, followed: false, told: false }
    }

    /// Looks whether the program has stopped or goes on. Nobody may be tracing its main thread meanwhile.
    pub(crate) fn look(&mut self) {
        match wait::stop(self.program) {
            Ok(Some(Stop::Stopped(signal))) => {
                self.stopped = true;
                if !self.followed {
                    self.told = true;
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
            if self.told && self.waiting() > 0 {
                let _ = kill_process(self.watchdog, Signal::CONT);
            } else {
                self.followed = true;
                let _ = kill_process(self.program, Signal::STOP);
            }
        } else if !stopped && self.followed {
            self.followed = false;
            let _ = kill_process(self.program, Signal::CONT);
        }
        self.told &= stopped || self.stopped || self.waiting() > 0;
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::pipe;
    use std::process::{Child, Command, Stdio};

    fn cat() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat")
    }

    fn until(child: &Child, stopped: bool) {
        let state = State::open(Pid::from_child(child)).expect("a state");
        while state.is_stopped() != stopped {
            std::thread::yield_now();
        }
    }

    /// Whoever is stopped while something is on its way to him was not stopped by that.
    #[test]
    fn a_stop_of_the_watchdog_is_followed_whatever_it_has_not_read() {
        let (mut program, mut watchdog) = (cat(), cat());
        let (_out, reports) = pipe().expect("a pipe");
        rustix::io::write(&reports, b"a report").expect("room");
        let mut job = Job::new(Pid::from_child(&program), Pid::from_child(&watchdog), &reports);
        for (signal, stopped) in [(Signal::STOP, true), (Signal::CONT, false), (Signal::STOP, true)] {
            kill_process(Pid::from_child(&watchdog), signal).expect("it lives");
            until(&watchdog, stopped);
            job.look_after_watchdog();
            until(&program, stopped);
            // The kernel tells of it, as the guard hears.
            job.look();
        }
        for child in [&mut program, &mut watchdog] {
            child.kill().expect("it lives");
            child.wait().expect("its end");
        }
    }

    /// It is told that the program has stopped, stops as well, and does not read that the program runs on.
    #[test]
    fn a_watchdog_that_has_stopped_as_it_was_told_runs_on_with_the_program() {
        let (mut program, mut watchdog) = (cat(), cat());
        let (_out, reports) = pipe().expect("a pipe");
        let mut job = Job::new(Pid::from_child(&program), Pid::from_child(&watchdog), &reports);
        kill_process(Pid::from_child(&program), Signal::STOP).expect("it lives");
        until(&program, true);
        job.look();
        kill_process(Pid::from_child(&program), Signal::CONT).expect("it lives");
        until(&program, false);
        job.look();
        kill_process(Pid::from_child(&watchdog), Signal::STOP).expect("it lives");
        until(&watchdog, true);
        job.look_after_watchdog();
        until(&watchdog, false);
        assert!(!State::open(Pid::from_child(&program)).expect("a state").is_stopped());
        for child in [&mut program, &mut watchdog] {
            child.kill().expect("it lives");
            child.wait().expect("its end");
        }
    }
}
