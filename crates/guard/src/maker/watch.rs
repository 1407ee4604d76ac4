//! What the main thread looks after while other threads serve: whose turn it is, calls that take too long, and the
//! end of serving.

use super::session::Session;
use crate::serve::{Serve, Server, serve};
use crate::start::child::read_i32;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked whether a call hangs.
const SECOND: Duration = Duration::from_secs(1);

/// How soon it is looked again for what could not be seen.
const TICK: Duration = Duration::from_millis(5);

/// A session that is being served, in the eyes of the main thread, which has to [poll](Self::poll_fds) and to
/// [look](Self::look).
pub(super) struct Watch {
    session: Arc<Session>,
    server: Server<Session>,
    hang_up: OwnedFd,
    second: Instant,
    tick_at: Option<Instant>,
}

impl Watch {
    /// Serves a session's calls from now on, on threads of their own.
    ///
    /// # Errors
    /// `EMFILE` and `EAGAIN` where there is no descriptor or thread.
    pub(super) fn begin(session: Arc<Session>) -> Result<Self, Errno> {
        let hang_up = rustix::io::fcntl_dupfd_cloexec(session.listener.as_fd(), 0)?;
        let server = serve(&session)?;
        Ok(Self { session, server, hang_up, second: Instant::now() + SECOND, tick_at: None })
    }

    /// What is polled for [`look`](Self::look).
    pub(super) fn poll_fds(&self) -> [PollFd<'_>; 3] {
        // Readable until a tick has come, so of no interest while one is due.
        let look_at_turns = if self.tick_at.is_none() { PollFlags::IN } else { PollFlags::empty() };
        [
            PollFd::new(&self.server, PollFlags::IN),
            // No task is left when the listener hangs up.
            PollFd::new(&self.hang_up, PollFlags::empty()),
            PollFd::from_borrowed_fd(self.session.untidy(), look_at_turns),
        ]
    }

    /// How long there is nothing to do; a tick at most where it `soon` has to be looked for something else.
    pub(super) fn timeout(&self, soon: bool) -> Timespec {
        let left = self.second.saturating_duration_since(Instant::now());
        let left = if soon || self.tick_at.is_some() { left.min(TICK) } else { left };
        Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
    }

    /// The same where there is nothing else to look for; `None` while no call is being served, of which the first is
    /// [told](Serve::call_main_thread).
    pub(super) fn timeout_if_any(&self) -> Option<Timespec> {
        let turns = self.session.turns();
        let resting = self.tick_at.is_none()
            && !turns.is_vacant()
            && !turns.deadlines().iter().any(|deadline| deadline.is_busy());
        (!resting).then(|| self.timeout(false))
    }

    /// Does what is due, after what was polled was `ready` or not. Whether no task is left.
    ///
    /// # Errors
    /// Why nobody is served any more.
    pub(super) fn look(&mut self, ready: [bool; 3]) -> Result<bool, Errno> {
        let [stopped_serving, nobody_left, untidy] = ready;
        if stopped_serving && !nobody_left {
            match read_i32(self.server.as_fd()) {
                // Nobody is left, as will be seen.
                Some(0) => {}
                // Without a number, a panic.
                failed => return Err(Errno::from_raw_os_error(failed.unwrap_or(libc::EIO))),
            }
        }
        match self.tick_at {
            Some(at) if Instant::now() >= at => {
                let (start, again) = self.server.turns().tick();
                if start {
                    // Otherwise the next second comes to it.
                    let _ = self.server.start_thread();
                }
                self.tick_at = again.then(|| Instant::now() + TICK);
            }
            None if untidy => {
                self.session.hear();
                self.tick_at = Some(Instant::now() + TICK);
            }
            _ => {}
        }
        if let Some(late) = Instant::now().checked_duration_since(self.second) {
            self.second = Instant::now() + SECOND;
            self.session.end_overdue(late)?;
            if self.session.turns().is_vacant() {
                self.server.start_thread()?;
            }
        }
        Ok(nobody_left)
    }
}
