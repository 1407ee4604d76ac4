//! The guard's own process: starts the program, serves it on one thread, and watches over both on
//! the main one.

use crate::guard::Guard;
use crate::rlimits::{raise, raise_open_files};
use crate::seccomp::{Listener, split, split::Traps};
use crate::serve::{Server, serve};
use crate::split::host::Host;
use crate::split::job::Job;
use crate::split::report::Report;
use crate::split::rules::Rules;
use crate::split::shared::Shared;
use crate::split::supervisor::{Parts, Supervisor};
use crate::start::child::read_i32;
use crate::start::{Started, start};
use ringwarden_filter::RegisterRules;
use ringwarden_launch::tree::{self, Children};
use ringwarden_launch::{Argv, Arrivals, FAILED, HeldSignals, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Resource, getppid, setsid};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// File descriptors that are not for rings, which need one each.
const OTHER_FDS: u64 = 96;
/// Rings that one guarded tree can have, however many descriptors the guard may open.
const MAX_RINGS: u64 = 16384;

/// How soon the guard lets go of rings that it held for a while, and tries again to collect the dead.
const TICK: Duration = Duration::from_millis(5);
/// How often it looks at [deadlines](crate::serve::deadline).
const SECOND: Duration = Duration::from_secs(1);

/// Runs the guard. `life` hangs up when the watchdog is gone; `reports` goes to it.
/// Signals are `held`, for good: those meant for the group do not touch the guard.
pub(crate) fn run(
    guard: Guard,
    host: Host,
    argv: &Argv,
    held: &HeldSignals,
    life: OwnedFd,
    reports: OwnedFd,
) -> ! {
    let report = |report: Report| {
        let _ = rustix::io::write(&reports, &report.to_bytes());
    };
    tree::adopt_orphans();
    let started = Children::open().map_err(|error| (FAILED, error)).and_then(|children| {
        let filter = split::program(&guard.traps(&host));
        let (started, listener) = start(argv, held, &filter)?;
        // One SIGKILL to the group that the user started (`timeout -k`, `kill -KILL -PGID`) must not end both
        // the watchdog and the guard. A session of its own and not only a group: the program's parent would
        // otherwise be in the program's session and outside of its group, whose stop signals and terminal would
        // then never count as orphaned (`will_become_orphaned_pgrp`), unlike natively. The program was forked
        // before, and stays in the user's group. Writing to a terminal of another session is never stopped.
        setsid().map_err(|error| (FAILED, error))?;
        Ok((started, listener, children))
    });
    let status = match started {
        Err((status, error)) => {
            report(Report::NotStarted { status, errno: error.raw_os_error() });
            status
        }
        Ok((started, listener, children)) => {
            report(Report::Started { pid: started.pid.as_raw_nonzero().get() });
            let program_ended = |status| report(Report::ProgramEnded { status });
            let observer = guard.observer.clone();
            let audit = guard.audit.clone();
            let ended =
                watch(guard, host, (&started, listener), &children, life.as_fd(), &reports, program_ended);
            // Whatever the reason, nobody runs on without the guard.
            children.kill_all_but(&[]);
            if let Some(observer) = observer {
                observer.ended();
            }
            audit.end();
            match ended {
                Ok(status) => {
                    report(Report::Ended { status });
                    0
                }
                Err(errno) => {
                    report(Report::Failed { errno });
                    FAILED
                }
            }
        }
    };
    // SAFETY: ends the process without running what the watchdog, whose copy it is, had registered
    // for its own exit.
    unsafe { libc::_exit(status.into()) }
}

impl Guard {
    /// What has to stop at the guard.
    pub(crate) fn traps(&self, host: &Host) -> Traps<'_> {
        let follow = self.own_filters || host.kernel.filters_tasks();
        let looks = self.holds_arguments();
        Traps {
            register: if self.permissive { &RegisterRules::ALL } else { &self.calls.register },
            clones: follow,
            execs: follow || looks,
            bpf: host.hazards.bpf_ops,
            udmabuf: host.hazards.udmabuf && (follow || looks),
        }
    }
}

