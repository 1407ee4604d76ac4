//! A worker: makes the rings of one listener's tasks until none is left, whatever becomes of the front.

use super::container::{Container, Record};
use super::policy::{self, Chosen};
use super::wire::{self, Assignment, Counts, Orphan, Report};
use crate::FAILED;
use crate::audit::{Line, append, why_killed};
use crate::cgroups::{self, Membership};
use crate::lines::Lines;
use clap::Args;
use ringwarden::Enforcement;
use ringwarden::guard::{self, Audit, Killed, Profile, Refusal, Refused, RingCount};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, getrlimit, setrlimit, setsid};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Of threads that tell.
const STACK: usize = 128 << 10;
/// Counts are told so often at most, and the next front is looked for.
const SECOND: Duration = Duration::from_secs(1);

/// One container's maker of rings; started by `ringwarden agent`.
#[derive(Args)]
pub(crate) struct Worker {
    /// The container, for people who list processes
    #[arg(value_name = "CONTAINER")]
    _container: String,
}

impl Worker {
    pub(crate) fn execute(self) -> ExitCode {
        // Whoever ends the front's group or session does not mean it.
        let _ = setsid();
        let (assignment, mut fds) = match wire::assigned(io::stdin()) {
            Ok(assigned) => assigned,
            Err(error) => {
                return crate::style::fail(format_args!("no agent has started this: {error}"), FAILED);
            }
        };
        fds.reverse();
        let (listener, count) = (fds.pop(), fds.pop());
        let Some(listener) = listener else {
            assignment.container.say("gets no ring: no listener has come with it");
            return ExitCode::from(FAILED);
        };
        let process = Pid::from_raw(assignment.process);
        // Before there is any other thread.
        let profile = process.ok_or(Errno::SRCH).and_then(Profile::of);
        let container = assignment.container.clone();
        let Err(reason) = serve(assignment, process, &listener, count, profile.as_ref()) else {
            return ExitCode::SUCCESS;
        };
        container.say(format_args!("gets no ring: {reason}"));
        // When this ends, the container could have a listener of its own, and rings that nobody holds.
        if !profile.is_ok_and(|profile| profile.refuses_listeners()) {
            let _ = guard::refuse_all(listener);
        }
        ExitCode::from(FAILED)
    }
}

/// Serves a container from the beginning to its end.
fn serve(
    assignment: Assignment,
    process: Option<Pid>,
    listener: &OwnedFd,
    count: Option<OwnedFd>,
    profile: Result<&Profile, &Errno>,
) -> Result<(), String> {
    let Assignment { container, policies, ceiling, most, audit, front, .. } = assignment;
    // Its memory is small and no use to anybody; the rings end with the container's own processes.
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
    let Chosen { mut maker, enforcement, lane } =
        policy::choose(&container.policy, &policies, ceiling.as_deref())?;
    if let Ok(profile) = profile {
        maker.check(profile).map_err(|distrust| distrust.to_string())?;
    }
    let copy = listener.try_clone().map_err(|error| error.to_string())?;
    let groups = process.map_or(Err(Errno::SRCH.into()), cgroups::that_pay_for);
    if (profile.is_err() || groups.is_err()) && guard::is_abandoned(listener) {
        // Such as a probe of health, which enters the container for a moment: nothing was refused to it.
        wire::report(io::stdin(), Report::Serves);
        return Ok(());
    }
    if let Err(error) = profile {
        container.say(format_args!(
            "its seccomp profile cannot be looked at ({error}): whether it refuses listeners of the container's own \
             is not known, and rings that programs enable themselves are not offered"
        ));
    }
    match groups {
        Ok(groups) => maker = maker.paid_by(groups),
        Err(error) => {
            container.say(format_args!("the memory of its rings is not counted for it: {error}"));
        }
    }
    if let Some(process) = process {
        lock_no_more_than(process);
    }
    let membership = process.map(Membership::of).unwrap_or_default();
    let orphan = Orphan { container: container.clone(), membership };
    let counts = Reporter::start(front, orphan).map_err(|error| error.to_string())?;
    if let (Some(most), Some(count)) = (most, count) {
        maker = maker.with_limits(most.into(), RingCount::from(count));
    }
    let log = Log {
        container: container.clone(),
        enforcement,
        audit,
        counts,
        over: false,
        lines: Lines::default(),
    };
    log.counts.report(Report::Serves);
    container.say(format_args!("gets rings, in the lane {lane}"));
    maker.with_audit(log).serve(copy, profile.ok()).map_err(|error| match error {
        guard::Error::Died(error) => format!("its worker could not go on: {error}"),
        error => error.to_string(),
    })
}

