//! Starting a program under the guard.

use crate::audit::Audit;
use crate::needs::{self, Culprit, Missing, When};
use crate::observe::Observe;
use crate::split_start;
use ringwarden_filter::{CallRules, FilterSet};
use ringwarden_kernel::ConfineError;
use ringwarden_launch::{Argv, ArgvError, CANNOT_EXECUTE, NOT_FOUND, Status, wait};
use ringwarden_uapi::OPCODES;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::sync::Arc;

/// A guard for one program and everything it starts.
pub struct Guard {
    pub(crate) filters: FilterSet,
    pub(crate) calls: CallRules,
    pub(crate) audit: Box<dyn Audit>,
    pub(crate) observer: Option<Arc<dyn Observe>>,
    pub(crate) own_filters: bool,
    pub(crate) permissive: bool,
    pub(crate) executed: Option<Box<dyn FnOnce() + Send>>,
}

/// Why a program could not be run, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The processor is not the one whose order of stores split rings are safe under.
    #[error("the split lane is x86-64 only")]
    Architecture,
    /// The calling process has several threads, so it cannot fork into a guard.
    #[error("the guard can only be started from a process with a single thread")]
    Threads,
    /// System calls that the guard needs under this policy cannot be had.
    #[error("{}", needs::report(.0))]
    Missing(Vec<Missing>),
    /// io_uring is missing or switched off.
    #[error("this machine offers no io_uring ({0}){hint}", hint = io_uring_hint(*.0))]
    NoIoUring(Errno),
    /// Yama forbids to trace even one's own children.
    #[error(
        "kernel.yama.ptrace_scope is {scope}, which forbids the guard to set up rings in the program; \
         1 or less is needed{more}",
        more = if *scope == 2 { ", or CAP_SYS_PTRACE" } else { "" }
    )]
    Yama {
        /// The setting.
        scope: u32,
    },
    /// Another supervisor already has this process.
    #[error(
        "another seccomp supervisor (a container runtime or another guard) already handles this \
         process's notifications, and the kernel allows only one"
    )]
    AlreadySupervised,
    /// The kernel's filters could not be put on those who make rings.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// A seccomp filter, or the kernel, denies a system call by which children are waited for.
    #[error("the guard needs {call}(2), which is denied here ({error}): a seccomp profile has to allow it")]
    NoWait {
        /// The system call.
        call: &'static str,
        /// How it is denied.
        error: Errno,
    },
    /// An argument has a NUL byte in it.
    #[error("argument {0} contains a NUL byte")]
    Argument(usize),
    /// The program was not found in `PATH`.
    #[error("{program}: not found")]
    NotFound {
        /// Its name.
        program: String,
    },
    /// The program cannot be executed.
    #[error("{program}: cannot be executed: {error}")]
    CannotExecute {
        /// Its name.
        program: String,
        /// Why.
        error: std::io::Error,
    },
    /// The guard's process was killed, or could not go on; the program was killed with it.
    #[error("the guard came to an end ({0}), and the program with it")]
    Died(std::io::Error),
    /// A system call that starts a guard failed.
    #[error("cannot start the guard: {0}")]
    Start(std::io::Error),
}

fn io_uring_hint(error: Errno) -> &'static str {
    match error {
        Errno::PERM => ": kernel.io_uring_disabled or a seccomp filter forbids it",
        Errno::NOSYS => ": the kernel is built without it, or a seccomp filter hides it",
        Errno::NOMEM => ": the limit of locked memory (`ulimit -l`) leaves no room for a ring",
        _ => "",
    }
}

impl Guard {
    /// A guard that lets through what `filters` allow.
    #[must_use]
    pub fn new(filters: FilterSet) -> Self {
        Self {
            filters,
            calls: CallRules::default(),
            audit: Box::new(()),
            observer: None,
            own_filters: false,
            permissive: false,
            executed: None,
        }
    }

    /// Lets the program make those rings and register calls only.
    #[must_use]
    pub fn with_calls(mut self, calls: CallRules) -> Self {
        self.calls = calls;
        self
    }

    /// Reports every refusal to `audit`.
    #[must_use]
    pub fn with_audit(mut self, audit: impl Audit + 'static) -> Self {
        self.audit = Box::new(audit);
        self
    }

    /// Tells `observer` of everything that is allowed, which takes a look at every request.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observe>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Lets programs put filters and restrictions of their own on tasks, and filters on rings, as on the
    /// kernel whose model the filters follow. Each clone and exec then stops at the guard, since children
    /// inherit those; a signal that comes at that moment can make it fail with `EINTR`.
    ///
    /// Without it such calls get the running kernel's answer; only where that has them they are always
    /// taken.
    #[must_use]
    pub fn with_own_filters(mut self) -> Self {
        self.own_filters = true;
        self
    }

