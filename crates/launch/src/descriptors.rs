//! Descriptors that the caller left open for the program, and which of them are io_urings.

use ringwarden_uapi::sys;
use rustix::fd::BorrowedFd;
use rustix::fs::{CWD, Mode, OFlags, RawDir, fstatfs, openat};
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

/// The file system of io_urings, among others (`ANON_INODE_FS_MAGIC`).
const ANONYMOUS: u64 = 0x0904_1934;

/// Closes io_urings: the process that made them is not held to the policy of the calling task, or is held to another.
/// What cannot be told apart is closed, too. Allocates nothing.
///
/// # Errors
/// Descriptors cannot be listed.
pub fn close_rings() -> Result<(), Errno> {
    for_each(|fd| {
        // SAFETY: only looked at, by its number.
        if is_ring(unsafe { BorrowedFd::borrow_raw(fd) }) {
            // SAFETY: a process between fork and exec, which has no ring of its own, or a caller who was
            // told so.
            unsafe { libc::close(fd) };
        }
    })
}

/// Closes what the calling process has no use for itself: all but the standard descriptors that would stay
/// open across an exec. Whatever is opened here is close-on-exec, so they are the caller's, and must not be
/// kept open for longer than the program does: a reader at the other end of a pipe waits.
pub fn close_for_own_part() {
    // Without /proc there is no telling what is open; nothing else works then, either.
    let _ = for_each(|fd| {
        // SAFETY: only looked at; a number that is closed gives an error.
        let flags = fcntl_getfd(unsafe { BorrowedFd::borrow_raw(fd) });
        if fd > libc::STDERR_FILENO && flags.is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC)) {
            // SAFETY: no crate of ours owns a descriptor that is not close-on-exec, and those that run
            // programs say that they close their caller's.
            unsafe { libc::close(fd) };
        }
    });
}

/// Whether a descriptor is an io_uring: it is unless the kernel says that it is something else.
///
/// The kernel is asked by a call that does nothing to a ring, takes none of its locks, and that no policy
/// refuses: `io_uring_enter` that submits nothing. Where another answers in its place (a seccomp filter that
/// denies the call), the file system still tells files, pipes and sockets apart from rings.
pub fn is_ring(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: nothing is submitted.
    match unsafe { sys::enter(fd, 0, 0, 0) }.map_err(|error| Errno::from_io_error(&error)) {
        Err(Some(Errno::OPNOTSUPP | Errno::BADF)) => false,
        Err(Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS)) => {
            fstatfs(fd).map_or(true, |system| system.f_type as u64 == ANONYMOUS)
        }
        _ => true,
    }
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
