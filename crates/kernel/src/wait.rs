//! Waiting for a program as its stand-in: signals go on to it, its status comes back.

use ringwarden_launch::wait::{self, State, Stop};
use ringwarden_launch::{Bond, StandIn, Status};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Waits for the end of `program`, a child that nobody else waits for, and gives its status. Signals must be
/// held since before it was made.
///
/// With a bond it waits for all its descendants, too, unless a signal comes that would have ended the program; `None`
/// when the companion has ended, and they with it.
///
/// # Errors
/// Descriptors cannot be made, or somebody else has waited for it.
pub(crate) fn wait_for(program: Pid, bond: Option<&Bond>) -> Result<Option<Status>, Errno> {
    // Not SIGCHLD: another thread might take it.
    let pidfd = pidfd_open(program, PidfdFlags::empty())?;
    let state = State::open(program).ok();
    let mut stand_in = StandIn::new(None)?;
    let mut status = None;
    loop {
        let signals = stand_in.poll_fd();
        let companion = bond.map_or_else(|| signals.clone(), Bond::poll_fd);
        // Once its status was collected, the pidfd hangs up for good (`pidfd_poll`), whatever is asked for.
        let main = if status.is_none() { PollFd::new(&pidfd, PollFlags::IN) } else { signals.clone() };
        let mut fds = [main, signals, companion];
        match poll(&mut fds, stand_in.timeout()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let [ended, _, parted] = [0, 1, 2].map(|index: usize| !fds[index].revents().is_empty());
        if let (Some(bond), true) = (bond, parted) {
            bond.kill_the_others();
            return Ok(None);
        }
        if let Some(status) = status {
            if stand_in.cuts_short() {
                return Ok(Some(status));
            }
        } else {
            let child_changed = stand_in.pass_on(pidfd.as_fd());
            if ended {
                // Whoever traces it may hold its status back.
                status = Some(wait::end(program)?);
            } else if child_changed
                && let Ok(Some(Stop::Stopped(signal))) = wait::stop(program)
                && state.as_ref().is_none_or(State::is_stopped)
            {
                stand_in.stop_like(signal, state.as_ref(), None);
            }
        }
        if let Some(bond) = bond {
            // Nobody here traces.
            bond.reap(program, |_| true);
        }
        if let Some(status) = status
            && bond.is_none_or(Bond::nobody_else_is_left)
        {
            return Ok(Some(status));
        }
    }
}
