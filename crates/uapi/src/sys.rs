//! The three system calls, raw: no libc wrapper exists for them.

use crate::ring::Params;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `io_uring_setup(2)`.
///
/// # Safety
/// With `IORING_SETUP_NO_MMAP`, `params.sq_off.user_addr` and `params.cq_off.user_addr` must name
/// memory that is large enough for the ring, writable, and stays so for as long as the ring lives:
/// the kernel writes to it at any time.
///
/// # Errors
/// The kernel's errno.
pub unsafe fn setup(entries: u32, params: &mut Params) -> io::Result<OwnedFd> {
    // SAFETY: `params` is a valid, writable `struct io_uring_params`; what it points at is the
    // caller's promise.
    let ret = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, std::ptr::from_mut(params)) };
    let fd = check(ret)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// `io_uring_enter(2)` without a signal mask or extended argument.
///
/// # Safety
/// The requests that it submits run with the memory they point at: every pointer in them must be
/// valid for what the request does, until it has completed.
///
/// # Errors
/// The kernel's errno.
pub unsafe fn enter(ring: BorrowedFd<'_>, to_submit: u32, min_complete: u32, flags: u32) -> io::Result<u32> {
    // SAFETY: a null argument of size 0 is always valid; the requests are the caller's promise.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring.as_raw_fd(),
            to_submit,
            min_complete,
            flags,
            std::ptr::null::<u8>(),
            0usize,
        )
    };
    check(ret).map(|n| n as u32)
}

/// `io_uring_register(2)` on a raw descriptor number; -1 is the calling task itself where the
/// operation knows such a form.
///
/// # Safety
/// `arg` and `nr_args` must be what `op` expects: a pointer to memory that is valid for what the
/// operation reads, writes or keeps.
///
/// # Errors
/// The kernel's errno.
pub unsafe fn register(ring: RawFd, op: u32, arg: *mut libc::c_void, nr_args: u32) -> io::Result<u32> {
    // SAFETY: the caller's promise.
    let ret = unsafe { libc::syscall(libc::SYS_io_uring_register, ring, op, arg, nr_args) };
    check(ret).map(|n| n as u32)
}

fn check(ret: libc::c_long) -> io::Result<libc::c_long> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}
