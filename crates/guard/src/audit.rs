//! What the guard tells of refusals.

use crate::program::proc;
use ringwarden_filter::{Context, Denial};
use ringwarden_uapi::register::RegisterOp;
use ringwarden_uapi::ring::{Params, Sqe};
use rustix::process::Pid;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// One refused request or call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// When the guard decided.
    pub time: SystemTime,
    /// The process, in the guard's pid namespace.
    pub pid: i32,
    /// The thread, likewise.
    pub tid: i32,
    /// The thread's name (`/proc/PID/comm`), at most 15 bytes, with U+FFFD for what is not UTF-8; empty when
    /// it is gone.
    pub program: String,
    /// What was refused.
    pub request: Refused,
    /// The rules refuse it, and it passes all the same: see
    /// [`Guard::with_permission`](crate::Guard::with_permission).
    pub permitted: bool,
}

impl Refusal {
    /// Of a call that waits, so that its thread lives.
    pub(crate) fn now(pid: Pid, tid: Pid, request: Refused) -> Self {
        let program = program_of(tid);
        let [pid, tid] = [pid, tid].map(|id| id.as_raw_nonzero().get());
        Self { time: SystemTime::now(), pid, tid, program, request, permitted: false }
    }
}

fn program_of(tid: Pid) -> String {
    proc::text(tid, "comm").map(|name| name.trim_ascii_end().to_owned()).unwrap_or_default()
}

/// A process that the guard has killed, since it has kept the guard busy with a call of its own for too long: five seconds, on
/// a machine that is very busy forty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Killed {
    /// The process, in the guard's pid namespace.
    pub pid: i32,
    /// Its name, as [`Refusal::program`].
    pub program: String,
}

impl Killed {
    /// Of a process that is still there.
    pub(crate) fn of(pid: Pid) -> Self {
        Self { pid: pid.as_raw_nonzero().get(), program: program_of(pid) }
    }
}

/// What was refused, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// A request, by the filters.
    Request {
        /// The SQE as the program wrote it.
        sqe: Sqe,
        /// What the filters saw.
        context: Context,
        /// Which of them refuses it.
        denial: Denial,
    },
    /// A request, or a whole submission, that the filters would have to judge by arguments which cannot
    /// be kept from changing: they could not be put out of the program's reach.
    Unverifiable,
    /// A ring, or a whole submission, because the guard may not look into the process: it has changed its
    /// user without executing a program since, has made itself undumpable, or executes a file that its user
    /// may not read, and the guard has no CAP_SYS_PTRACE.
    Unreadable,
    /// A ring, for want of descriptors in the guard.
    TooManyRings {
        /// So many the tree can have at a time.
        most: usize,
    },
    /// A ring, for the [limits](crate::Limits) of what all rings come to.
    OverLimit {
        /// So many there can be at a time.
        rings: u64,
        /// With so many entries all together.
        entries: u64,
    },
    /// A ring, for want of memory in which its arguments could be kept: other rings have it.
    NoRoomForArguments,
    /// A ring that the rules do not let the program have.
    Setup {
        /// The SQEs that were asked for.
        entries: u32,
        /// What else was, as the program wrote it.
        params: Params,
    },
    /// An `io_uring_register` call, by the rules; or because the guard cannot stand for it, as for
    /// SEND_MSG_RING where requests of MSG_RING have to be looked at.
    Register {
        /// Its opcode.
        op: RegisterOp,
    },
    /// A ring that the guard did not make: it was open before the program was guarded, or came from
    /// outside.
    ForeignRing {
        /// The program's descriptor.
        fd: i32,
    },
}

impl Refused {
    /// Whether it is the policy that refuses, and not the guard itself.
    pub(crate) fn is_by_rules(&self) -> bool {
        matches!(self, Self::Request { .. } | Self::Setup { .. } | Self::Register { .. })
    }
}

/// Receives refusals as they happen, on the guard's own thread: whatever it does delays the program.
pub trait Audit: Send {
    /// One refusal, before the program hears of it.
    ///
    /// # Errors
    /// It cannot be recorded. This ends the guard and everything under it: a program that could stop the
    /// record, say by lowering the guard's `RLIMIT_FSIZE`, could otherwise go on without one.
    fn refused(&mut self, refusal: &Refusal) -> std::io::Result<()>;

    /// A process has been killed. The guard's main thread tells of it, which must not wait: nothing that hangs would be seen.
    fn killed(&mut self, killed: &Killed);

    /// A ring is about to be handed over. Only a [maker](crate::Maker) tells of it.
    fn made(&mut self) {}

    /// The program and all its descendants have ended, and the guard is about to: whatever was put off is to
    /// be done now.
    fn ended(&mut self) {}
}

/// An audit that is told of refusals by the one who has one clone, and of the end by the one who has another.
#[derive(Clone)]
pub(crate) struct SharedAudit {
    audit: Arc<Mutex<Box<dyn Audit>>>,
    /// Told of by whoever has the audit next.
    killed: Arc<Mutex<Vec<Killed>>>,
}

impl std::fmt::Debug for SharedAudit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedAudit")
    }
}

impl SharedAudit {
    pub(crate) fn new(audit: Box<dyn Audit>) -> Self {
        Self { audit: Arc::new(Mutex::new(audit)), killed: Arc::default() }
    }

    /// As [`Audit::refused`], by whoever has it.
    pub(crate) fn tell(&self, refusal: &Refusal) -> std::io::Result<()> {
        self.have(|audit| audit.refused(refusal))
    }

    /// As [`Audit::made`], likewise.
    pub(crate) fn tell_of_ring(&self) {
        self.have(|audit| audit.made());
    }

    /// As [`Audit::killed`]: soon, where a refusal is being told of, which may never come to an end.
    pub(crate) fn tell_of(&self, killed: Killed) {
        self.killed().push(killed);
        if let Ok(mut audit) = self.audit.try_lock() {
            self.tell_of_killed(&mut **audit);
        }
    }

    /// Tells of the end, unless a refusal is still being told of.
    pub(crate) fn end(&self) {
        if let Ok(mut audit) = self.audit.try_lock() {
            self.tell_of_killed(&mut **audit);
            audit.ended();
        }
    }

    /// Has the audit as soon as nobody else does.
    fn have<T>(&self, tell: impl FnOnce(&mut dyn Audit) -> T) -> T {
        let mut audit = self.audit.lock().unwrap_or_else(PoisonError::into_inner);
        let told = tell(&mut **audit);
        self.tell_of_killed(&mut **audit);
        told
    }

    fn tell_of_killed(&self, audit: &mut dyn Audit) {
        let killed = std::mem::take(&mut *self.killed());
        killed.iter().for_each(|killed| audit.killed(killed));
    }

    fn killed(&self) -> MutexGuard<'_, Vec<Killed>> {
        self.killed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops them all.
impl Audit for () {
    fn refused(&mut self, _refusal: &Refusal) -> std::io::Result<()> {
        Ok(())
    }

    fn killed(&mut self, _killed: &Killed) {}
}
