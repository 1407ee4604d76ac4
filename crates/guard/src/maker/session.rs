//! One tree of programs, whose calls are served each on a thread that may hang.

use super::caller::Callers;
use super::enabling::Enabling;
use super::groups::ControlGroups;
use super::ledger::Ledger;
use crate::audit::{Refusal, Refused, SharedAudit};
use crate::kernel_ring::KernelRing;
use crate::program::credentials::{TaskStatus, as_its_user};
use crate::program::frozen::Freezers;
use crate::program::inject::{After, Injection};
use crate::program::memory::Caller;
use crate::program::proc::PIDFD_THREAD;
use crate::program::traced::TracedThreads;
use crate::seccomp::{Listener, Notification, listener_of};
use crate::serve::overdue::end_overdue;
use crate::serve::turns::{Turn, Turns};
use crate::serve::{Serve, Waiting};
use ringwarden_filter::{CallRules, OperationRules};
use ringwarden_launch::descriptors::is_ring;
use ringwarden_uapi::restriction::Restriction;
use ringwarden_uapi::ring::SetupFlags;
use ringwarden_uapi::{Opcode, RegisterOp};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// What rings are held to, and how the kernel is told.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) operations: OperationRules,
    pub(super) calls: CallRules,
    pub(super) kernel: KernelRing,
    /// Threads can be made to make calls.
    pub(super) may_trace: bool,
    /// A ring may be in a program's hands before it is enabled.
    pub(super) may_wait: bool,
    /// Flags of rings that cannot be had: the calls do not stop here which would have to.
    pub(super) unavailable: SetupFlags,
    /// The rules as the kernel takes them.
    pub(super) list: Vec<Restriction>,
}

impl Held {
    pub(super) fn new(operations: OperationRules, mut calls: CallRules, kernel: KernelRing) -> Self {
        // A ring that may not have a size must not get it later.
        if calls.setup.limits_sizes() {
            calls.register.set(RegisterOp::REGISTER_RESIZE_RINGS, false);
        }
        let may_trace = crate::program::inject::is_allowed();
        let list = operations.entries(&calls.register, kernel.opcodes, kernel.registers);
        Self { operations, calls, kernel, may_trace, may_wait: true, unavailable: SetupFlags::empty(), list }
    }

    /// Whether requests for that operation are refused whatever they ask for.
    pub(super) fn refuses(&self, operation: Opcode) -> bool {
        !self.operations.allow(operation)
    }
}

/// A listener's programs.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) listener: Listener,
    pub(super) held: Held,
    pub(super) ledger: Option<Ledger>,
    pub(super) groups: ControlGroups,
    audit: SharedAudit,
    /// Why a refusal could not be recorded, as a number; 0 while all could.
    unrecorded: AtomicI32,
    pub(super) enabling: Enabling,
    pub(super) traced: TracedThreads,
    callers: Callers,
    freezers: Freezers,
    turns: Turns,
    waiting: Waiting,
    /// Readable when the main thread is to look at turns.
    untidy: OwnedFd,
}

/// One call that waits for an answer, in the hands of a serving thread.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) id: u64,
    pub(super) tid: Pid,
    pub(super) args: [u64; 6],
    pub(super) turn: &'a Turn<'a>,
}

impl Serve for Session {
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
        let call = Call { id: notification.id, tid, args: notification.args, turn };
        let number = i64::from(notification.number);
        match self.callers.find(tid) {
            _ if !notification.is_native() => self.fail(call, Errno::NOSYS),
            Ok(caller) => {
                if let Some(process) = &caller.process
                    && self.listener.is_valid(call.id)
                {
                    turn.deadline.is_of(call.id, Arc::clone(process));
                }
                match number {
                    libc::SYS_io_uring_setup => self.setup(call, &caller),
                    libc::SYS_io_uring_register => self.register(call),
                    libc::SYS_io_uring_enter => self.wake(call),
                    _ => self.fail(call, Errno::NOSYS),
                }
            }
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => self.fail(call, error),
            // It has died.
            Err(_) => self.fail(call, Errno::SRCH),
        }
    }

    fn call_main_thread(&self) {
        // Fails only when it is readable already.
        let _ = rustix::io::write(&self.untidy, &1u64.to_ne_bytes());
    }

    fn must_end(&self) -> Option<Errno> {
        let number = self.unrecorded.load(Ordering::Relaxed);
        (number != 0).then(|| Errno::from_raw_os_error(number))
    }
}

