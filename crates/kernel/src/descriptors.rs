//! Descriptors that the caller left open for the program.

use crate::registration::is_ring;
use rustix::fd::BorrowedFd;
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

/// Closes io_urings: the filters of whoever made them hold in them, not those of the calling task.
/// Allocates nothing.
///
/// # Errors
/// Descriptors cannot be listed.
pub(crate) fn close_rings() -> Result<(), Errno> {
    for_each(|fd| {
        if is_ring(fd) {
            // SAFETY: a process between fork and exec, which has no ring of its own, or a caller who
            // was told so by `Confinement::apply`.
            unsafe { libc::close(fd) };
        }
    })
}

/// Closes what the calling process has no use for itself: all but the standard descriptors that would
/// stay open across an exec. They are the program's, and a reader at the other end of a pipe waits
/// until nobody else has them.
pub(crate) fn close_for_own_part() {
    let _ = for_each(|fd| {
        // SAFETY: only looked at; a number that is closed gives an error.
        let flags = fcntl_getfd(unsafe { BorrowedFd::borrow_raw(fd) });
        if fd > libc::STDERR_FILENO && flags.is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC)) {
            // SAFETY: nothing in this crate owns a descriptor that is not close-on-exec, and
            // `Kernel::run` says that it closes its caller's.
            unsafe { libc::close(fd) };
        }
    });
}

fn for_each(mut act: impl FnMut(RawFd)) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, c"/proc/self/fd", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&folder, &mut buffer);
    while let Some(entry) = entries.next() {
        if let Some(fd) = entry?.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
            act(fd);
        }
    }
    Ok(())
}
