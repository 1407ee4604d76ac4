//! The front: takes listeners from runtimes and starts a worker for each. It looks into no container and reads no
//! policy.

use super::container::{Container, say};
use super::message::{self, Came, Handed, Unusable};
use super::metrics::{Metrics, Session};
use super::wire::{self, Assignment, Most, Orphan, Report};
use crate::cgroups::Membership;
use ringwarden::guard::{RingCount, refuse_all};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::Pid;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// So many connections may be about to say something at a time.
const MOST_WAITING: usize = 256;
/// Of a thread that waits for a worker to end: it reads packets into its stack.
const STACK: usize = 256 << 10;
/// How long the front waits where it has run out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// What every container is served by.
pub(super) struct Front {
    policies: PathBuf,
    ceiling: Option<String>,
    most: Option<Most>,
    pub(super) audit: Option<File>,
    pub(super) metrics: Arc<Metrics>,
    /// Where this listens, and the next front will.
    address: Option<PathBuf>,
    waiting: AtomicUsize,
    /// By a container's id: its rings, which the workers of all its listeners count together.
    counts: Mutex<HashMap<String, Weak<RingCount>>>,
}

impl Front {
    pub(super) fn new(
        policies: PathBuf,
        ceiling: Option<String>,
        most: Option<Most>,
        audit: Option<File>,
        address: Option<PathBuf>,
    ) -> Self {
        let (metrics, waiting) = (Arc::new(Metrics::new()), AtomicUsize::new(0));
        Self { policies, ceiling, most, audit, metrics, address, waiting, counts: Mutex::default() }
    }

    /// Accepts connections, until that fails for good.
    pub(super) fn accept(self: &Arc<Self>, listener: &UnixListener) -> io::Error {
        loop {
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) => match Errno::from_io_error(&error) {
                    // Others may be done soon.
                    Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                        say(format_args!("cannot accept: {error}"));
                        std::thread::sleep(PAUSE);
                    }
                    Some(Errno::INTR | Errno::CONNABORTED) => {}
                    _ => return error,
                },
            }
        }
    }

    /// Has a thread attend to a connection, if a runtime may be at its other end.
    fn admit(self: &Arc<Self>, stream: UnixStream) {
        match socket_peercred(&stream) {
            Ok(peer) if peer.uid.is_root() => {}
            Ok(peer) => {
                let (uid, pid) = (peer.uid.as_raw(), peer.pid.as_raw_nonzero());
                return self
                    .turn_away(format_args!("process {pid} of user {uid} connected, who is not root"));
            }
            Err(error) => return self.turn_away(format_args!("a connection of nobody known: {error}")),
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return self.turn_away(format_args!("{MOST_WAITING} connections have said nothing yet"));
        }
        let front = Arc::clone(self);
        let thread = std::thread::Builder::new().name("container".into()).stack_size(STACK);
        if let Err(error) = thread.spawn(move || front.attend(stream)) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.turn_away(format_args!("no thread can be had: {error}"));
        }
    }

    fn turn_away(&self, why: impl std::fmt::Display) {
        self.metrics.refuse_message();
        say(format_args!("a connection was refused: {why}"));
    }

    /// From a runtime's message to the end of the worker.
    fn attend(&self, stream: UnixStream) {
        let handed = message::receive(&stream);
        drop(stream);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let Handed { listener, process, metadata, state } = match handed {
            Ok(Came::Listener(handed)) => handed,
            Ok(Came::Worker(Orphan { container, membership }, reports)) => {
                return hear(&self.metrics.resume(&container, membership), &reports);
            }
            Err(error @ Unusable::HungUp) => {
                self.metrics.refuse_message();
                return say(error);
            }
            Err(error) => return self.turn_away(error),
        };
        let container = Container::new(&state, &metadata);
        let count = self.count_of(&container.id);
        let started = count.and_then(|count| {
            let assignment = Assignment {
                container: container.clone(),
                process: Pid::as_raw(process),
                policies: self.policies.clone(),
                ceiling: self.ceiling.clone(),
                most: self.most,
                front: self.address.clone(),
                audit: self.audit.is_some(),
            };
            self.start(&assignment, &listener, count.as_deref()).map(|worker| (worker, count))
        });
        let ((worker, reports), count) = match started {
            Ok(started) => started,
            Err(error) => {
                container.say(format_args!("gets no ring: its worker cannot be started: {error}"));
                // Whether it could have a listener of its own instead nobody has found out.
                let _ = refuse_all(listener);
                return;
            }
        };
        // Were it still open here, calls would wait for ever when the worker dies.
        drop(listener);
        let session = self.metrics.begin(&container, process.map(Membership::of).unwrap_or_default());
        follow(&container, &session, worker, &reports);
        drop(count);
        self.counts().retain(|_, count| count.strong_count() > 0);
    }

    /// Starts a worker, which gets the listener.
    fn start(
        &self,
        assignment: &Assignment,
        listener: &OwnedFd,
        count: Option<&RingCount>,
    ) -> io::Result<(Child, OwnedFd)> {
        let (ours, theirs) = wire::pair()?;
        let audit = self.audit.as_ref().map(File::try_clone).transpose()?;
        // What is sent waits there for it.
        wire::assign(&ours, assignment, listener.as_fd(), count)?;
        let worker = Command::new("/proc/self/exe")
            // Its name is for people who list processes.
            .args(["agent-worker", "--", &assignment.container.id])
            .stdin(theirs)
            .stdout(audit.map_or_else(Stdio::null, Stdio::from))
            .spawn()?;
        Ok((worker, ours))
    }

    /// The count of a container's rings, if there are limits.
    fn count_of(&self, id: &str) -> io::Result<Option<Arc<RingCount>>> {
        if self.most.is_none() {
            return Ok(None);
        }
        let mut counts = self.counts();
        if let Some(count) = counts.get(id).and_then(Weak::upgrade) {
            return Ok(Some(count));
        }
        let count = Arc::new(RingCount::new()?);
        counts.insert(id.to_owned(), Arc::downgrade(&count));
        Ok(Some(count))
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<RingCount>>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears a worker's reports until they end with it.
fn hear(session: &Session<'_>, reports: &OwnedFd) {
    while let Ok(Some(report)) = wire::next_report(reports) {
        match report {
            Report::Serves => session.serves(),
            Report::Counts(counts) => session.counts(counts),
        }
    }
}

/// Hears them, and what it has come to.
fn follow(container: &Container, session: &Session<'_>, mut worker: Child, reports: &OwnedFd) {
    hear(session, reports);
    match worker.wait() {
        Ok(status) if status.code().is_none() => {
            container.say(format_args!("gets no more rings: its worker has ended by {status}"));
        }
        Ok(_) => {}
        Err(error) => container.say(format_args!("what became of its worker is not known: {error}")),
    }
}
