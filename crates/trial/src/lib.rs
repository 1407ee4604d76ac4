//! Throw-away children (probes), for what cannot be undone or may be fatal.
//!
//! What a kernel does is found out by doing it, and a seccomp filter may kill a process that makes a call which
//! it does not like: so a child makes it.

#![deny(missing_docs)]

mod series;

pub use series::series;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, set_parent_process_death_signal, waitpid};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Seconds after which a child that still tries is ended by `SIGALRM`.
const PATIENCE: u32 = 10;

/// Why there is no answer, or what the answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrialError {
    /// A system call that belongs to the attempt failed.
    #[error("{}", ringwarden_uapi::Errno(.0.raw_os_error() as u16))]
    Failed(Errno),
    /// The child was killed by that signal; `SIGSYS` is how seccomp kills.
    #[error("the probe was killed by signal {0}")]
    Killed(i32),
    /// The child ended without an answer.
    #[error("the probe ended without an answer")]
    Silent,
    /// No child could be made.
    #[error("it could not be tried: {0}")]
    NoChild(Errno),
}

/// Has a child do something that ends in a number or in an error.
///
/// # Errors
/// The attempt's own, or why there is none.
pub fn ask(attempt: impl FnOnce() -> io::Result<i32>) -> Result<i32, TrialError> {
    let [errno, number] = answer(|| match attempt() {
        Ok(number) => [0, number],
        Err(error) => [error.raw_os_error().unwrap_or(libc::EIO), 0],
    })?;
    if errno == 0 { Ok(number) } else { Err(TrialError::Failed(Errno::from_raw_os_error(errno))) }
}

/// Has a child find something out.
///
/// # Errors
/// Why there is no answer.
pub fn answer<T>(attempt: impl FnOnce() -> T) -> Result<T, TrialError>
where
    T: FromBytes + IntoBytes + Immutable,
{
    let (bytes, status) = child(|pipe| {
        let _ = rustix::io::write(pipe, attempt().as_bytes());
    })?;
    match status.and_then(WaitStatus::terminating_signal) {
        Some(signal) => Err(TrialError::Killed(signal)),
        None => T::read_from_bytes(&bytes).map_err(|_| TrialError::Silent),
    }
}

/// Has a child execute another program, and gives that one's exit status. `attempt` returns only when
/// it could not.
///
/// # Errors
/// Why the program has no status.
pub fn exec(attempt: impl FnOnce() -> io::Error) -> Result<i32, TrialError> {
    let (bytes, status) = child(|pipe| {
        let errno = attempt().raw_os_error().unwrap_or(libc::EIO);
        let _ = rustix::io::write(pipe, errno.as_bytes());
    })?;
    if let Ok(errno) = i32::read_from_bytes(&bytes) {
        return Err(TrialError::Failed(Errno::from_raw_os_error(errno)));
    }
    match status.and_then(WaitStatus::terminating_signal) {
        Some(signal) => Err(TrialError::Killed(signal)),
        None => status.and_then(WaitStatus::exit_status).ok_or(TrialError::Silent),
    }
}

/// Runs `work` in a forked child and gives what it wrote into the pipe, which an exec closes, and how
/// it ended.
fn child(work: impl FnOnce(BorrowedFd<'_>)) -> Result<(Vec<u8>, Option<WaitStatus>), TrialError> {
    let (out, in_) = pipe_with(PipeFlags::CLOEXEC).map_err(TrialError::NoChild)?;
    // SAFETY: the child only makes system calls and small allocations before it ends; the C library
    // keeps its allocator usable across a fork.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(TrialError::NoChild(last_errno())),
        0 => {
            prepare();
            // Whatever happens in here, the caller's code must not run twice.
            let _ = catch_unwind(AssertUnwindSafe(|| work(in_.as_fd())));
            // SAFETY: ends the process without running what the caller had registered for its exit.
            unsafe { libc::_exit(0) }
        }
        pid => Pid::from_raw(pid).ok_or(TrialError::NoChild(Errno::SRCH))?,
    };
    drop(in_);
    let bytes = read_to_end(&out);
    let status = loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            Ok(ended) => break ended.map(|(_, status)| status),
            // Somebody else collected it: the caller ignores SIGCHLD.
            Err(_) => break None,
        }
    };
    Ok((bytes, status))
}

/// Neither a caller that is gone nor a hanging system call keeps a child alive, and none dumps core.
fn prepare() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let none = rustix::process::Rlimit { current: Some(0), maximum: None };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    // SAFETY: sets the disposition and mask of one signal in a process of our own.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        let mut alarm: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut alarm);
        libc::sigaddset(&mut alarm, libc::SIGALRM);
        libc::sigprocmask(libc::SIG_UNBLOCK, &alarm, std::ptr::null_mut());
        libc::alarm(PATIENCE);
    }
}

fn read_to_end(pipe: &OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 512];
    loop {
        match rustix::io::read(pipe, &mut buffer) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// What the last system call of the C library's failed with.
pub fn last_errno() -> Errno {
    errno(&io::Error::last_os_error())
}

/// The number of an error that a system call gave.
pub fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_errors_and_deaths_come_back() {
        assert_eq!(ask(|| Ok(7)), Ok(7));
        assert_eq!(
            ask(|| Err(io::Error::from_raw_os_error(libc::EXDEV))),
            Err(TrialError::Failed(Errno::XDEV))
        );
        assert_eq!(answer(|| [3u8; 300]), Ok([3u8; 300]));
        assert_eq!(answer(|| -> u8 { panic!("in a child") }), Err(TrialError::Silent));
        // SAFETY: sends a signal to the calling process.
        assert_eq!(ask(|| Ok(unsafe { libc::raise(libc::SIGSYS) })), Err(TrialError::Killed(libc::SIGSYS)));
        assert_eq!(
            exec(|| io::Error::from_raw_os_error(libc::ENOEXEC)),
            Err(TrialError::Failed(Errno::NOEXEC))
        );
    }
}
