//! Rings behind other rings' numbers.

use std::os::fd::RawFd;

/// The number that the next descriptor would get.
pub(crate) fn next_number() -> RawFd {
    // SAFETY: a copy of standard input, closed at once.
    unsafe {
        let number = libc::dup(0);
        libc::close(number);
        number
    }
}

/// Closes what was put there, or what has come there since.
pub(crate) fn take(place: RawFd) {
    if place > 2 {
        // SAFETY: as with what is put somewhere.
        unsafe { libc::close(place) };
    }
}

/// What a place was before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Was {
    /// Nobody's.
    Free,
    /// Somebody's.
    Taken,
}

/// Puts a copy of a ring where another may be, but for the standard descriptors; whatever was there is closed.
pub(crate) fn put(ring: RawFd, place: RawFd) -> Was {
    if ring <= 2 || place <= 2 {
        return Was::Taken;
    }
    // SAFETY: descriptors of this process are rings, or copies of such, whose owners expect it.
    unsafe {
        let was = if libc::fcntl(place, libc::F_GETFD) == -1 { Was::Free } else { Was::Taken };
        libc::dup2(ring, place);
        was
    }
}
