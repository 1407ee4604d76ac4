//! The guarded program's process, from fork to exec.

use crate::seccomp;
use libc::sock_filter;
use ringwarden_launch::{Argv, CANNOT_EXECUTE, FAILED, HeldSignals, NOT_FOUND, descriptors};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

/// What the child needs, prepared before the fork.
pub(crate) struct Child<'a> {
    /// Program and arguments; the program is looked up in `PATH`.
    pub(crate) argv: &'a Argv,
    /// Those that the program gets back.
    pub(crate) signals: &'a HeldSignals,
    /// Where the listener's number (or `-errno`) is written, and one byte is read before the exec.
    pub(crate) handshake: BorrowedFd<'a>,
    /// Where the errno of a failed exec is written; closed by a successful one.
    pub(crate) exec_failure: BorrowedFd<'a>,
    /// The process that must be the parent still.
    pub(crate) parent: i32,
    /// Decides which calls stop at the guard, and which the program may not make.
    pub(crate) filter: &'a [sock_filter],
}

impl Child<'_> {
    /// Confines the process and becomes the program. Runs in a process that was just forked from a
    /// single-threaded one.
    pub(crate) fn run(self) -> ! {
        let status = match self.confine_and_exec() {
            Ok(never) => match never {},
            Err((status, error)) => {
                let _ = rustix::io::write(self.exec_failure, &error.raw_os_error().to_ne_bytes());
                status
            }
        };
        // SAFETY: ends the process, without running what the parent had registered for its own exit.
        unsafe { libc::_exit(status.into()) }
    }

    fn confine_and_exec(&self) -> Result<std::convert::Infallible, (u8, Errno)> {
        let failed = |error| (FAILED, error);
        // When the guard goes, so does the program.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(failed)?;
        if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(self.parent) {
            return Err(failed(Errno::SRCH));
        }
        // Undumpable as the guard is, it would keep an unprivileged guard from taking its listener.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
            .map_err(failed)?;
        descriptors::close_rings().map_err(failed)?;
        rustix::thread::set_no_new_privs(true).map_err(failed)?;
        let listener = seccomp::install(self.filter).map_err(failed)?;
        rustix::io::write(self.handshake, &listener.to_ne_bytes()).map_err(failed)?;
        let mut go = [0u8];
        if rustix::io::read(self.handshake, &mut go) != Ok(1) {
            return Err(failed(Errno::SRCH));
        }
        // SAFETY: `listener` is this process's own; the guard has taken its copy.
        unsafe { libc::close(listener) };
        self.signals.restore_for_program();
        let errno = self.argv.exec();
        Err((if errno == Errno::NOENT { NOT_FOUND } else { CANNOT_EXECUTE }, errno))
    }
}

/// Reads an `i32` that the other side of a pipe or socket wrote; `None` when it was closed instead.
pub(crate) fn read_i32(fd: BorrowedFd<'_>) -> Option<i32> {
    let mut bytes = [0; 4];
    let count = loop {
        match rustix::io::read(fd, &mut bytes) {
            Err(Errno::INTR) => {}
            other => break other.unwrap_or(0),
        }
    };
    (count == 4).then(|| i32::from_ne_bytes(bytes))
}
