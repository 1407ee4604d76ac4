//! Serving somebody else's listener: that of a container, whose runtime hands it over.

use super::groups::ControlGroups;
use super::ledger::{Ledger, Limits, RingCount};
use super::run::Maker;
use super::session::{Held, Session};
use super::watch::Watch;
use crate::error::Error;
use crate::kernel_ring::KernelRing;
use crate::preconditions::{check_proc, check_yama};
use crate::program::profile::{Distrust, Profile};
use crate::rlimits::raise_open_files;
use crate::seccomp::Listener;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::ring::SetupFlags;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::sync::Arc;

impl Maker {
    /// Holds the rings that a program has at a time to limits. More are refused (`ENOMEM`), and so is a ring that is
    /// to be made larger.
    #[must_use]
    pub fn with_limits(mut self, most: Limits, count: RingCount) -> Self {
        self.ledger = Some(Ledger::new(most, count));
        self
    }

    /// Has those control groups pay for the rings of a [listener's](Self::serve) tasks. Where rings cannot be made in
    /// them, such as where they are gone, none are made (`ENOMEM`).
    #[must_use]
    pub fn paid_by(mut self, groups: ControlGroups) -> Self {
        self.groups = groups;
        self
    }

    /// Whether a listener can be [served](Self::serve) whose tasks are under that profile.
    ///
    /// # Errors
    /// Why the policy would not be held.
    pub fn check(&self, profile: &Profile) -> Result<(), Distrust> {
        // Until Linux 6.13 nobody without a ring can send messages.
        let kernel = KernelRing::probe().map(|kernel| kernel.registers);
        let send = RegisterOp::REGISTER_SEND_MSG_RING;
        let cannot_send = kernel.is_ok_and(|registers| u32::from(registers) <= send.0);
        profile.check(self.messages || cannot_send)
    }

    /// Answers the calls that stop at `listener` until no task is left under its filter. Nobody is started, and where
    /// the calling process ends, everybody goes on without getting any more rings (`ENOSYS`).
    ///
    /// What stops there is somebody else's decision: the `profile` of those tasks. What it does not stop and would have
    /// to is not offered to programs: rings that they enable themselves, and submission threads. Where it is not known
    /// it is taken to stop the making of rings alone. Whether it can be relied on otherwise says [`check`](Self::check).
    ///
    /// The calling process must have the right to look into those tasks, which takes CAP_SYS_PTRACE unless they are its
    /// user's. It becomes undumpable, and is under the filters, if there are any, from then on; so it should
    /// have a single thread, or others that have nothing to do with rings.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Yama`], [`Error::NoIoUring`], [`Error::Confine`] and [`Error::Start`] before any call was
    /// answered; [`Error::Died`] afterwards.
    pub fn serve(self, listener: OwnedFd, profile: Option<&Profile>) -> Result<(), Error> {
        let error = |error: Errno| Error::Start(error.into());
        check_proc()?;
        check_yama()?;
        let Self { operations, mut calls, filters, audit, ledger, groups, .. } = self;
        if ledger.is_some() {
            // It would count for what it was.
            calls.register.set(RegisterOp::REGISTER_RESIZE_RINGS, false);
        }
        let mut held = Held::new(operations, calls, KernelRing::probe().map_err(Error::NoIoUring)?);
        let unheld = profile.map(|profile| profile.unheld(held.calls.register, held.kernel.registers));
        held.may_wait = unheld.as_ref().is_some_and(Vec::is_empty);
        // Rings that programs enable themselves have no DEFER_TASKRUN, without which they cannot be resized.
        let resize = [RegisterOp::REGISTER_RESIZE_RINGS];
        if unheld.is_none_or(|unheld| unheld.iter().any(|op| !resize.contains(op))) {
            held.unavailable |= SetupFlags::R_DISABLED;
        }
        if !profile.is_some_and(Profile::stops_waking) {
            held.unavailable |= SetupFlags::SQPOLL;
        }
        // From here on what this process makes is filtered.
        filters.map_or(Ok(()), |filters| filters.apply())?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(error)?;
        // Rings need descriptors for a moment, and calls that hang.
        raise_open_files();
        let session = Session::new(Listener::new(listener), held, audit.clone()).map_err(error)?;
        let session = session.with_ledger(ledger).paid_by(groups);
        let mut watch = Watch::begin(Arc::new(session)).map_err(error)?;
        let died = |error: Errno| Error::Died(error.into());
        loop {
            let mut fds = watch.poll_fds();
            match poll(&mut fds, watch.timeout_if_any().as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(died(error)),
            }
            let ready = fds.map(|fd| !fd.revents().is_empty());
            if watch.look(ready).map_err(died)? {
                audit.end();
                return Ok(());
            }
        }
    }
}

/// Whether no task is left under a listener's filter, and none will be.
pub fn is_abandoned(listener: impl AsFd) -> bool {
    crate::seccomp::is_abandoned(listener.as_fd())
}

/// Refuses every call that stops at a listener (`ENOSYS`) until no task is left under its filter: for those that could
/// have a listener of their own if this one were closed.
///
/// # Errors
/// The listener cannot be used.
pub fn refuse_all(listener: OwnedFd) -> Result<(), Errno> {
    let listener = Listener::new(listener);
    loop {
        // On kernels before 6.11 whoever waits in the call itself does not hear of the end.
        match poll(&mut [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        if listener.is_abandoned() {
            return Ok(());
        }
        if !listener.has_more() {
            continue;
        }
        match listener.receive() {
            Ok(notification) => listener.fail(notification.id, Errno::NOSYS),
            // The caller died meanwhile.
            Err(Errno::INTR | Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
}
