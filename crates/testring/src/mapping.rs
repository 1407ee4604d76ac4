//! Shared memory of a ring, seen as atomics.

use crate::SqeWords;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A shared, writable mapping of part of a ring, unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is only ever reached through atomics and stays mapped until drop, whichever
// thread holds the value.
unsafe impl Send for Mapping {}
// SAFETY: as above; all access through `&self` is atomic.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn shared(ring: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), len, protection, flags, ring.as_raw_fd(), offset as i64)
        };
        match NonNull::new(start.cast()) {
            Some(start) if start.as_ptr() as isize != -1 => Ok(Self { start, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn word(&self, offset: u32) -> &AtomicU32 {
        self.at(offset as usize)
    }

    pub(crate) fn long(&self, offset: u32) -> &AtomicU64 {
        self.at(offset as usize)
    }

    pub(crate) fn sqe(&self, slot: usize) -> &SqeWords {
        self.at(slot * size_of::<SqeWords>())
    }

    /// `T` is one of the atomic types above: valid for any bytes, shared with other writers.
    fn at<T>(&self, offset: usize) -> &T {
        assert!(offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= self.len);
        // SAFETY: in bounds and aligned (a mapping starts on a page), mapped for as long as `self`,
        // and only ever reached through atomics.
        unsafe { self.start.add(offset).cast::<T>().as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
