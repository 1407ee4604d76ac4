//! Calls on perf events for which the perf library has no safe function.

use perf_event::Counter;
use perf_event_open_sys::ioctls;
use rustix::fd::{AsRawFd, BorrowedFd};
use std::ffi::CStr;
use std::io;

/// Has the kernel drop records that do not match.
///
/// # Errors
/// `EINVAL` for a filter that the event's fields do not fit.
pub(crate) fn set_filter(event: &Counter, filter: &CStr) -> io::Result<()> {
    // SAFETY: the kernel reads a string that ends with NUL, and writes nothing (`perf_event_set_filter`).
    check(unsafe { ioctls::SET_FILTER(event.as_raw_fd(), filter.as_ptr().cast_mut()) })
}

/// What to poll for its records.
pub(crate) fn fd(event: &Counter) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is the event's own, and open for as long as that is borrowed.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

fn check(result: i32) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
