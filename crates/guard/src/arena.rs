//! Arguments out of the program's reach.
//!
//! OPENAT2 and CONNECT point at their arguments, and the program could change them between verdict
//! and use. So the guard judges a copy and has the kernel read that copy, in memory that the guard
//! writes and the program only has read-only: of a memfd that cannot be mapped for writing any more
//! (`F_SEAL_FUTURE_WRITE`), sealed in the program's address space so that nothing else can take its
//! place (`mseal(2)`, Linux 6.10).
//!
//! An approved SQE holds an *address*, and whoever submits to the ring has the kernel read what his own
//! address space has there. So there is one arena for the whole tree, at one address, and under rules
//! that look at arguments no thread submits anything before its address space has it. A forked child,
//! a process that was handed the ring, and a program after an exec all find the same approved
//! argument, or cannot submit.
//!
//! Every private SQE of every ring has an argument slot of its own, so that an approved request that is
//! replayed finds the argument it was approved with.
//!
//! The mapping is made by injection, which proves nothing, and is believed only after the kernel has
//! shown it in `smaps`: the right file, read-only, and sealed.

use crate::inject::Injection;
use crate::mapping::Mapping;
use crate::memory::Caller;
use crate::plan::RINGS_OFFSET;
use crate::tasks::Space;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, major, memfd_create, minor, open,
};
use rustix::io::Errno;
use rustix::process::Pid;
use std::io::BufRead;
use std::sync::atomic::Ordering;

/// Bytes of one argument slot: the longest address (`struct sockaddr_storage`).
pub(crate) const SLOT: usize = 128;
/// Argument slots of a tree. Pages are used only where something was written.
const SLOTS: u32 = 1 << 17;
const LEN: usize = SLOTS as usize * SLOT;
/// Where every address space of the tree has the arena: below what the kernel chooses for programs that
/// can be anywhere and for mappings, of either layout and whatever the randomisation (`ELF_ET_DYN_BASE`,
/// `mmap_base`, `TASK_UNMAPPED_BASE`), and far above the heaps of other programs. So `smaps`, which takes
/// longer the more memory it has told of, soon comes to it.
const ADDRESS: u64 = 0x2000_0000_0000;
/// In the memfd, for the reason that `RINGS_OFFSET` has.
const OFFSET: u64 = RINGS_OFFSET;
const SYS_MSEAL: i64 = 462;

/// Whether mappings can be sealed at all.
///
/// # Errors
/// `ENOSYS`, or what a seccomp filter says.
pub(crate) fn can_be_sealed() -> Result<(), Errno> {
    // SAFETY: seals nothing: the range is empty.
    match unsafe { libc::syscall(SYS_MSEAL, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::NOSYS)),
    }
}

/// The arguments of a tree.
#[derive(Debug)]
pub(crate) struct Arena {
    memory: Mapping,
    /// Opened read-only: what the program maps.
    file: OwnedFd,
    /// The file as `smaps` names it.
    device: String,
    inode: String,
    /// Slots from here on have never been reserved.
    unused: u32,
    /// Slots that were given back: first and count.
    free: Vec<(u32, u32)>,
}

