//! Descriptors that the caller left open for the program.

use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::io::{FdFlags, fcntl_getfd};
use std::fs;

/// Closes those that the calling process has no use for itself: all but the standard ones that would
/// stay open across an exec. Whatever is opened here is close-on-exec, so they are the caller's, and
/// must not be kept open for longer than the program does: a reader at the other end of a pipe waits.
pub(crate) fn close_for_own_part() {
    // Without /proc there is no telling what is open; nothing else works then, either.
    for fd in open().unwrap_or_default().into_iter().filter(|&fd| fd > libc::STDERR_FILENO) {
        // SAFETY: only looked at; a number that is closed gives an error.
        if fcntl_getfd(unsafe { BorrowedFd::borrow_raw(fd) })
            .is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
        {
            // SAFETY: nothing in this crate owns a descriptor that is not close-on-exec, and
            // [`Guard::run`](crate::Guard::run) says that it closes its caller's.
            unsafe { libc::close(fd) };
        }
    }
}

/// Closes io_urings, in which the program could go on submitting past the guard.
///
/// # Errors
/// Descriptors cannot be listed.
pub(crate) fn close_rings() -> std::io::Result<()> {
    for fd in open()? {
        // SAFETY: only looked at, by its number.
        if is_ring(unsafe { BorrowedFd::borrow_raw(fd) }) {
            // SAFETY: a process between fork and exec, which has no ring of its own.
            unsafe { libc::close(fd) };
        }
    }
    Ok(())
}

/// Whether a descriptor is an io_uring at all.
pub(crate) fn is_ring(fd: BorrowedFd<'_>) -> bool {
    let target = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    target.is_ok_and(|target| target.as_os_str() == "anon_inode:[io_uring]")
}

/// The numbers of all open descriptors, and of one that is closed again.
fn open() -> std::io::Result<Vec<RawFd>> {
    let entries = fs::read_dir("/proc/self/fd")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}