/// Serves and watches until the program and all its descendants have ended; gives the program's
/// status. `program_ended` is told it at once.
fn watch(
    guard: Guard,
    host: Host,
    (started, serving): (&Started, Listener),
    children: &Children,
    life: BorrowedFd<'_>,
    reports: &OwnedFd,
    program_ended: impl Fn(Status),
) -> Result<Status, i32> {
    let raw = |error: Errno| error.raw_os_error();
    let shared = Shared::new().map_err(raw)?;
    let own_filters = guard.traps(&host).clones;
    let mut rules = Rules::new(guard.filters, guard.calls, guard.permissive, host.kernel.opcodes);
    if guard.observer.is_some() {
        rules.show_all();
    }
    let max_rings = raise_limits().saturating_sub(OTHER_FDS).clamp(1, MAX_RINGS) as usize;
    let listener = serving.as_fd().try_clone_to_owned().map_err(|_| libc::EMFILE)?;
    let parts = Parts {
        listener: serving,
        kernel: host.kernel,
        rules,
        max_rings,
        own_filters,
        audit: guard.audit,
        observer: guard.observer,
        shared: shared.clone(),
    };
    let supervisor = Arc::new(Supervisor::new(parts).map_err(raw)?);
    let server = serve(&supervisor).map_err(raw)?;
    let changes = Arrivals::of_children().map_err(raw)?;
    started.go().map_err(raw)?;

    let mut executing = guard.executed.is_some();
    let mut job = getppid().map(|watchdog| Job::new(started.pid, watchdog, reports));
    let mut status = None;
    let mut nobody_left = false;
    let mut held_back = false;
    // A child may have changed.
    let mut changed = false;
    let mut second = Instant::now() + SECOND;
    let mut tidy_at: Option<Instant> = None;
    loop {
        let only_if = |wanted| if wanted { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::from_borrowed_fd(life, PollFlags::empty()),
            // Once it has said that nobody is left, only its place is taken.
            if nobody_left {
                PollFd::from_borrowed_fd(life, PollFlags::empty())
            } else {
                PollFd::new(&server, PollFlags::IN)
            },
            PollFd::new(&changes, PollFlags::IN),
            // Readable until a tick has tidied up, so of no interest while one is due.
            PollFd::from_borrowed_fd(shared.untidy(), only_if(tidy_at.is_none())),
            PollFd::from_borrowed_fd(shared.registered.ends(), PollFlags::IN),
            match status {
                None => PollFd::new(&started.pidfd, only_if(!held_back)),
                // No guarded task is left when the listener hangs up.
                Some(_) => PollFd::new(&listener, PollFlags::empty()),
            },
            if executing { started.exec_fd() } else { PollFd::from_borrowed_fd(life, PollFlags::empty()) },
        ];
        let soon = tidy_at.or_else(|| changed.then(|| Instant::now() + TICK));
        match poll(&mut fds, Some(&until(soon.map_or(second, |soon| soon.min(second))))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(raw(error)),
        }
        let [life, served_or_failed, child, untidy, ends, last] =
            [0, 1, 2, 3, 4, 5].map(|index: usize| !fds[index].revents().is_empty());
        let exec = fds[6].revents();
        let now = Instant::now();
        if life {
            return Err(libc::EPIPE);
        }
        if executing && !exec.is_empty() {
            executing = false;
            if Started::was_executed(exec) {
                let _ = rustix::io::write(reports, &Report::Executed.to_bytes());
            }
        }
        if let Some(late) = now.checked_duration_since(second) {
            second = now + SECOND;
            supervisor.end_overdue(late).map_err(raw)?;
            supervisor.sweep();
            if status.is_none() {
                job.iter_mut().for_each(Job::look_after_watchdog);
            }
            // One that has changed while another was traced may have gone unheard.
            changed = true;
            if supervisor.turns.is_vacant() {
                server.start_thread().map_err(raw)?;
            }
        }
        if ends {
            shared.registered.sweep();
        }
        match tidy_at {
            Some(at) if now >= at => tidy_at = tidy(&server, &shared).then(|| now + TICK),
            None if untidy => {
                shared.hear();
                tidy_at = Some(now + TICK);
            }
            _ => {}
        }
        if child {
            // Of those that wait at the same time, the kernel keeps the first.
            changed |= std::iter::from_fn(|| changes.next()).any(|signal| signal.tells_of_a_child());
        }
        if changed {
            let traced = shared.traced.traced();
            if status.is_none() && traced.spares(started.pid) {
                job.iter_mut().for_each(Job::look);
            }
            changed = !children.reap_all_but(|child| child == started.pid, |child| traced.spares(child))
                || status.is_none() && !traced.spares(started.pid);
        }
        if served_or_failed && !nobody_left {
            match read_i32(server.as_fd()) {
                Some(0) => nobody_left = true,
                // Without a number, a panic.
                failed => return Err(failed.unwrap_or(libc::EIO)),
            }
        }
        match status {
            None if last || held_back => {
                status = started.status()?;
                held_back = status.is_none();
                status.into_iter().for_each(&program_ended);
            }
            Some(_) if last => nobody_left = true,
            _ => {}
        }
        if let Some(status) = status
            && nobody_left
        {
            return Ok(status);
        }
    }
}

/// One tick; whether another is to follow.
fn tidy(server: &Server<Supervisor>, shared: &Shared) -> bool {
    let (start, slow) = server.turns().tick();
    if start {
        // Otherwise the next second comes to it.
        let _ = server.start_thread();
    }
    // Both, whatever the first says.
    slow | shared.leases.expire()
}

/// The time that is left until then.
fn until(then: Instant) -> Timespec {
    let left = then.saturating_duration_since(Instant::now());
    // At most a second, see above.
    Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
}

/// Raises the limits that rings and the audit count against as far as allowed, and gives that of open
/// files.
fn raise_limits() -> u64 {
    raise(Resource::Memlock);
    raise(Resource::Fsize);
    raise_open_files()
}
