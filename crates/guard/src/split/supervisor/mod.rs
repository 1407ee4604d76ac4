//! The guard's work: notifications, each answered in full by one thread.
//!
//! What the guard knows of the tree is behind one lock ([`Supervisor::state`]), a ring's queue and what a
//! program holds it to behind locks of the ring. Nothing is asked of a program's memory, and nothing is
//! done that can take as long as a program likes, while the first is held; whoever holds a ring's may hang,
//! and with him only those who use that ring.

mod clone;
mod enter;
mod exec;
mod map;
mod register;
mod setup;
mod submitter;

use crate::audit::{Refusal, Refused, SharedAudit};
use crate::identity::Watches;
use crate::kernel_ring::{KernelRing, RingRestrictions};
use crate::observe::Observe;
use crate::program::frozen::Freezers;
use crate::program::inject::{After, Injection};
use crate::program::memory::Caller;
use crate::seccomp::{Listener, Notification};
use crate::serve::overdue::end_overdue;
use crate::serve::turns::{Turn, Turns};
use crate::serve::{Serve, Waiting};
use crate::split::arena::Arena;
use crate::split::ring::SplitRing;
use crate::split::rules::Rules;
use crate::split::shared::Shared;
use crate::split::taken::{Closer, Taken};
use crate::split::threads::limits::TaskLimits;
use crate::split::threads::task_fd::TaskFd;
use crate::split::threads::tasks::{RingId, Tasks};
use crate::split::threads::unsettled::Unsettled;
use ringwarden_filter::Ring;
use ringwarden_launch::descriptors::is_ring;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

/// A split ring and what the guard keeps with it.
#[derive(Debug)]
struct Guarded {
    id: RingId,
    /// The process that asked for it.
    maker: Pid,
    ring: SplitRing,
    /// The first of its slots in the arena, if arguments are looked at and there were enough.
    arguments: OnceLock<Option<u32>>,
    /// What the program holds it to, and whether it has enabled it. Locked for as long as it takes to
    /// register something.
    own: Mutex<Ring>,
    /// The shadow, mapped along with the ring before the program asked for it.
    premapped: Mutex<Option<Premapped>>,
}

impl Guarded {
    fn own(&self) -> MutexGuard<'_, Ring> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn premapped(&self) -> MutexGuard<'_, Option<Premapped>> {
        self.premapped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first of its slots in the arena.
    fn arguments(&self) -> Option<u32> {
        self.arguments.get().copied().flatten()
    }
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

/// One call that waits for an answer, in the hands of a serving thread.
#[derive(Clone, Copy)]
struct Call<'a> {
    notification: &'a Notification,
    tid: Pid,
    turn: &'a Turn<'a>,
}

impl Call<'_> {
    fn id(&self) -> u64 {
        self.notification.id
    }

    fn args(&self) -> [u64; 6] {
        self.notification.args
    }
}

/// Everything that the guard knows and needs.
pub(crate) struct Supervisor {
    listener: Listener,
    kernel: KernelRing,
    rules: Rules,
    restrictions: RingRestrictions,
    max_rings: usize,
    /// Programs may have filters of their own, on a kernel that has none.
    own_filters: bool,
    /// Whether rings of one issuer can be waited for, once that matters.
    issuer_lock: OnceLock<bool>,
    watches: Watches,
    closer: Closer,
    freezers: Freezers,
    audit: SharedAudit,
    /// Who is told of what is allowed.
    observer: Option<Arc<dyn Observe>>,
    /// Why a refusal could not be recorded: the end.
    unrecorded: OnceLock<Errno>,
    shared: Shared,
    pub(crate) turns: Turns,
    waiting: Waiting,
    /// Threads that may be in a submission which began before there was an arena.
    unsettled: Unsettled,
    state: Mutex<State>,
}

/// What the guard knows of the tree.
struct State {
    rings: BTreeMap<RingId, Arc<Guarded>>,
    next_ring: u64,
    /// Look for closed rings when there are this many.
    sweep_at: usize,
    tasks: Tasks,
    limits: TaskLimits,
    /// Where arguments are kept, if rules or the program's own filters look at any.
    arena: Option<Arc<Arena>>,
}

/// What a [`Supervisor`] is made of.
pub(crate) struct Parts {
    pub(crate) listener: Listener,
    pub(crate) kernel: KernelRing,
    pub(crate) rules: Rules,
    pub(crate) max_rings: usize,
    pub(crate) own_filters: bool,
    pub(crate) audit: SharedAudit,
    pub(crate) observer: Option<Arc<dyn Observe>>,
    pub(crate) shared: Shared,
}

impl Serve for Supervisor {
    fn listener(&self) -> &Listener {
        &self.listener
    }

    fn turns(&self) -> &Turns {
        &self.turns
    }

    fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    fn serve(&self, notification: &Notification, tid: Pid, turn: &Turn<'_>) {
        self.dispatch(Call { notification, tid, turn });
    }