impl Arena {
    pub(crate) fn new() -> Result<Self, Errno> {
        let writable = memfd_create("io_uring-arguments", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&writable, OFFSET + LEN as u64)?;
        let memory = Mapping::shared(&writable, OFFSET, LEN)?;
        fcntl_add_seals(
            &writable,
            SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        let path = format!("/proc/self/fd/{}", writable.as_raw_fd());
        let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&file)?;
        Ok(Self {
            memory,
            file,
            device: format!("{:02x}:{:02x}", major(stat.st_dev), minor(stat.st_dev)),
            inode: stat.st_ino.to_string(),
            unused: 0,
            free: Vec::new(),
        })
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Reserves `count` slots for a ring and gives the first; `None` when there are not that many.
    pub(crate) fn reserve(&mut self, count: u32) -> Option<u32> {
        if let Some(index) = self.free.iter().position(|&(_, free)| free == count) {
            return Some(self.free.swap_remove(index).0);
        }
        let first = self.unused;
        self.unused = first.checked_add(count).filter(|&end| end <= SLOTS)?;
        Some(first)
    }

    /// Gives slots back, of a ring that nobody can submit to any more.
    pub(crate) fn release(&mut self, first: u32, count: u32) {
        self.free.push((first, count));
    }

    /// Whether the address space of a thread that waits for an answer has the arena.
    pub(crate) fn is_in(&self, memory: &Caller<'_>, space: Space<'_>) -> bool {
        if !*space.has_arena || space.doubtful {
            // A forked child has it from its parent.
            *space.has_arena = self.is_sealed(memory.tid) && memory.listener.is_valid(memory.id);
        }
        *space.has_arena
    }

    /// Maps the arena into the address space of a stopped thread, where `fd` is its descriptor of
    /// [`Arena::file`]. What came of it, [`Arena::is_in`] tells.
    pub(crate) fn map(injection: &mut Injection, fd: i32) -> Result<(), Errno> {
        let protection = libc::PROT_READ as u64;
        let flags = (libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE) as u64;
        let len = LEN as u64;
        injection.syscall(libc::SYS_mmap, [ADDRESS, len, protection, flags, fd as u64, OFFSET])?;
        injection.syscall(SYS_MSEAL, [ADDRESS, len, 0, 0, 0, 0])?;
        Ok(())
    }

    /// Where programs have an argument slot.
    pub(crate) fn address_of(slot: u32) -> u64 {
        ADDRESS + u64::from(slot) * SLOT as u64
    }

    /// Writes the argument of `slot`.
    pub(crate) fn store(&self, slot: u32, argument: &[u8; SLOT]) {
        for (word, value) in self.words(slot).iter().zip(words_of(argument)) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Whether `slot` holds that argument.
    pub(crate) fn holds(&self, slot: u32, argument: &[u8; SLOT]) -> bool {
        self.words(slot)
            .iter()
            .zip(words_of(argument))
            .all(|(word, value)| word.load(Ordering::Relaxed) == value)
    }

    fn words(&self, slot: u32) -> &[std::sync::atomic::AtomicU64] {
        self.memory.words(slot as usize * SLOT, SLOT / 8)
    }

    /// Whether the kernel shows the arena, whole, read-only and sealed, in its place in `tid`'s memory.
    pub(crate) fn is_sealed(&self, tid: Pid) -> bool {
        let Ok(smaps) = std::fs::File::open(format!("/proc/{}/smaps", tid.as_raw_nonzero())) else {
            return false;
        };
        // The kernel looks at as many mappings as fill what is asked for.
        let smaps = std::io::BufReader::with_capacity(512, smaps);
        shows_sealed(smaps, &self.device, &self.inode)
    }
}

fn words_of(argument: &[u8; SLOT]) -> impl Iterator<Item = u64> + '_ {
    argument.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// Looks in the text of an `smaps` file for the arena's mapping: its range, rights, offset, device and
/// inode, with the flag `sl`.
fn shows_sealed(smaps: impl BufRead, device: &str, inode: &str) -> bool {
    let range = format!("{:08x}-{:08x}", ADDRESS, ADDRESS + LEN as u64);
    let offset = format!("{OFFSET:08x}");
    let wanted = [range.as_str(), "r--s", offset.as_str(), device, inode];
    let mut lines = smaps.lines().map_while(Result::ok);
    lines.any(|line| line.split_whitespace().take(wanted.len()).eq(wanted))
        && lines
            .find_map(|line| {
                let flags = line.strip_prefix("VmFlags:")?;
                Some(flags.split_whitespace().any(|flag| flag == "sl"))
            })
            .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smaps(range: &str, rights: &str, device: &str, inode: &str, flags: &str) -> String {
        format!(
            "55d0c0000000-55d0c0001000 r--s 00001000 00:01 1234    /elsewhere\nVmFlags: rd sh sl \n\
             {range} {rights} 00001000 {device} {inode}    /memfd:io_uring-arguments (deleted)\n\
             Size:    16384 kB\nVmFlags: {flags} \n\
             7f0000002000-7f0000003000 r--s 00001000 00:01 1234    /elsewhere\nVmFlags: rd sh sl \n"
        )
    }

    #[test]
    fn only_the_right_file_in_its_place_read_only_and_sealed_counts() {
        let place = "200000000000-200001000000";
        for (range, rights, device, inode, flags, expected) in [
            (place, "r--s", "00:01", "1234", "rd sh mr me ms sl", true),
            (place, "r--s", "00:01", "1234", "rd sh mr me ms", false),
            (place, "rw-s", "00:01", "1234", "rd wr sh sl", false),
            (place, "r--p", "00:01", "1234", "rd sl", false),
            (place, "r--s", "00:2a", "1234", "rd sh sl", false),
            (place, "r--s", "00:01", "1235", "rd sh sl", false),
            ("200000000000-200000fff000", "r--s", "00:01", "1234", "rd sh sl", false),
            ("200000001000-200001000000", "r--s", "00:01", "1234", "rd sh sl", false),
        ] {
            let text = smaps(range, rights, device, inode, flags);
            assert_eq!(shows_sealed(text.as_bytes(), "00:01", "1234"), expected, "{text}");
        }
    }

    #[test]
    fn slots_are_reserved_once_and_come_back() {
        let mut arena = Arena::new().expect("memory");
        let first = arena.reserve(64).expect("slots");
        let second = arena.reserve(64).expect("slots");
        assert_eq!(second, first + 64);
        arena.release(first, 64);
        assert_eq!(arena.reserve(64), Some(first));
        assert_eq!(arena.reserve(SLOTS), None);
        let mut argument = [7; SLOT];
        arena.store(second, &argument);
        assert!(arena.holds(second, &argument));
        argument[SLOT - 1] = 8;
        assert!(!arena.holds(second, &argument));
    }
}
