//! The guard's loop: one notification after the other, each answered in full before the next.

mod clone;
mod enter;
mod exec;
mod map;
mod register;
mod setup;

pub(crate) use enter::reads_pointers;

use crate::arena::Arena;
use crate::audit::{Audit, Refusal, Refused};
use crate::inherited::is_ring;
use crate::inject::Injection;
use crate::kernel_ring::{Confinement, KernelRing};
use crate::limits::TaskLimits;
use crate::memory::Caller;
use crate::observe::Observe;
use crate::rules::Rules;
use crate::seccomp::{Listener, Notification};
use crate::shared::Shared;
use crate::split_ring::SplitRing;
use crate::taken::{Closer, Taken};
use crate::tasks::{RingId, Tasks};
use ringwarden_filter::Ring;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

/// A split ring and what the guard keeps with it.
#[derive(Debug)]
struct Guarded {
    ring: SplitRing,
    /// The first of its slots in the arena, if rules look at arguments and there were enough.
    arguments: Option<u32>,
    /// What the program holds it to, and whether it has enabled it.
    own: Ring,
    /// The shadow, mapped along with the ring before the program asked for it.
    premapped: Option<Premapped>,
}

/// A mapping that a process has without knowing yet.
#[derive(Clone, Copy, Debug)]
struct Premapped {
    tgid: Pid,
    address: i64,
    /// The arguments of the `mmap` call that it came with, and that the next must have, too.
    protection: u64,
    flags: u64,
}

/// How a thread goes on after an injection.
enum After {
    /// Its own call returns this.
    Return(i64),
    /// It makes its own call once more.
    Again,
    /// The same with another second argument.
    AgainWith(u64),
}

/// Everything the guard knows of the tree that it guards.
pub(crate) struct Supervisor {
    listener: Listener,
    kernel: KernelRing,
    rules: Rules,
    confinement: Confinement,
    rings: BTreeMap<RingId, Guarded>,
    next_ring: u64,
    /// Look for closed rings when there are this many.
    sweep_at: usize,
    max_rings: usize,
    tasks: Tasks,
    limits: TaskLimits,
    /// Where arguments are kept, if rules or the program's own filters look at any.
    arena: Option<Arena>,
    /// Threads that may be in a submission which began before there was an arena.
    unsettled: HashSet<Pid>,
    /// Notifications that came while the guard waited for another.
    waiting: VecDeque<Notification>,
    audit: Box<dyn Audit>,
    /// Who is told of what is allowed.
    pub(crate) observer: Option<Arc<dyn Observe>>,
    /// Why a refusal could not be recorded: the end.
    unrecorded: Option<Errno>,
    shared: Shared,
}

impl Supervisor {
    pub(crate) fn new(
        listener: Listener,
        kernel: KernelRing,
        rules: Rules,
        max_rings: usize,
        max_tasks: usize,
        audit: Box<dyn Audit>,
        shared: Shared,
    ) -> Result<Self, Errno> {
        let confinement = kernel.confinement(|op| rules.confines(op));
        let arena = rules.weigh_arguments().then(Arena::new).transpose()?;
        let limits = TaskLimits::new(rules.filters.model(), max_tasks);
        Ok(Self {
            listener,
            kernel,
            rules,
            limits,
            unsettled: HashSet::new(),
            waiting: VecDeque::new(),
            confinement,
            rings: BTreeMap::new(),
            next_ring: 0,
            sweep_at: 0,
            max_rings,
            tasks: Tasks::new(Closer::start()?),
            arena,
            audit,
            observer: None,
            unrecorded: None,
            shared,
        })
    }