    fn call_main_thread(&self) {
        self.shared.call_main_thread();
    }

    fn must_end(&self) -> Option<Errno> {
        self.unrecorded.get().copied()
    }
}

impl Supervisor {
    pub(crate) fn new(parts: Parts) -> Result<Self, Errno> {
        let Parts { listener, kernel, rules, max_rings, own_filters, audit, observer, shared } = parts;
        let closer = Closer::start()?;
        let arena = rules.hold_arguments().then(Arena::new).transpose()?.map(Arc::new);
        let state = State {
            rings: BTreeMap::new(),
            next_ring: 0,
            sweep_at: 0,
            tasks: Tasks::new(closer.clone()),
            // Each thread that is limited takes a descriptor.
            limits: TaskLimits::new(rules.filters.model().kernel(), 2 * max_rings),
            arena,
        };
        Ok(Self {
            listener,
            restrictions: kernel.restrictions(|op| rules.confines(op)),
            kernel,
            rules,
            max_rings,
            own_filters,
            issuer_lock: OnceLock::new(),
            watches: Watches::new()?,
            closer,
            freezers: Freezers::find(),
            audit,
            observer,
            unrecorded: OnceLock::new(),
            shared,
            turns: Turns::default(),
            waiting: Waiting::default(),
            unsettled: Unsettled::default(),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch(&self, call: Call<'_>) {
        let submits = i64::from(call.notification.number) == libc::SYS_io_uring_enter;
        {
            let mut state = self.state();
            // Whatever it executed or submitted before is over.
            state.tasks.seen(call.tid);
            // Submissions are many, and need nothing of a program but arguments, see `has_arena`.
            if !submits && let Ok(process) = state.tasks.fd_of(call.tid) {
                self.note_caller(call, &process);
            }
        }
        self.unsettled.remove(|tid| tid == call.tid);
        let notification = call.notification;
        match i64::from(notification.number) {
            _ if notification.clones() => self.clone(call),
            libc::SYS_io_uring_enter if notification.is_native() => self.enter(call),
            libc::SYS_io_uring_setup if notification.is_native() => self.setup(call),
            libc::SYS_io_uring_register if notification.is_native() => self.register(call),
            libc::SYS_mmap if notification.is_native() => self.map(call),
            // The execs of all tables.
            _ => self.exec(call),
        }
    }

    /// Notes that `call` is of that process, which its thread was just found in: should the thread vanish
    /// while the call is dragged out, it is the process that pays.
    fn note_caller(&self, call: Call<'_>, process: &TaskFd) {
        if self.listener.is_valid(call.id()) {
            call.turn.deadline.is_of(call.id(), process.shared());
        }
    }

    /// Stops the thread that made `call`, after `prepare` has done what the notification is needed for,
    /// and has `work` make system calls in its place; what `work` gives is the result of the thread's
    /// own call. Others are served meanwhile.
    fn inject<P>(
        &self,
        call: Call<'_>,
        prepare: impl FnOnce() -> Result<P, Errno>,
        work: impl FnOnce(&mut Injection, P) -> Result<After, Errno>,
    ) {
        if self.is_over() {
            return;
        }
        call.turn.pass_on();
        let _reapers_wait = self.shared.traced.trace(call.tid, false);
        // Without an injection the call has been answered.
        let begun = Injection::begin(&self.listener, call.id(), call.tid, call.args()[0], prepare);
        let Ok((mut injection, prepared)) = begun else { return };
        let after = work(&mut injection, prepared);
        injection.go_on(after);
    }

    /// The memory of the thread that made `call`.
    fn memory_of(&self, call: Call<'_>) -> Caller<'_> {
        Caller { listener: &self.listener, id: call.id(), tid: call.tid }
    }

    /// Whether a refusal could not be recorded. The guard ends then, and with it everybody who waits for
    /// an answer: nobody hears of a refusal that is not on record, nor ends by itself before.
    fn is_over(&self) -> bool {
        self.unrecorded.get().is_some()
    }

    fn proceed(&self, call: Call<'_>) {
        if !self.is_over() {
            self.listener.proceed(call.id());
        }
    }

    fn fail(&self, call: Call<'_>, error: Errno) {
        self.answer(call, Err(error));
    }

    /// Answers a call at the end of its handling.
    fn answer(&self, call: Call<'_>, result: Result<i64, Errno>) {
        match result {
            _ if self.is_over() => {}
            Ok(value) => self.listener.answer(call.id(), value),
            Err(error) => self.listener.fail(call.id(), error),
        }
    }

    /// The ring that `fd` of the caller is, for certain at this moment, with a copy of the descriptor.
    ///
    /// # Errors
    /// `EBADF` for no descriptor, `EOPNOTSUPP` for one that is no ring (both as from
    /// `io_uring_enter(2)`), `EACCES` for a ring that the guard did not make.
    fn take_ring(&self, call: Call<'_>, fd: i32) -> Result<(Arc<Guarded>, Taken), Errno> {
        let taken = self.find_ring(call.tid, fd);
        if taken.as_ref().is_err_and(|&error| error == Errno::ACCESS) {
            self.refused(call, Refused::ForeignRing { fd });
        }
        taken
    }

    fn find_ring(&self, tid: Pid, fd: i32) -> Result<(Arc<Guarded>, Taken), Errno> {
        let descriptors = self.state().tasks.descriptors(tid)?;
        // After what is believed the newest: descriptors are passed on soon after a ring is made.
        let ring_behind = |fd_of_ours: BorrowedFd<'_>| {
            let mut state = self.state();
            let believed = state.believed(tid, fd).cloned();
            let is_it = |guarded: &&Arc<Guarded>| guarded.ring.watch().is(fd_of_ours);
            believed.iter().chain(state.rings.values().rev()).find(is_it).cloned()
        };
        let mut copy = descriptors.take(fd);
        let mut found = copy.as_ref().ok().and_then(|copy| ring_behind(copy.as_fd()));
        if found.is_none() {
            // The thread may have a descriptor table of its own.
            let own = descriptors.take_of_thread(fd);
            found = own.as_ref().ok().and_then(|copy| ring_behind(copy.as_fd()));
            copy = own.or(copy);
        }
        let copy = copy?;
        let Some(guarded) = found else {
            return Err(if is_ring(copy.as_fd()) { Errno::ACCESS } else { Errno::OPNOTSUPP });
        };
        if let Ok((_, process)) = self.state().tasks.process_of(tid) {
            process.rings.insert(fd, guarded.id);
        }
        Ok((guarded, copy))
    }

    /// The same without the descriptor.
    fn identify(&self, call: Call<'_>, fd: i32) -> Result<Arc<Guarded>, Errno> {
        self.take_ring(call, fd).map(|(guarded, _)| guarded)
    }

    fn refused(&self, call: Call<'_>, request: Refused) {
        let tid = call.tid;
        let pid = self.state().tasks.process_of(tid).map_or(tid, |(tgid, _)| tgid);
        let permitted = self.rules.permissive && request.is_by_rules();
        let refusal = Refusal { permitted, ..Refusal::now(pid, tid, request) };
        let told = call.turn.deadline.uncounted(|| self.audit.tell(&refusal));
        self.unless_recorded(told);
    }

    /// Has the main thread end it all where something could not be recorded.
    fn unless_recorded(&self, told: std::io::Result<()>) {
        if let Err(error) = told {
            let _ = self.unrecorded.set(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
    }

    /// See [`end_overdue`].
    ///
    /// # Errors
    /// `ETIMEDOUT`: somebody holds what all calls need, and does not let go.
    pub(crate) fn end_overdue(&self, late: Duration) -> Result<(), Errno> {
        const LOOK: Duration = Duration::from_millis(1);
        let is_held_up = || {
            (0..100).all(|_| {
                let held = matches!(self.state.try_lock(), Err(TryLockError::WouldBlock));
                if held {
                    std::thread::sleep(LOOK);
                }
                held
            })
        };
        end_overdue(self, &self.freezers, late, is_held_up, |killed| self.audit.tell_of(killed))
    }

    /// Forgets what is gone, once a second.
    pub(crate) fn sweep(&self) {
        self.shared.registered.sweep();
        let gone = {
            let mut state = self.state();
            state.limits.sweep();
            state.sweep()
        };
        drop(gone);
    }
}

impl State {
    /// The ring that `fd` of `tid` is believed to be. For submissions a wrong belief is harmless (see
    /// `slots`); whatever else is done with a ring has to be sure of it.
    fn believed(&mut self, tid: Pid, fd: i32) -> Option<&Arc<Guarded>> {
        let (_, process) = self.tasks.process_of(tid).ok()?;
        let id = *process.rings.get(&fd)?;
        self.rings.get(&id)
    }

    /// The slots of the arena that rings of that process have.
    fn slots_of(&self, process: Pid) -> u32 {
        let rings = self.rings.values().filter(|guarded| guarded.maker == process);
        rings.filter(|guarded| guarded.arguments().is_some()).map(|guarded| guarded.ring.slot_count()).sum()
    }

    /// Forgets rings that are closed everywhere, and gives them to be dropped.
    #[must_use]
    fn sweep(&mut self) -> Vec<Arc<Guarded>> {
        let (alive, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.rings)
            .into_iter()
            .partition(|(_, guarded)| guarded.ring.watch().is_alive());
        self.rings = alive;
        for guarded in gone.values() {
            if let (Some(arena), Some(first)) = (&self.arena, guarded.arguments()) {
                arena.release(first, guarded.ring.slot_count());
            }
        }
        if !gone.is_empty() {
            let rings = &self.rings;
            self.tasks.forget_rings(|id| !rings.contains_key(&id));
        }
        self.sweep_at = (2 * self.rings.len()).max(8);
        gone.into_values().collect()
    }
}
