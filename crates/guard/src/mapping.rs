//! Memory that the guard maps, and the ways to touch it while others write to it.
//!
//! Two kinds exist: pages of a memfd that a hostile program maps as well, and private pages that
//! only the guard and (by pinning) the kernel see. Both are only ever accessed through atomics, so
//! concurrent writes by the program or reads by the kernel are not data races.

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use std::ptr::NonNull;

/// The words of such memory. In tests somebody may do anything between one access and the next.
#[cfg(test)]
pub(crate) use crate::interference::{AtomicU32, AtomicU64};
#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};

/// The page size of x86-64. Kernels of other processors choose: see [`page_size`].
#[cfg(target_arch = "x86_64")]
pub(crate) const PAGE: usize = SMALLEST_PAGE;
const SMALLEST_PAGE: usize = 4096;

/// The kernel's page size, as the C library was told it at the start. Before Linux 6.4 a process that is undumpable, as
/// guards are, cannot ask for it any more (`/proc/self/auxv`, `PR_GET_AUXV`).
pub(crate) fn page_size() -> usize {
    // SAFETY: takes and gives an integer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(SMALLEST_PAGE)
}

/// Rounds up to whole pages.
pub(crate) fn page_align(bytes: usize) -> usize {
    bytes.next_multiple_of(page_size())
}

/// A mapped region, unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the region belongs to the value, and every access to it is atomic.
unsafe impl Send for Mapping {}
// SAFETY: likewise.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `file` from `offset` on, shared, readable and writable.
    pub(crate) fn shared(file: impl AsFd, offset: u64, len: usize) -> Result<Self, Errno> {
        // SAFETY: a fresh mapping at an address that the kernel chooses overlaps nothing.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                offset,
            )
        }?;
        Ok(Self { base: NonNull::new(base.cast()).ok_or(Errno::NOMEM)?, len })
    }

    /// Maps `len` fresh zeroed bytes that no other process can have, not even by fork.
    pub(crate) fn private(len: usize) -> Result<Self, Errno> {
        // SAFETY: a fresh mapping at an address that the kernel chooses overlaps nothing.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::POPULATE,
            )
        }?;
        let mapping = Self { base: NonNull::new(base.cast()).ok_or(Errno::NOMEM)?, len };
        // SAFETY: the range is the mapping just made.
        unsafe { madvise(base, len, Advice::LinuxDontFork) }?;
        Ok(mapping)
    }

    /// Its address, for the kernel.
    pub(crate) fn address(&self) -> u64 {
        self.base.as_ptr() as u64
    }

    /// The 32-bit word at byte `offset`.
    ///
    /// # Panics
    /// When the word is not aligned or not inside the mapping: offsets come from the guard's own
    /// layout, never from the program.
    pub(crate) fn u32_at(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len, "u32 at {offset} of {}", self.len);
        // SAFETY: inside the mapping and aligned (the base is page-aligned), valid for as long as
        // `self`; other parties only make the value change, which an atomic allows. `AtomicU32` has the size
        // and alignment of `u32`.
        unsafe { &*self.base.as_ptr().add(offset).cast::<AtomicU32>() }
    }

    /// `count` consecutive 64-bit words from byte `offset` on.
    ///
    /// # Panics
    /// As [`Mapping::u32_at`].
    pub(crate) fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        assert!(
            offset.is_multiple_of(8) && offset + count * 8 <= self.len,
            "{count} words at {offset} of {}",
            self.len
        );
        // SAFETY: as in `u32_at`; `AtomicU64` has the size and alignment of `u64`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset).cast::<AtomicU64>(), count) }
    }

    /// The whole mapping, 64 bytes at a time.
    pub(crate) fn lines(&self) -> &[[AtomicU64; 8]] {
        // SAFETY: as in `u32_at`; the length is a multiple of the page size and so of 64.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().cast(), self.len / 64) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the region is ours and no reference outlives `self`. The kernel's pins keep the
        // pages of a ring that is still being torn down alive on their own.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}