    /// Serves notifications until no guarded task is left.
    ///
    /// # Errors
    /// What makes the listener useless; the guarded tasks must not go on then.
    pub(crate) fn serve(&mut self) -> Result<(), Errno> {
        loop {
            let next = self.waiting.pop_front().map_or_else(|| self.listener.receive(), Ok);
            match next {
                Ok(call) => match Pid::from_raw(call.tid as i32) {
                    Some(tid) => {
                        self.shared.deadline.serving(call.id, tid);
                        self.dispatch(&call, tid);
                        self.shared.deadline.done();
                        if let Some(error) = self.unrecorded {
                            return Err(error);
                        }
                    }
                    // A thread outside of the guard's pid namespace cannot be looked into.
                    None => self.listener.fail(call.id, Errno::PERM),
                },
                // A caller died while its notification was being fetched; or, from Linux 6.11 on, no
                // caller is left. The main thread sees the difference (`POLLHUP`).
                Err(Errno::INTR) => {}
                Err(Errno::NOENT) if !self.is_abandoned() => {}
                Err(Errno::NOENT) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn is_abandoned(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::empty())];
        let _ = poll(&mut fds, Some(&Timespec::default()));
        fds[0].revents().contains(PollFlags::HUP)
    }

    fn dispatch(&mut self, call: &Notification, tid: Pid) {
        // Whatever it executed or submitted before is over.
        self.tasks.seen(tid);
        if !self.unsettled.is_empty() {
            self.unsettled.remove(&tid);
        }
        match i64::from(call.number) {
            _ if call.clones() => self.clone(call, tid),
            libc::SYS_io_uring_enter if call.is_native() => self.enter(call, tid),
            libc::SYS_io_uring_setup if call.is_native() => self.setup(call, tid),
            libc::SYS_io_uring_register if call.is_native() => self.register(call, tid),
            libc::SYS_mmap if call.is_native() => self.map(call, tid),
            // The execs of all tables.
            _ => self.exec(call, tid),
        }
    }

    /// Stops the thread that made `call`, after `prepare` has done what the notification is needed for,
    /// and has `work` make system calls in its place; what `work` gives is the result of the thread's
    /// own call.
    fn inject<P>(
        &self,
        call: &Notification,
        tid: Pid,
        prepare: impl FnOnce() -> Result<P, Errno>,
        work: impl FnOnce(&mut Injection, P) -> Result<After, Errno>,
    ) {
        let _reapers_wait = self.shared.children();
        // Without an injection the call has been answered.
        let Ok((mut injection, prepared)) = Injection::begin(&self.listener, call.id, tid, prepare) else {
            return;
        };
        match work(&mut injection, prepared) {
            Ok(After::Return(value)) => injection.finish(value),
            Ok(After::Again) => injection.finish_again(),
            Ok(After::AgainWith(second)) => injection.finish_again_with(second),
            Err(error) => injection.finish(-i64::from(error.raw_os_error())),
        }
    }

    /// The memory of the thread that made `call`.
    fn memory_of<'a>(&'a self, call: &Notification, tid: Pid) -> Caller<'a> {
        Caller { listener: &self.listener, id: call.id, tid }
    }

    /// Answers a call at the end of its handling.
    fn answer(&self, call: &Notification, result: Result<i64, Errno>) {
        match result {
            Ok(value) => self.listener.answer(call.id, value),
            Err(error) => self.listener.fail(call.id, error),
        }
    }

    /// The ring that `fd` of `tid` is believed to be. A wrong belief is harmless, see `slots`.
    fn believed(&mut self, tid: Pid, fd: i32) -> Option<RingId> {
        let (_, process) = self.tasks.process_of(tid).ok()?;
        let id = *process.rings.get(&fd)?;
        self.rings.contains_key(&id).then_some(id)
    }

    /// The ring that `fd` of `tid` is, for certain at this moment.
    ///
    /// # Errors
    /// `EBADF` for no descriptor, `EOPNOTSUPP` for one that is no ring (both as from
    /// `io_uring_enter(2)`), `EACCES` for a ring that the guard did not make.
    fn identify(&mut self, tid: Pid, fd: i32) -> Result<RingId, Errno> {
        self.take_ring(tid, fd).map(|(id, _)| id)
    }

    /// The same, with a copy of the descriptor.
    fn take_ring(&mut self, tid: Pid, fd: i32) -> Result<(RingId, OwnedFd), Errno> {
        let mut copy = self.tasks.descriptor(tid, fd);
        let mut found = copy.as_ref().ok().and_then(|copy| self.ring_behind(copy.as_fd()));
        if found.is_none() {
            // The thread may have a descriptor table of its own.
            let own = self.tasks.descriptor_of_thread(tid, fd);
            found = own.as_ref().ok().and_then(|copy| self.ring_behind(copy.as_fd()));
            copy = own.or(copy);
        }
        let copy: Taken = copy?;
        let Some(id) = found else {
            if !is_ring(copy.as_fd()) {
                return Err(Errno::OPNOTSUPP);
            }
            self.refused(tid, Refused::ForeignRing { fd });
            return Err(Errno::ACCESS);
        };
        let (_, process) = self.tasks.process_of(tid)?;
        process.rings.insert(fd, id);
        Ok((id, copy.into_ring()))
    }

    fn ring_behind(&self, fd: BorrowedFd<'_>) -> Option<RingId> {
        // The newest first: descriptors are passed on soon after a ring is made.
        self.rings.iter().rev().find(|(_, guarded)| guarded.ring.watch().is(fd)).map(|(&id, _)| id)
    }

    /// Forgets rings that are closed everywhere.
    fn sweep(&mut self) {
        let arena = &mut self.arena;
        self.rings.retain(|_, guarded| {
            let alive = guarded.ring.watch().is_alive();
            if let (false, Some(arena), Some(first)) = (alive, arena.as_mut(), guarded.arguments) {
                arena.release(first, guarded.ring.slot_count());
            }
            alive
        });
        let rings = &self.rings;
        self.tasks.forget_rings(|id| !rings.contains_key(&id));
        self.sweep_at = (2 * self.rings.len()).max(8);
    }

    fn refused(&mut self, tid: Pid, request: Refused) {
        let pid = self.tasks.process_of(tid).map_or(tid, |(tgid, _)| tgid);
        let program = std::fs::read_to_string(format!("/proc/{}/comm", tid.as_raw_nonzero()))
            .map(|name| name.trim_end().to_owned())
            .unwrap_or_default();
        let refusal = Refusal {
            time: SystemTime::now(),
            pid: pid.as_raw_nonzero().get(),
            tid: tid.as_raw_nonzero().get(),
            program,
            request,
        };
        let audit = &mut self.audit;
        if let Err(error) = self.shared.deadline.uncounted(|| audit.refused(&refusal)) {
            self.unrecorded = Some(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
    }
}
