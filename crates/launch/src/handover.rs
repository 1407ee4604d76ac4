//! A plan handed to a process that is started to carry it out, and its report.
//!
//! The two are descriptors, whose numbers are the first argument: `--ringwarden-supervise=PLAN,REPORT`. What comes behind
//! it is for whoever carries the plan out.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

const ARGUMENT: &str = "--ringwarden-supervise=";
/// Above the standard ones, which a command has replaced by then.
const FIRST: RawFd = 3;

/// A plan, and where to say what came of it.
#[derive(Debug)]
pub struct Handover {
    /// Read only by position: all that get it have the same file.
    pub plan: OwnedFd,
    /// The end of a pipe.
    pub report: OwnedFd,
}

impl Handover {
    /// Hands copies of both to the children of `command`, and of no other: close-on-exec is taken off in the child
    /// alone. To be called before `command` gets its first argument.
    ///
    /// # Errors
    /// `EMFILE`, before `command` was changed.
    pub fn give(plan: impl AsFd, report: impl AsFd, command: &mut Command) -> io::Result<()> {
        let handed = [fcntl_dupfd_cloexec(plan, FIRST)?, fcntl_dupfd_cloexec(report, FIRST)?];
        let [plan, report] = handed.each_ref().map(OwnedFd::as_raw_fd);
        command.arg(format!("{ARGUMENT}{plan},{report}"));
        let keep = move || {
            for fd in &handed {
                fcntl_setfd(fd, FdFlags::empty())?;
            }
            Ok(())
        };
        // SAFETY: makes system calls only, and allocates nothing: an error that is an errno has no memory of its own.
        unsafe { command.pre_exec(keep) };
        Ok(())
    }

    /// What was handed to the calling process, and the arguments behind it; `None` if nothing was, or after the first
    /// call. To be called before anything else is opened. The children of the calling process do not get it.
    ///
    /// # Errors
    /// The first argument says so, but there is nothing: somebody else has written it.
    pub fn receive() -> Option<io::Result<(Self, Vec<OsString>)>> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let mut arguments = std::env::args_os().skip(1);
        let numbers = arguments.next()?;
        let numbers = numbers.as_bytes().strip_prefix(ARGUMENT.as_bytes())?;
        if TAKEN.swap(true, Ordering::Relaxed) {
            return None;
        }
        let numbers = std::str::from_utf8(numbers).ok().and_then(|numbers| numbers.split_once(','));
        let taken = numbers.map(|(plan, report)| {
            let [plan, report] = [plan, report].map(|number| number.parse().unwrap_or(-1));
            if plan == report {
                return Err(Errno::BADF);
            }
            Ok((Self { plan: inherited(plan)?, report: inherited(report)? }, arguments.collect()))
        });
        Some(taken.unwrap_or(Err(Errno::INVAL)).map_err(io::Error::from))
    }
}

fn inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    if number < FIRST {
        return Err(Errno::BADF);
    }
    // SAFETY: only looked at; a number that is closed gives an error.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    // What this process has opened by itself, and may own already, is close-on-exec: so the standard library has it.
    if fcntl_getfd(fd)?.contains(FdFlags::CLOEXEC) {
        return Err(Errno::BADF);
    }
    fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, came from who executed this process for nobody but the first caller, and is not taken twice.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
