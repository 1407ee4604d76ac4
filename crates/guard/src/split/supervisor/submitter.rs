//! The thread that submits: its ring waited for, its memory read, what is published for it told.

use super::Supervisor;
use crate::audit::Refused;
use crate::identity::Watch;
use crate::kernel_ring::wait_for_submissions;
use crate::observe;
use crate::program::credentials::as_its_user;
use crate::program::memory::Caller;
use crate::program::proc;
use crate::serve::deadline::Deadline;
use crate::split::arena::{Arena, Argument};
use crate::split::judge::Note;
use crate::split::queue::Outside;
use crate::split::taken::Taken;
use crate::split::threads::tasks::RingId;
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::Pid;
use std::sync::Arc;

/// How the guard gets at the ring of a call.
#[derive(Debug)]
pub(super) enum Reach {
    /// By the caller's descriptor.
    Descriptor(i32),
    /// By one of the guard's own.
    Held(Arc<Taken>),
}

/// A ring that can be waited for, on behalf of a thread that uses it.
pub(super) struct Waiter<'a> {
    pub(super) supervisor: &'a Supervisor,
    pub(super) tid: Pid,
    pub(super) ring: RingId,
    pub(super) reach: Reach,
}

impl Waiter<'_> {
    /// Returns when no submission that began before is in progress on the ring that `watch` knows.
    ///
    /// # Errors
    /// `EBADF`: the caller's descriptor is another file by now, so that its call would not reach the ring.
    pub(super) fn wait(&self, watch: &Watch) -> Result<(), Errno> {
        let fd = match &self.reach {
            Reach::Held(descriptor) if watch.is(descriptor.as_fd()) => {
                wait_for_submissions(descriptor.as_fd());
                return Ok(());
            }
            Reach::Held(_) => return Err(Errno::BADF),
            Reach::Descriptor(fd) => *fd,
        };
        let shared = &self.supervisor.shared;
        if let Some(lease) = shared.leases.get(self.ring) {
            wait_for_submissions(lease.as_fd());
            return Ok(());
        }
        let is_ring = |copy: &Taken| watch.is(copy.as_fd());
        let descriptors = self.supervisor.state().tasks.descriptors(self.tid)?;
        let copy = descriptors.take(fd).ok().filter(is_ring);
        let copy = copy.or_else(|| descriptors.take_of_thread(fd).ok().filter(is_ring)).ok_or(Errno::BADF)?;
        wait_for_submissions(copy.as_fd());
        if shared.leases.keep(self.ring, Arc::new(copy)) {
            shared.call_main_thread();
        }
        Ok(())
    }
}

/// The caller of one `io_uring_enter`.
pub(super) struct Submitter<'a> {
    pub(super) waiter: Waiter<'a>,
    /// The ring that it submits to.
    pub(super) watch: &'a Watch,
    pub(super) memory: Caller<'a>,
    /// The arena and the first of the ring's slots in it.
    pub(super) arguments: Option<(&'a Arena, u32)>,
    pub(super) refusals: Vec<Refused>,
    /// Of the call.
    pub(super) deadline: &'a Deadline,
}

impl Outside for Submitter<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        self.memory.read_bytes(address, buffer)
    }

    fn wait(&self) -> Result<(), Errno> {
        self.waiter.wait(self.watch)
    }

    fn may_be_submitting(&self, tid: Pid) -> bool {
        may_be_submitting(tid)
    }

    fn holds_argument(&self, slot: u32, argument: &Argument) -> bool {
        self.arguments.is_some_and(|(arena, first)| arena.holds(first + slot, argument))
    }

    fn store_argument(&self, slot: u32, argument: &Argument) {
        if let Some((arena, first)) = self.arguments {
            arena.store(first + slot, argument);
        }
    }

    fn published(&mut self, note: Note) {
        match note {
            Note::Refused(refused) => self.refusals.push(refused),
            Note::Allowed(sqe, context) => {
                let Waiter { supervisor, tid, ring: RingId(ring), .. } = self.waiter;
                if let Some(observer) = &supervisor.observer {
                    let by = observe::Submitter { tid: tid.as_raw_nonzero().get(), ring };
                    // Whoever keeps a record may have to wait for a disk.
                    let told = self.deadline.uncounted(|| observer.request_of(by, &sqe, &context));
                    supervisor.unless_recorded(told);
                }
            }
        }
    }
}

/// Whether the thread `tid` may be within `io_uring_enter`, on its way to the ring.
pub(super) fn may_be_submitting(tid: Pid) -> bool {
    match as_its_user(tid, || proc::text(tid, "syscall")) {
        // Not blocked: it may be anywhere.
        Ok(call) if call.starts_with("running") => true,
        Ok(call) => call.split(' ').next() == Some(&libc::SYS_io_uring_enter.to_string()),
        Err(error) => !matches!(error, Errno::NOENT | Errno::SRCH),
    }
}