    /// Refuses nothing that filters and calls refuse: it passes, and the audit is told of it
    /// ([`Refusal::permitted`](crate::Refusal::permitted)). What programs forbid themselves is held as ever, and
    /// so is what the guard itself cannot do. Arguments in memory stay within the program's reach: one that it
    /// changes at the right moment may pass untold.
    #[must_use]
    pub fn with_permission(mut self) -> Self {
        self.permissive = true;
        self
    }

    /// Calls `executed`, in the calling process, when the program was executed, and never where that failed.
    #[must_use]
    pub fn told_of_exec(mut self, executed: impl FnOnce() + Send + 'static) -> Self {
        self.executed = Some(Box::new(executed));
        self
    }

    /// Which of the [needs](crate::needs) this guard has.
    pub fn when(&self) -> When {
        if self.holds_arguments() { When::Arguments } else { When::Split }
    }

    /// Whether arguments in memory have to be put out of the program's reach.
    pub(crate) fn holds_arguments(&self) -> bool {
        reads_pointers(&self.filters) && !self.permissive || self.observer.is_some()
    }

    /// Whether this machine has what the guard needs besides its system calls, which
    /// [`needs::missing`] tells of.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn check_machine() -> Result<(), Error> {
        split_start::machine().map(drop)
    }

    /// Runs `argv[0]`, looked up in `PATH`, with those arguments, and waits until it and all its
    /// descendants have ended. Gives how it ended itself.
    ///
    /// The calling process becomes the watchdog. It stands in for the program: it passes on the signals
    /// that processes send it, and stops when the program is stopped. When the guard's process dies it
    /// kills the whole tree, but no child that the caller had before. Once the program has ended, a signal
    /// that would have ended it ends what is left of its tree.
    ///
    /// The calling process also becomes a subreaper and undumpable, and its descriptors that are not
    /// close-on-exec are closed, but for the standard ones: the program has inherited them, all but
    /// io_urings. The program gets the blocked and ignored signals of the caller, SIGPIPE as it was before
    /// Rust's runtime. `no_new_privs` is set for the program.
    ///
    /// # Errors
    /// See [`Error`]; but for [`Error::Died`], the program has not run.
    pub fn run(self, argv: &[impl AsRef<OsStr>]) -> Result<Status, Error> {
        split_start::run(self, argv)
    }
}

/// Whether filters look at arguments that requests point at.
pub(crate) fn reads_pointers(filters: &FilterSet) -> bool {
    OPCODES.iter().any(|info| filters.reads_payload(info.opcode))
}

/// Whether every system call can be had that is needed then.
pub(crate) fn check_needs(when: When) -> Result<(), Error> {
    let missing = needs::missing(when);
    match missing.first().map(|missing| missing.by) {
        None => Ok(()),
        Some(Culprit::Supervisor) => Err(Error::AlreadySupervised),
        Some(_) => Err(Error::Missing(missing)),
    }
}

/// The program's arguments and name, where this process can start it and wait for it.
pub(crate) fn command(argv: &[impl AsRef<OsStr>]) -> Result<(Argv, String), Error> {
    wait::available().map_err(|(call, error)| Error::NoWait { call, error })?;
    if std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1) {
        return Err(Error::Threads);
    }
    let program = argv.first().map(|arg| arg.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
    match Argv::new(argv) {
        Ok(argv) => Ok((argv, program)),
        Err(ArgvError::Nul(index)) => Err(Error::Argument(index)),
        // No program at all.
        Err(_) => Err(Error::NotFound { program }),
    }
}

/// The program's exec failed.
pub(crate) fn not_executed(errno: i32, program: &str) -> Error {
    let status = if errno == libc::ENOENT { NOT_FOUND } else { CANNOT_EXECUTE };
    not_started(status, errno, program)
}

/// Why the program never ran.
pub(crate) fn not_started(status: u8, errno: i32, program: &str) -> Error {
    let error = std::io::Error::from_raw_os_error(errno);
    let program = program.to_owned();
    match (status, errno) {
        (NOT_FOUND, _) => Error::NotFound { program },
        (CANNOT_EXECUTE, _) => Error::CannotExecute { program, error },
        (_, libc::EBUSY) => Error::AlreadySupervised,
        _ => Error::Start(error),
    }
}

/// Into whose memory this process may look, of those that its credentials let it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everybody's.
    All,
    /// Only that of its descendants: of those who lose their parent only if it becomes that.
    Descendants,
}

/// What Yama has to say in it.
///
/// # Errors
/// [`Error::Yama`]: not even children.
pub(crate) fn check_yama() -> Result<Reach, Error> {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
        .ok()
        .and_then(|scope| scope.trim().parse().ok())
        .unwrap_or(0);
    let may_trace = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_PTRACE));
    if scope >= 3 || scope == 2 && !may_trace {
        return Err(Error::Yama { scope });
    }
    Ok(if scope == 1 && !may_trace { Reach::Descendants } else { Reach::All })
}