impl Session {
    /// # Errors
    /// `EMFILE` when no descriptor can be had.
    pub(super) fn new(listener: Listener, held: Held, audit: SharedAudit) -> Result<Self, Errno> {
        Ok(Self {
            listener,
            held,
            ledger: None,
            groups: ControlGroups::default(),
            audit,
            unrecorded: AtomicI32::new(0),
            enabling: Enabling::new()?,
            traced: TracedThreads::default(),
            callers: Callers::default(),
            freezers: Freezers::find(),
            turns: Turns::default(),
            waiting: Waiting::default(),
            untidy: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Holds all rings together to limits.
    pub(super) fn with_ledger(self, ledger: Option<Ledger>) -> Self {
        Self { ledger, ..self }
    }

    /// Has those control groups pay for rings.
    pub(super) fn paid_by(self, groups: ControlGroups) -> Self {
        Self { groups, ..self }
    }

    /// What [`call_main_thread`](Serve::call_main_thread) makes readable.
    pub(super) fn untidy(&self) -> BorrowedFd<'_> {
        self.untidy.as_fd()
    }

    /// The main thread has heard.
    pub(super) fn hear(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.untidy, &mut count);
    }

    /// Kills each process that has held up a call of its own for seconds. Called once a second, or so `late`.
    ///
    /// # Errors
    /// `ETIMEDOUT` when too many hang.
    pub(super) fn end_overdue(&self, late: Duration) -> Result<(), Errno> {
        // Nothing is locked while a program is waited for.
        end_overdue(self, &self.freezers, late, || false, |killed| self.audit.tell_of(killed))
    }

    /// Tells of a refused call before the program hears of it.
    pub(super) fn refused(&self, call: Call<'_>, process: Pid, request: Refused) {
        let refusal = Refusal::now(process, call.tid, request);
        if let Err(error) = call.turn.deadline.uncounted(|| self.audit.tell(&refusal)) {
            let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            self.unrecorded.store(error.raw_os_error(), Ordering::Relaxed);
        }
    }

    /// Tells of a ring that is made.
    pub(super) fn made(&self, call: Call<'_>) {
        call.turn.deadline.uncounted(|| self.audit.tell_of_ring());
    }

    pub(super) fn fail(&self, call: Call<'_>, error: Errno) {
        self.listener.fail(call.id, error);
    }

    pub(super) fn answer(&self, call: Call<'_>, result: Result<i64, Errno>) {
        match result {
            Ok(value) => self.listener.answer(call.id, value),
            Err(error) => self.listener.fail(call.id, error),
        }
    }

    /// The memory of the thread that made `call`.
    pub(super) fn memory_of(&self, call: Call<'_>) -> Caller<'_> {
        Caller { listener: &self.listener, id: call.id, tid: call.tid }
    }

    /// A copy of a descriptor of the thread that made `call`.
    ///
    /// # Errors
    /// `EBADF` for none; `EPERM` where the process may not be looked into.
    pub(super) fn take(&self, call: Call<'_>, fd: i32) -> Result<OwnedFd, Errno> {
        let pidfd = pidfd_open(call.tid, PIDFD_THREAD).or_else(|_| {
            // Before Linux 6.9: threads that do not share their process's descriptors are not told apart.
            pidfd_open(TaskStatus::of(call.tid)?.process, PidfdFlags::empty())
        })?;
        if !self.listener.is_valid(call.id) {
            return Err(Errno::SRCH);
        }
        as_its_user(call.tid, || listener_of(pidfd.as_fd(), fd))
    }

    /// The same, of a ring.
    ///
    /// # Errors
    /// As [`take`](Self::take), and `EOPNOTSUPP` for what is no ring.
    pub(super) fn take_ring(&self, call: Call<'_>, fd: i32) -> Result<OwnedFd, Errno> {
        let taken = self.take(call, fd)?;
        if is_ring(taken.as_fd()) { Ok(taken) } else { Err(Errno::OPNOTSUPP) }
    }

    /// Stops the thread that made `call`, after `prepare` has done what the notification is needed for, and has
    /// `work` make system calls in its place; `work` says how the thread goes on.
    pub(super) fn inject<P>(
        &self,
        call: Call<'_>,
        prepare: impl FnOnce() -> Result<P, Errno>,
        work: impl FnOnce(&mut Injection, P) -> Result<After, Errno>,
    ) {
        // The call that is made may have to be answered, too.
        call.turn.pass_on();
        let _others_wait = self.traced.trace(call.tid, false);
        // Without an injection the call has been answered.
        let begun = Injection::begin(&self.listener, call.id, call.tid, call.args[0], prepare);
        let Ok((mut injection, prepared)) = begun else { return };
        let after = work(&mut injection, prepared);
        injection.go_on(after);
    }
}