/// Takes on the limit of locked memory that a process has, by which rings are limited on some kernels.
fn lock_no_more_than(process: Pid) {
    let text = fs::read_to_string(format!("/proc/{}/limits", process.as_raw_nonzero())).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    if let Some(soft) = soft {
        let limit = rustix::process::Rlimit { current: Some(soft), ..getrlimit(Resource::Memlock) };
        let _ = setrlimit(Resource::Memlock, limit);
    }
}

/// What is told of a container's rings.
struct Log {
    container: Container,
    enforcement: Enforcement,
    /// Refusals are written to standard output.
    audit: bool,
    counts: Arc<Reporter>,
    /// The limits have been reached before.
    over: bool,
    lines: Lines,
}

impl Audit for Log {
    fn refused(&mut self, refusal: &Refusal) -> io::Result<()> {
        self.counts.count(|counts| counts.refused += 1);
        if let Refused::OverLimit { rings, entries } = refusal.request
            && !std::mem::replace(&mut self.over, true)
        {
            let limit =
                |most: u64, what| if most == u64::MAX { String::new() } else { format!(" {most} {what}") };
            let (rings, entries) = (limit(rings, "rings"), limit(entries, "entries"));
            self.container.say(format_args!("has reached its limit:{rings}{entries}; this is told once"));
        }
        if !self.audit {
            return Ok(());
        }
        let line = Line::of_the_guard(refusal, &self.enforcement);
        let mut file = io::stdout().lock();
        append(&mut file, &Record { container: &self.container, line }).and_then(|()| file.flush())
    }

    fn killed(&mut self, killed: &Killed) {
        // Nobody may read standard error, and the main thread must not wait.
        self.lines.tell(self.container.line(why_killed(killed)));
    }

    fn made(&mut self) {
        self.counts.count(|counts| counts.made += 1);
    }

    fn ended(&mut self) {
        self.counts.tell();
    }
}

/// Tells the front of counts, soon after they have changed, and never waits for it.
struct Reporter {
    /// To the front.
    link: Mutex<Arc<OwnedFd>>,
    /// With whether they have changed.
    counts: Mutex<(Counts, bool)>,
    changed: Condvar,
}

impl Reporter {
    /// Begins with the front at standard input. When that has ended it is `orphan` to the next one that listens at `front`.
    fn start(front: Option<PathBuf>, orphan: Orphan) -> io::Result<Arc<Self>> {
        let link = Mutex::new(Arc::new(io::stdin().as_fd().try_clone_to_owned()?));
        let reporter = Arc::new(Self { link, counts: Mutex::default(), changed: Condvar::new() });
        let thread = |name: &str| std::thread::Builder::new().name(name.into()).stack_size(STACK);
        let tells = Arc::clone(&reporter);
        thread("reporter").spawn(move || tells.tell_for_ever())?;
        if let Some(front) = front {
            let finds = Arc::clone(&reporter);
            thread("front").spawn(move || finds.find_fronts(&front, &orphan))?;
        }
        Ok(reporter)
    }

    fn link(&self) -> MutexGuard<'_, Arc<OwnedFd>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, report: Report) {
        let link = Arc::clone(&self.link());
        wire::report(&*link, report);
    }

    fn find_fronts(&self, path: &Path, orphan: &Orphan) {
        ringwarden::launch::leave_signals_to_others();
        loop {
            let link = Arc::clone(&self.link());
            // Nothing comes from there but the end.
            match poll(&mut [PollFd::new(&*link, PollFlags::empty())], None) {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) => std::thread::sleep(SECOND),
            }
            // Until somebody listens there.
            if let Ok(link) = wire::find_front(path, orphan) {
                *self.link() = Arc::new(link);
                self.tell();
            }
        }
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut counts.0);
        if !std::mem::replace(&mut counts.1, true) {
            self.changed.notify_one();
        }
    }

    /// Tells of what there is now.
    fn tell(&self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.1 = false;
        let now = counts.0;
        drop(counts);
        self.report(Report::Counts(now));
    }

    fn tell_for_ever(&self) {
        ringwarden::launch::leave_signals_to_others();
        loop {
            let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.changed.wait_while(counts, |counts| !counts.1).unwrap_or_else(PoisonError::into_inner));
            self.tell();
            std::thread::sleep(SECOND);
        }
    }
}
