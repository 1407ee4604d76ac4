//! The threads that serve a listener's calls.

pub(crate) mod deadline;
pub(crate) mod overdue;
pub(crate) mod turns;

use crate::seccomp::{Listener, Notification};
use crate::serve::turns::{Turn, Turns};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who answers the calls of a listener.
pub(crate) trait Serve: Send + Sync + 'static {
    fn listener(&self) -> &Listener;
    fn turns(&self) -> &Turns;
    fn waiting(&self) -> &Waiting;
    /// Answers one call, of the thread `tid`.
    fn serve(&self, notification: &Notification, tid: Pid, turn: &Turn<'_>);
    /// Has the main thread look at [turns](Self::turns) at every tick from now on.
    fn call_main_thread(&self);
    /// Why nobody may be served any more.
    fn must_end(&self) -> Option<Errno>;
}

/// Where it is said why serving has ended; shared by all threads that serve.
type Outcome = Arc<OwnedFd>;

/// Serves on threads of their own. The descriptor gives an `i32` when that ends, 0 when nobody is left to
/// serve, or else the errno.
pub(crate) fn serve<S: Serve>(serves: &Arc<S>) -> Result<Server<S>, Errno> {
    let (out, in_) = pipe_with(PipeFlags::CLOEXEC)?;
    let server = Server { serves: Arc::clone(serves), outcome: Arc::new(in_), ended: Arc::new(out) };
    server.start_thread()?;
    Ok(server)
}

/// What serving threads are started with.
pub(crate) struct Server<S> {
    serves: Arc<S>,
    outcome: Outcome,
    ended: Arc<OwnedFd>,
}

impl<S> Clone for Server<S> {
    fn clone(&self) -> Self {
        let Self { serves, outcome, ended } = self;
        Self { serves: Arc::clone(serves), outcome: Arc::clone(outcome), ended: Arc::clone(ended) }
    }
}

impl<S> AsFd for Server<S> {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

impl<S: Serve> Server<S> {
    /// Whose turn it is.
    pub(crate) fn turns(&self) -> &Turns {
        self.serves.turns()
    }

    /// Starts another thread, if one more is of use.
    ///
    /// # Errors
    /// `EAGAIN` when no thread can be had.
    pub(crate) fn start_thread(&self) -> Result<(), Errno> {
        let Some((number, deadline)) = self.serves.turns().enlist() else { return Ok(()) };
        let server = self.clone();
        let spawned = std::thread::Builder::new().name("ringwarden".into()).spawn(move || {
            ringwarden_launch::leave_signals_to_others();
            let _told = TellPanic(&server);
            let start = || {
                // Without another thread this one goes on when it is done.
                let _ = server.start_thread();
            };
            let watch = || server.serves.call_main_thread();
            let turns = server.serves.turns();
            let turn = Turn { turns, number, deadline: &deadline, start: &start, watch: &watch };
            serve_in_turn(&*server.serves, &turn, |outcome| server.tell(outcome));
            turns.leave(number);
        });
        spawned.map(drop).map_err(|error| {
            self.serves.turns().leave(number);
            Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)
        })
    }

    fn tell(&self, outcome: Result<(), Errno>) {
        let errno = outcome.map_or_else(Errno::raw_os_error, |()| 0);
        self.serves.turns().end();
        let _ = rustix::io::write(&self.outcome, &errno.to_ne_bytes());
    }
}

/// A thread that panics has not answered somebody: the end.
struct TellPanic<'a, S: Serve>(&'a Server<S>);

impl<S: Serve> Drop for TellPanic<'_, S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.tell(Err(Errno::IO));
        }
    }
}

/// Notifications that have been received and are not served yet. A caller who waits for a notification to be
/// received can be interrupted by a signal, with an `EINTR` that it would not see natively; one whose
/// notification has been received cannot. So where several wait, all are received before one is served.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    received: Mutex<VecDeque<Notification>>,
    /// The thread that made the call which was served last.
    last: AtomicU32,
}

impl Waiting {
    fn received(&self) -> MutexGuard<'_, VecDeque<Notification>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next notification, for the thread whose turn it is.
    ///
    /// # Errors
    /// As for [`Listener::receive`].
    fn next(&self, listener: &Listener) -> Result<Notification, Errno> {
        let first = self.received().pop_front();
        let first = first.map_or_else(|| listener.receive(), Ok)?;
        // Asking whether there are more costs a fifth of receiving one, and is in vain where one thread
        // makes one call after the other.
        let crowded = self.last.swap(first.tid, Ordering::Relaxed) != first.tid;
        while crowded && listener.has_more() {
            match listener.receive() {
                Ok(more) => self.received().push_back(more),
                // A caller died meanwhile.
                Err(Errno::INTR | Errno::NOENT) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(first)
    }
}

/// Receives and serves whenever it is the thread's turn, until it is not needed any more. What makes the listener
/// useless is told to `end`; the guarded tasks must not go on then.
fn serve_in_turn(serves: &impl Serve, turn: &Turn<'_>, end: impl Fn(Result<(), Errno>)) {
    let Turn { turns, number, .. } = *turn;
    let listener = serves.listener();
    while turns.wait(number) {
        while turns.is_of(number) {
            match serves.waiting().next(listener) {
                Ok(notification) => match Pid::from_raw(notification.tid as i32) {
                    Some(tid) => {
                        turn.deadline.serving(notification.id, tid);
                        let slow = turn.slowly();
                        serves.serve(&notification, tid, turn);
                        drop(slow);
                        turn.deadline.done();
                    }
                    // A thread outside of the guard's pid namespace cannot be looked into.
                    None => listener.fail(notification.id, Errno::PERM),
                },
                // A caller died while its notification was being fetched; or, from Linux 6.11 on, no
                // caller is left. The main thread sees the difference (`POLLHUP`).
                Err(Errno::INTR) => {}
                Err(Errno::NOENT) if !listener.is_abandoned() => {}
                Err(Errno::NOENT) => return end(Ok(())),
                Err(error) => return end(Err(error)),
            }
            if let Some(error) = serves.must_end() {
                return end(Err(error));
            }
        }
    }
}
