//! The reasons for which a guard does not run a program, or not to its end.

use crate::needs::{self, Missing};
use ringwarden_kernel::ConfineError;
use ringwarden_launch::{CANNOT_EXECUTE, ExecError, NOT_FOUND};
use rustix::io::Errno;

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
    /// The program was not executed.
    #[error(transparent)]
    Exec(#[from] ExecError),
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

/// The program's exec failed.
pub(crate) fn not_executed(errno: i32, program: &str) -> Error {
    let status = if errno == libc::ENOENT { NOT_FOUND } else { CANNOT_EXECUTE };
    not_started(status, errno, program)
}

/// Why the program never ran.
pub(crate) fn not_started(status: u8, errno: i32, program: &str) -> Error {
    let error = std::io::Error::from_raw_os_error(errno);
    match (status, errno) {
        (NOT_FOUND | CANNOT_EXECUTE, _) => ExecError::new(program, error).into(),
        (_, libc::EBUSY) => Error::AlreadySupervised,
        _ => Error::Start(error),
    }
}
