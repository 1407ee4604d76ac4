//! Starting a program under filters.

use crate::confinement::{ConfineError, Confinement};
use crate::failure::Failure;
use crate::wait::wait_for;
use ringwarden_filter::{FilterSet, RegisterRules};
use ringwarden_launch::{Argv, ArgvError, Bond, ExecError, HeldSignals, Status, descriptors};
use ringwarden_trial::last_errno;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, Signal, getpid, getppid, set_dumpable_behavior, set_parent_process_death_signal,
};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use zerocopy::IntoBytes;

/// The kernel's own filters, for one program and everything it starts.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(crate) confinement: Confinement,
}

/// Why a program could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument has a NUL byte in it.
    #[error("argument {0} contains a NUL byte")]
    Argument(usize),
    /// The program was not executed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The program has not run, because something would not have been in force.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The companion that the program was bound to has ended, and the program with it.
    #[error("what the program was bound to has ended, and the program with it")]
    Parted,
    /// A system call that starts the program's process failed.
    #[error("cannot start the program: {0}")]
    Start(io::Error),
}

impl Kernel {
    /// The kernel with these filters, which were made for the model that
    /// [`Facts::usable`](crate::Facts::usable) gives, and with only those register calls.
    #[must_use]
    pub fn new(filters: &FilterSet, register: RegisterRules) -> Self {
        Self { confinement: Confinement::new(filters, register) }
    }

    /// What is put on programs.
    pub fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Runs `argv[0]`, looked up in `PATH`, with those arguments, and waits until it has ended. Gives how it
    /// ended. What it leaves behind stays under the filters.
    ///
    /// The calling thread stands in for the program: it passes on the signals that processes send it, and
    /// stops when the program is stopped; other threads must not take signals from it. When it ends before
    /// the program, the program is killed. The calling process becomes undumpable, since it is under no
    /// filters and must not be made to act for the program; its descriptors that are not close-on-exec are
    /// closed, but for the standard ones: the program has inherited them, all but io_urings. The program gets
    /// the blocked and ignored signals of the caller, SIGPIPE as it was before Rust's runtime.
    /// `no_new_privs` is set for the program.
    ///
    /// # Errors
    /// See [`Error`]; the program has not run.
    pub fn run(&self, argv: &[impl AsRef<OsStr>]) -> Result<Status, Error> {
        self.run_bound(argv, None)
    }

    /// The same for a program that is not to run without a companion, and nor are its descendants: it waits for
    /// them, too, unless a signal comes that would have ended the program.
    ///
    /// # Errors
    /// See [`Error`]; but for [`Error::Parted`], the program has not run.
    pub fn run_bound(&self, argv: &[impl AsRef<OsStr>], bond: Option<&Bond>) -> Result<Status, Error> {
        let program = argv.first().map(|arg| arg.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
        let argv = match Argv::new(argv) {
            Ok(argv) => argv,
            Err(ArgvError::Nul(index)) => return Err(Error::Argument(index)),
            // No program at all.
            Err(_) => return Err(ExecError::NotFound { program }.into()),
        };
        let start = |error: Errno| Error::Start(error.into());
        let (failure_out, failure_in) = pipe_with(PipeFlags::CLOEXEC).map_err(start)?;
        // Before the program's first instruction, which must not find it otherwise.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(start)?;
        let signals = HeldSignals::hold();
        let child = Child { argv: &argv, parent: getpid(), signals: &signals, failure: failure_in };
        // SAFETY: until it executes, the child makes system calls only, and allocates nothing.
        let pid = match unsafe { libc::fork() } {
            -1 => return Err(start(last_errno())),
            0 => child.run(&self.confinement),
            pid => Pid::from_raw(pid).ok_or_else(|| start(Errno::SRCH))?,
        };
        drop(child);
        descriptors::close_for_own_part();
        let failure = Failure::receive(&failure_out);
        let status = wait_for(pid, bond).map_err(start)?;
        drop(signals);
        match failure {
            Some(failure) => Err(explained(failure, program)),
            None => status.ok_or(Error::Parted),
        }
    }
}

/// The program's process, from fork to exec.
struct Child<'a> {
    argv: &'a Argv,
    parent: Pid,
    signals: &'a HeldSignals,
    /// Closed by a successful exec.
    failure: OwnedFd,
}

impl Child<'_> {
    fn run(&self, confinement: &Confinement) -> ! {
        let failure = match self.become_the_program(confinement) {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        let _ = rustix::io::write(&self.failure, failure.as_bytes());
        // SAFETY: ends the process without running what the caller had registered for its own exit.
        unsafe { libc::_exit(0) }
    }

    fn become_the_program(&self, confinement: &Confinement) -> Result<Infallible, Failure> {
        let failed = |error| Failure::new(Failure::START, error);
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
        if getppid() != Some(self.parent) {
            return Err(failed(Errno::SRCH));
        }
        confinement.apply()?;
        self.signals.restore_for_program();
        Err(Failure::new(Failure::EXEC, self.argv.exec()))
    }
}

fn explained(failure: Failure, program: String) -> Error {
    if let Some(error) = failure.of_confinement() {
        return error.into();
    }
    let errno = failure.errno();
    match failure.is_of_exec() {
        true => ExecError::new(program, errno.into()).into(),
        false => Error::Start(errno.into()),
    }
}
