//! Arguments out of the program's reach.
//!
//! OPENAT2 and CONNECT point at their arguments, and the program could change them between verdict
//! and use. So the guard judges a copy and has the kernel read that copy: a page that the guard
//! writes and the program only has read-only, sealed in its address space so that nothing else can
//! take its place (`mseal(2)`, Linux 6.10), of a memfd that cannot be mapped for writing any more
//! (`F_SEAL_FUTURE_WRITE`). Every private SQE has an argument slot of its own, so that an approved
//! request that is replayed finds the argument it was approved with.
//!
//! The mapping is made by injection, which proves nothing, and is believed only after the kernel has
//! shown it in `smaps`: the right file, read-only, and sealed.

use crate::inject::Injection;
use crate::mapping::{Mapping, page_align};
use crate::tasks::{Space, SpaceId};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create, open,
};
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::HashMap;
use std::io::BufRead;
use std::sync::atomic::Ordering;

/// Bytes of one argument slot: the longest address (`struct sockaddr_storage`).
pub(crate) const SLOT: usize = 128;
const SYS_MSEAL: i64 = 462;
/// Where the slots begin in the memfd: not at an offset at which the guard's own seccomp filter
/// would stop the injected `mmap`.
const OFFSET: u64 = crate::seccomp::RINGS_OFFSET;

/// The argument slots of one ring.
#[derive(Debug)]
pub(crate) struct Arena {
    memory: Mapping,
    /// Opened read-only: what the program maps.
    file: OwnedFd,
    inode: u64,
    mapped: HashMap<SpaceId, u64>,
}

impl Arena {
    /// Makes an arena of `slots` argument slots.
    pub(crate) fn new(slots: u32) -> Result<Self, Errno> {
        let len = page_align(slots as usize * SLOT);
        let writable = memfd_create("io_uring-arguments", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&writable, OFFSET + len as u64)?;
        let memory = Mapping::shared(&writable, OFFSET, len)?;
        fcntl_add_seals(
            &writable,
            SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        let path = format!("/proc/self/fd/{}", rustix::fd::AsRawFd::as_raw_fd(&writable));
        let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let inode = fstat(&file)?.st_ino;
        Ok(Self { memory, file, inode, mapped: HashMap::new() })
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Where the arena is for thread `tid`, whose address space is `space`; `None` when it has to be
    /// mapped first.
    pub(crate) fn address(&mut self, tid: Pid, space: Space) -> Option<u64> {
        let address = *self.mapped.get(&space.id)?;
        if space.doubtful && !self.is_sealed_at(tid, address) {
            self.mapped.remove(&space.id);
            return None;
        }
        Some(address)
    }

    /// Maps the arena into the address space of a stopped thread, where `fd` is its descriptor of
    /// [`Arena::file`].
    ///
    /// # Errors
    /// `EACCES` when the mapping is not there or not sealed afterwards.
    pub(crate) fn map(
        &mut self,
        injection: &mut Injection,
        tid: Pid,
        space: Space,
        fd: i32,
    ) -> Result<(), Errno> {
        let len = self.memory.len() as u64;
        let protection = libc::PROT_READ as u64;
        let flags = libc::MAP_SHARED as u64;
        let address = injection.syscall(libc::SYS_mmap, [0, len, protection, flags, fd as u64, OFFSET])?;
        let address = u64::try_from(address).map_err(|_| Errno::ACCESS)?;
        injection.syscall(SYS_MSEAL, [address, len, 0, 0, 0, 0])?;
        if !self.is_sealed_at(tid, address) {
            return Err(Errno::ACCESS);
        }
        self.mapped.insert(space.id, address);
        Ok(())
    }

    /// Writes the argument of `slot`, padded with zeroes.
    pub(crate) fn store(&self, slot: u32, argument: &[u8]) {
        let words = self.memory.words(slot as usize * SLOT, SLOT / 8);
        for (index, word) in words.iter().enumerate() {
            let mut bytes = [0; 8];
            let rest = argument.get(index * 8..).unwrap_or_default();
            let count = rest.len().min(8);
            bytes[..count].copy_from_slice(&rest[..count]);
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }

    /// Whether the kernel shows this arena, whole, read-only and sealed, at `address` of `tid`.
    fn is_sealed_at(&self, tid: Pid, address: u64) -> bool {
        let Ok(smaps) = std::fs::File::open(format!("/proc/{}/smaps", tid.as_raw_nonzero())) else {
            return false;
        };
        let end = address + self.memory.len() as u64;
        let start = format!("{address:08x}-{end:08x} r--s {OFFSET:08x} ");
        shows_sealed(std::io::BufReader::new(smaps), &start, self.inode)
    }
}

/// Looks in the text of an `smaps` file for the mapping whose line begins with `start`, of that
/// inode, with the flag `sl`.
fn shows_sealed(smaps: impl BufRead, start: &str, inode: u64) -> bool {
    let mut lines = smaps.lines().map_while(Result::ok);
    let Some(header) = lines.find(|line| line.starts_with(start)) else { return false };
    // The fields after the offset: device, inode, path.
    if header[start.len()..].split_whitespace().nth(1) != Some(inode.to_string().as_str()) {
        return false;
    }
    lines
        .find_map(|line| {
            line.strip_prefix("VmFlags:").map(|flags| flags.split_whitespace().any(|f| f == "sl"))
        })
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "7f0000000000-7f0000001000 r--s 00000000 00:01 1234    /memfd:io_uring-arguments (deleted)\n\
                         Size:                  4 kB\n\
                         VmFlags: rd sh mr me ms sl \n\
                         7f0000002000-7f0000003000 r--s 00000000 00:01 1234    /memfd:io_uring-arguments (deleted)\n\
                         VmFlags: rd sh mr me ms \n\
                         7f0000004000-7f0000005000 rw-s 00000000 00:01 1234    /memfd:io_uring-arguments (deleted)\n\
                         VmFlags: rd wr sh mr me ms sl \n";

    #[test]
    fn only_the_right_file_read_only_and_sealed_counts() {
        for (start, inode, expected) in [
            ("7f0000000000-7f0000001000 r--s 00000000 ", 1234, true),
            ("7f0000000000-7f0000001000 r--s 00000000 ", 1235, false),
            ("7f0000002000-7f0000003000 r--s 00000000 ", 1234, false),
            ("7f0000004000-7f0000005000 r--s 00000000 ", 1234, false),
            ("7f0000006000-7f0000007000 r--s 00000000 ", 1234, false),
        ] {
            assert_eq!(shows_sealed(SMAPS.as_bytes(), start, inode), expected, "{start}{inode}");
        }
    }
}
