//! The descriptor of a ring, whose number an adversary may have given to something else, or to nothing.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Closed like any descriptor, though without the standard library's conviction that it is still open, for which a debug
/// build ends the process.
#[derive(Debug)]
pub(crate) struct Descriptor(ManuallyDrop<OwnedFd>);

impl From<OwnedFd> for Descriptor {
    fn from(fd: OwnedFd) -> Self {
        Self(ManuallyDrop::new(fd))
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: nobody uses the number afterwards. Whose it has become meanwhile is the adversary's affair.
        unsafe { libc::close(self.0.as_raw_fd()) };
    }
}
