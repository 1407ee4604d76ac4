//! Waiting for a program as its stand-in: signals go on to it, its status comes back.

use ringwarden_launch::wait::{self, State, Stop};
use ringwarden_launch::{StandIn, Status, stop_like};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Waits for the end of `program`, a child that nobody else waits for, and gives its status. Signals must be
/// held since before it was made.
///
/// # Errors
/// Descriptors cannot be made, or somebody else has waited for it.
pub(crate) fn wait_for(program: Pid) -> Result<Status, Errno> {
    // Not SIGCHLD: another thread might take it.
    let pidfd = pidfd_open(program, PidfdFlags::empty())?;
    let state = State::open(program).ok();
    let mut stand_in = StandIn::new(None)?;
    loop {
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN), stand_in.poll_fd()];
        match poll(&mut fds, stand_in.timeout()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let ended = !fds[0].revents().is_empty();
        let child_changed = stand_in.pass_on(pidfd.as_fd());
        if ended {
            // Whoever traces it may hold its status back.
            return wait::end(program);
        }
        if child_changed
            && let Ok(Some(Stop::Stopped(signal))) = wait::stop(program)
            && state.as_ref().is_none_or(State::is_stopped)
        {
            stop_like(signal);
        }
    }
}
