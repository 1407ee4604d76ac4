//! Rings in memory that the program names (`IORING_SETUP_NO_MMAP`, Linux 6.5).
//!
//! The kernel takes pages of the process that makes a ring, which is not the program. So the real ring is made in
//! a memfd, which the program's thread then maps over the memory that it has named. Nothing depends on that having
//! happened: what is in a ring's memory is the program's word in any case.

use super::groups::ControlGroups;
use super::process::in_memory_of_its_own;
use crate::mapping::{AtomicU64, Mapping, page_align, page_size};
use crate::program::inject::Injection;
use crate::setup_checks::clamped;
use ringwarden_uapi::ring::{MAX_ENTRIES, Params, SetupFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use rustix::io::Errno;
use std::ops::Range;

/// What the kernel aligns the index array to.
const LINE: usize = 64;

/// The memory of one ring: in a file, in the maker, and where the program is to have it.
#[derive(Debug)]
pub(super) struct OwnMemory {
    file: OwnedFd,
    mapping: Mapping,
    /// Bytes of header, CQEs and index array, whole pages; the SQEs follow.
    rings_len: usize,
    sqes_len: usize,
    /// The program's addresses of the two.
    rings_at: u64,
    sqes_at: u64,
}

impl OwnMemory {
    /// Memory for such a ring, of a kernel whose CQEs begin at `cqes_offset`.
    ///
    /// # Errors
    /// `EINVAL` for sizes that there are no rings of and for addresses that are not those of pages; `ENOMEM` and
    /// such where memory cannot be had.
    pub(super) fn new(
        entries: u32,
        asked: &Params,
        flags: SetupFlags,
        cqes_offset: usize,
    ) -> Result<Self, Errno> {
        let (rings_len, sqes_len) = sizes(entries, asked, flags, cqes_offset)?;
        let (rings_at, sqes_at) = (asked.cq_off.user_addr, asked.sq_off.user_addr);
        let page = page_size() as u64;
        if rings_at == 0 || sqes_at == 0 {
            return Err(Errno::FAULT);
        }
        if !rings_at.is_multiple_of(page) || !sqes_at.is_multiple_of(page) {
            return Err(Errno::INVAL);
        }
        let file = memory_file()?;
        ftruncate(&file, (rings_len + sqes_len) as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let mapping = Mapping::shared(&file, 0, rings_len + sqes_len)?;
        Ok(Self { file, mapping, rings_len, sqes_len, rings_at, sqes_at })
    }

    /// Has those groups pay for all of it. The kernel charges a file's pages to the memory (`mm_struct`) of whoever needs
    /// them first (`shmem_alloc_and_add_folio`, `get_mem_cgroup_from_mm`), and whoever makes the ring has the maker's.
    ///
    /// # Errors
    /// `ENOMEM` where they cannot; `EAGAIN` where there can be no process.
    pub(super) fn be_paid_by(&self, groups: &ControlGroups) -> Result<(), Errno> {
        if groups.is_empty() {
            return Ok(());
        }
        let len = (self.rings_len + self.sqes_len) as u64;
        in_memory_of_its_own(groups, || fallocate(&self.file, FallocateFlags::empty(), 0, len))
    }

    /// Has the kernel put the ring here.
    pub(super) fn lend_to(&self, params: &mut Params) {
        params.cq_off.user_addr = self.mapping.address();
        params.sq_off.user_addr = self.mapping.address() + self.rings_len as u64;
    }

    /// Whether the ring that the kernel has made lies within. What is around this memory is the maker's own.
    pub(super) fn holds(&self, told: &Params, flags: SetupFlags) -> bool {
        let cqe_size = if flags.contains(SetupFlags::CQE32) { 32 } else { 16 };
        let sqe_size = if flags.contains(SetupFlags::SQE128) { 128 } else { 64 };
        let (sqes, cqes) = (told.sq_entries as usize, told.cq_entries as usize);
        let array =
            if flags.contains(SetupFlags::NO_SQARRAY) { 0 } else { told.sq_off.array as usize + 4 * sqes };
        told.cq_off.cqes as usize + cqes * cqe_size <= self.rings_len
            && array <= self.rings_len
            && sqes * sqe_size <= self.sqes_len
    }

    /// The program's addresses, which have to be writable there.
    pub(super) fn ranges(&self) -> [Range<u64>; 2] {
        [(self.rings_at, self.rings_len), (self.sqes_at, self.sqes_len)]
            .map(|(at, len)| at..at.saturating_add(len as u64))
    }

    /// Its header, CQEs and index array, and behind them the SQEs.
    pub(super) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// The file, for the program to map.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Has the stopped thread, whose descriptor `fd` is the file, map it where the program wants it.
    ///
    /// # Errors
    /// The kernel's: `EINVAL` for instance within a huge page.
    pub(super) fn map_into(&self, injection: &mut Injection, fd: i32) -> Result<(), Errno> {
        let protection = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let flags = (libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_POPULATE) as u64;
        let parts = [(self.rings_at, self.rings_len, 0), (self.sqes_at, self.sqes_len, self.rings_len)];
        for (at, len, offset) in parts {
            let args = [at, len as u64, protection, flags, fd as u64, offset as u64];
            let mapped = injection.syscall(libc::SYS_mmap, args)?;
            if mapped != at as i64 {
                return Err(Errno::from_raw_os_error(i32::try_from(-mapped).unwrap_or(libc::ENOMEM)));
            }
        }
        Ok(())
    }

    /// Where a word of the SQEs is for the program, and for the maker.
    pub(super) fn first_sqe(&self) -> (u64, &[AtomicU64]) {
        (self.sqes_at, self.mapping.words(self.rings_len, 8))
    }
}

/// Bytes of header, CQEs and index array, and of the SQEs, in whole pages (`rings_size`, `io_uring/io_uring.c`).
fn sizes(
    entries: u32,
    asked: &Params,
    flags: SetupFlags,
    cqes_offset: usize,
) -> Result<(usize, usize), Errno> {
    let clamp = flags.contains(SetupFlags::CLAMP);
    let sized = |value, most| clamped(value, most, clamp).map(|size| size.next_power_of_two() as usize);
    let sqes = sized(entries, MAX_ENTRIES)?;
    let cqes =
        if flags.contains(SetupFlags::CQSIZE) { sized(asked.cq_entries, 2 * MAX_ENTRIES)? } else { 2 * sqes };
    let cqe_size = if flags.contains(SetupFlags::CQE32) { 32 } else { 16 };
    let sqe_size = if flags.contains(SetupFlags::SQE128) { 128 } else { 64 };
    let cqes_end = (cqes_offset + cqes * cqe_size).next_multiple_of(LINE);
    let array = if flags.contains(SetupFlags::NO_SQARRAY) { 0 } else { sqes * 4 };
    Ok((page_align(cqes_end + array), page_align(sqes * sqe_size)))
}

/// A file in memory that nobody executes; kernels before 6.3 do not know that flag.
fn memory_file() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    memfd_create("io_uring", flags | MemfdFlags::NOEXEC_SEAL).or_else(|error| match error {
        Errno::INVAL => memfd_create("io_uring", flags),
        error => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_ring::{KernelRing, setup};

    /// The kernel would write beyond what is too small, and beyond what the program has named if it is too large.
    #[test]
    fn sizes_are_those_of_the_kernel() {
        let kernel = KernelRing::probe().expect("io_uring");
        let (none, cq) = (SetupFlags::empty(), SetupFlags::CQSIZE);
        for (entries, flags, cq_entries) in [
            (1, none, 0),
            (8, cq, 1024),
            (100, SetupFlags::CQE32, 0),
            (64, SetupFlags::SQE128, 0),
            (4096, SetupFlags::NO_SQARRAY, 0),
            (1 << 20, SetupFlags::CLAMP, 0),
        ] {
            let flags = flags | SetupFlags::R_DISABLED;
            let mut params = Params { flags: flags.bits(), cq_entries, ..Params::default() };
            let (rings, sqes) = sizes(entries, &params, flags, kernel.cqes_offset).expect("sizes");
            setup(entries, &mut params).expect("a ring");
            let cqe_size = if flags.contains(SetupFlags::CQE32) { 32 } else { 16 };
            let cqes_end = params.cq_off.cqes as usize + params.cq_entries as usize * cqe_size;
            let array_end = params.sq_off.array as usize + 4 * params.sq_entries as usize;
            let end = if flags.contains(SetupFlags::NO_SQARRAY) { cqes_end } else { array_end };
            assert_eq!(rings, page_align(end), "{entries} {flags:?}");
            let sqe_size = if flags.contains(SetupFlags::SQE128) { 128 } else { 64 };
            assert_eq!(sqes, page_align(params.sq_entries as usize * sqe_size));
        }
        assert_eq!(sizes(0, &Params::default(), none, 64), Err(Errno::INVAL));
        assert_eq!(sizes(8, &Params::default(), cq, 64), Err(Errno::INVAL));
    }
}
