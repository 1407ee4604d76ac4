//! The guarded program's process, from fork to exec.

use crate::seccomp::Traps;
use crate::{inherited, seccomp};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::ffi::CString;
use std::ptr::null;

/// Exit status of a program that could not be executed, as shells have it.
pub(crate) const CANNOT_EXECUTE: i32 = 126;
/// Exit status of a program that was not found.
pub(crate) const NOT_FOUND: i32 = 127;
/// Exit status when the guard could not be set up.
pub(crate) const GUARD_FAILED: i32 = 125;

/// What the child needs, prepared before the fork.
pub(crate) struct Child<'a> {
    /// Program and arguments; the program is looked up in `PATH`.
    pub(crate) argv: &'a [CString],
    /// Where the listener's number (or `-errno`) is written, and one byte is read before the exec.
    pub(crate) handshake: BorrowedFd<'a>,
    /// Where the errno of a failed exec is written; closed by a successful one.
    pub(crate) exec_failure: BorrowedFd<'a>,
    /// The process that must be the parent still.
    pub(crate) parent: i32,
    /// The calls that are to stop at the guard, or that the program may not make.
    pub(crate) traps: &'a Traps<'a>,
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
        unsafe { libc::_exit(status) }
    }

    fn confine_and_exec(&self) -> Result<std::convert::Infallible, (i32, Errno)> {
        let failed = |error| (GUARD_FAILED, error);
        // When the guard goes, so does the program.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(failed)?;
        if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(self.parent) {
            return Err(failed(Errno::SRCH));
        }
        // Undumpable as the guard is, it would keep an unprivileged guard from taking its listener.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
            .map_err(failed)?;
        restore_signals();
        inherited::close_rings()
            .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        rustix::thread::set_no_new_privs(true).map_err(failed)?;
        let listener = seccomp::install(self.traps).map_err(failed)?;
        rustix::io::write(self.handshake, &listener.to_ne_bytes()).map_err(failed)?;
        let mut go = [0u8];
        if rustix::io::read(self.handshake, &mut go) != Ok(1) {
            return Err(failed(Errno::SRCH));
        }
        // SAFETY: `listener` is this process's own; the guard has taken its copy.
        unsafe { libc::close(listener) };
        let argv: Vec<_> = self.argv.iter().map(|arg| arg.as_ptr()).chain([null()]).collect();
        // SAFETY: `argv` is a null-terminated array of C strings that live until the call replaces
        // this process or fails.
        unsafe { libc::execvp(argv[0], argv.as_ptr()) };
        let error = std::io::Error::last_os_error();
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::NOENT);
        Err((if errno == Errno::NOENT { NOT_FOUND } else { CANNOT_EXECUTE }, errno))
    }
}

/// Undoes what the guard did to its own signals: every one that it handles or blocks gets back to
/// its default, and none stays blocked. Ignored ones (`nohup`) stay as they were.
fn restore_signals() {
    // SAFETY: an empty set unblocks everything; SIGPIPE is ignored by Rust's start-up, not by
    // whoever started us.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
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
