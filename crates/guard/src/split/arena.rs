//! Arguments out of the program's reach.
//!
//! OPENAT2, CONNECT and BIND point at their arguments, and the program could change them between verdict
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
//! shown it in `smaps`: the right file, read-only, and sealed. Device and inode do not tell the file: a
//! System V segment lies on the same file system as a memfd, and its inode is its identifier, which
//! programs can choose (`shm_create`, `ipc/shm.c`). Its name does: no file but a memfd shows as
//! `/memfd:…`, and no two memfds have the same inode (64 bits, counted up: `shmem_reserve_inode`). Beyond
//! that, the memory has to show what the guard has just written.

use crate::mapping::{self, Mapping, PAGE};
use crate::program::credentials::as_its_user;
use crate::program::inject::Injection;
use crate::program::memory::Caller;
use crate::split::plan::RINGS_OFFSET;
use ringwarden_uapi::payload::SOCKADDR_MAX;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, major, memfd_create, minor, open,
};
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::BufRead;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of one argument slot: the longest that kernels copy whole is an address.
pub(crate) const SLOT: usize = SOCKADDR_MAX;
/// What one holds.
pub(crate) type Argument = [u8; SLOT];
/// Argument slots of a tree, enough for every ring that it can have at the smallest size, and for 64 at
/// the largest. Pages are used only where something was written.
const SLOTS: u32 = 1 << 21;
/// The first page is for challenges.
const FIRST: u32 = (PAGE / SLOT) as u32;
const LEN: usize = SLOTS as usize * SLOT;
/// Where every address space of the tree has the arena: below what the kernel chooses for programs that
/// can be anywhere and for mappings, of either layout and whatever the randomisation (`ELF_ET_DYN_BASE`,
/// `mmap_base`, `TASK_UNMAPPED_BASE`), and far above the heaps of other programs. So `smaps`, which takes
/// longer the more memory it has told of, soon comes to it.
const ADDRESS: u64 = 0x2000_0000_0000;
/// In the memfd, for the reason that `RINGS_OFFSET` has.
const OFFSET: u64 = RINGS_OFFSET;
const SYS_MSEAL: i64 = 462;

/// The arguments of a tree.
#[derive(Debug)]
pub(crate) struct Arena {
    memory: Mapping,
    /// Opened read-only: what the program maps.
    file: OwnedFd,
    /// The file as `smaps` names it.
    line: Line,
    free: Mutex<FreeSlots>,
    /// Makes challenges that nobody can foresee.
    random: RandomState,
    challenges: AtomicU64,
}

/// What a line of `smaps` says of the arena's file.
#[derive(Debug)]
struct Line {
    device: String,
    inode: String,
    name: String,
}

impl Arena {
    pub(crate) fn new() -> Result<Self, Errno> {
        let random = RandomState::new();
        let name = format!("io_uring-arguments-{:016x}{:016x}", random.hash_one(0), random.hash_one(1));
        let writable = memfd_create(&*name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&writable, OFFSET + LEN as u64)?;
        let memory = Mapping::shared(&writable, OFFSET, LEN)?;
        fcntl_add_seals(
            &writable,
            SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        let path = format!("/proc/self/fd/{}", writable.as_raw_fd());
        let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&file)?;
        let line = Line {
            device: format!("{:02x}:{:02x}", major(stat.st_dev), minor(stat.st_dev)),
            inode: stat.st_ino.to_string(),
            name: format!("/memfd:{name} (deleted)"),
        };
        let free = Mutex::new(FreeSlots::new(FIRST, SLOTS));
        Ok(Self { memory, file, line, free, random, challenges: AtomicU64::new(0) })
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Reserves `count` slots for a ring of a process that has `held` already, and gives the first. `None`
    /// when there are not that many together, or when the process would have more than it leaves to
    /// others.
    pub(crate) fn reserve(&self, count: u32, held: u32) -> Option<u32> {
        let mut free = self.free();
        if held.saturating_add(count) > free.count.saturating_sub(count) {
            return None;
        }
        free.take(count)
    }

    /// Gives slots back, of a ring that nobody can submit to any more.
    pub(crate) fn release(&self, first: u32, count: u32) {
        self.free().give_back(first, count);
    }

    fn free(&self) -> MutexGuard<'_, FreeSlots> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(crate) fn store(&self, slot: u32, argument: &Argument) {
        for (word, value) in self.words(slot).iter().zip(words_of(argument)) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Whether `slot` holds that argument.
    pub(crate) fn holds(&self, slot: u32, argument: &Argument) -> bool {
        self.words(slot)
            .iter()
            .zip(words_of(argument))
            .all(|(word, value)| word.load(Ordering::Relaxed) == value)
    }

    fn words(&self, slot: u32) -> &[mapping::AtomicU64] {
        self.memory.words(slot as usize * SLOT, SLOT / 8)
    }

    /// Whether the kernel shows the arena, whole, read-only and sealed, in its place in the memory of a
    /// thread that waits for an answer, and the memory shows what is written to the arena at this moment.
    /// Takes as long as the program likes.
    pub(crate) fn is_sealed_in(&self, memory: &Caller<'_>) -> bool {
        self.is_shown_in(memory) && self.is_answered_by(memory)
    }

    /// Whether the kernel shows the arena in the memory of a traced thread.
    pub(crate) fn is_shown_to(&self, thread: &Injection) -> bool {
        self.is_shown(thread.tid())
    }

    fn is_shown_in(&self, memory: &Caller<'_>) -> bool {
        self.is_shown(memory.tid) && memory.listener.is_valid(memory.id)
    }

    fn is_shown(&self, tid: Pid) -> bool {
        let path = format!("/proc/{}/smaps", tid.as_raw_nonzero());
        let smaps = as_its_user(tid, || {
            std::fs::File::open(&path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        });
        let Ok(smaps) = smaps else { return false };
        // The kernel looks at as many mappings as fill what is asked for.
        shows_sealed(std::io::BufReader::with_capacity(512, smaps), &self.line)
    }

    fn is_answered_by(&self, memory: &Caller<'_>) -> bool {
        const WORDS: u64 = (PAGE / 8) as u64;
        // A word of its own for each that may be under way.
        let number = self.challenges.fetch_add(1, Ordering::Relaxed);
        let at = number % WORDS * 8;
        let challenge = self.random.hash_one(number);
        self.memory.words(at as usize, 1)[0].store(challenge, Ordering::SeqCst);
        memory.read_value::<u64>(ADDRESS + at) == Ok(challenge)
    }
}

/// Ranges of slots that no ring has.
#[derive(Debug)]
struct FreeSlots {
    /// First and count, apart from each other.
    ranges: BTreeMap<u32, u32>,
    count: u32,
}

impl FreeSlots {
    /// All from `first` to before `end`.
    fn new(first: u32, end: u32) -> Self {
        Self { ranges: BTreeMap::from([(first, end - first)]), count: end - first }
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let (&first, &free) = self.ranges.iter().find(|&(_, &free)| free >= count)?;
        self.ranges.remove(&first);
        if free > count {
            self.ranges.insert(first + count, free - count);
        }
        self.count -= count;
        Some(first)
    }

    fn give_back(&mut self, mut first: u32, mut count: u32) {
        self.count += count;
        if let Some((&before, &free)) = self.ranges.range(..first).next_back()
            && before + free == first
        {
            self.ranges.remove(&before);
            (first, count) = (before, free + count);
        }
        if let Some(free) = self.ranges.remove(&(first + count)) {
            count += free;
        }
        self.ranges.insert(first, count);
    }
}

fn words_of(argument: &Argument) -> impl Iterator<Item = u64> + '_ {
    argument.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// Looks in the text of an `smaps` file for the arena's mapping: its range, rights, offset, device, inode
/// and name, with the flag `sl`. The kernel escapes line ends in names (`seq_file_path`), so that a line
/// is one.
fn shows_sealed(smaps: impl BufRead, line: &Line) -> bool {
    let range = format!("{:08x}-{:08x}", ADDRESS, ADDRESS + LEN as u64);
    let offset = format!("{OFFSET:08x}");
    let wanted = [&*range, "r--s", &*offset, &*line.device, &*line.inode];
    let is_arena = |text: &str| {
        let mut rest = text;
        wanted.iter().all(|&word| {
            let (first, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after;
            first == word
        }) && rest.trim_start() == line.name
    };
    // Paths of files need not be text.
    let lines = smaps.split(b'\n').map_while(Result::ok);
    let mut lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.any(|text| is_arena(&text))
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

    fn smaps(range: &str, rights: &str, device: &str, inode: &str, name: &str, flags: &str) -> String {
        format!(
            "55d0c0000000-55d0c0001000 r--s 00001000 00:01 1234    /else*where\nVmFlags: rd sh sl \n\
             {range} {rights} 00001000 {device} {inode}                    {name}\n\
             Size:    16384 kB\nVmFlags: {flags} \n\
             7f0000002000-7f0000003000 r--s 00001000 00:01 1234    /elsewhere\nVmFlags: rd sh sl \n"
        )
    }

    #[test]
    fn only_the_right_file_in_its_place_read_only_and_sealed_counts() {
        let place = "200000000000-200010000000";
        let name = "/memfd:a b (deleted)";
        let line = Line { device: "00:01".into(), inode: "1234".into(), name: name.into() };
        for (range, rights, device, inode, named, flags, expected) in [
            (place, "r--s", "00:01", "1234", name, "rd sh mr me ms sl", true),
            (place, "r--s", "00:01", "1234", name, "rd sh mr me ms", false),
            (place, "rw-s", "00:01", "1234", name, "rd wr sh sl", false),
            (place, "r--p", "00:01", "1234", name, "rd sl", false),
            (place, "r--s", "00:2a", "1234", name, "rd sh sl", false),
            (place, "r--s", "00:01", "1235", name, "rd sh sl", false),
            // What a System V segment with that identifier shows.
            (place, "r--s", "00:01", "1234", "/SYSV00000000 (deleted)", "rd sh sl", false),
            (place, "r--s", "00:01", "1234", "/memfd:a (deleted)", "rd sh sl", false),
            (place, "r--s", "00:01", "1234", "", "rd sh sl", false),
            ("200000000000-20000ffff000", "r--s", "00:01", "1234", name, "rd sh sl", false),
            ("200000001000-200010000000", "r--s", "00:01", "1234", name, "rd sh sl", false),
        ] {
            let text = smaps(range, rights, device, inode, named, flags);
            // The path before it is no text.
            let bytes: Vec<_> = text.bytes().map(|byte| if byte == b'*' { 0xff } else { byte }).collect();
            assert_eq!(shows_sealed(&*bytes, &line), expected, "{text}");
        }
    }

    #[test]
    fn slots_are_reserved_once_and_come_back_in_any_size() {
        let arena = Arena::new().expect("memory");
        let first = arena.reserve(64, 0).expect("slots");
        let second = arena.reserve(64, 64).expect("slots");
        assert_eq!(second, first + 64);
        let mut argument = [7; SLOT];
        arena.store(second, &argument);
        assert!(arena.holds(second, &argument));
        argument[SLOT - 1] = 8;
        assert!(!arena.holds(second, &argument));
        // Given back in any order they are one again.
        let large: Vec<_> = (0..4).map(|_| arena.reserve(32768, 0).expect("slots")).collect();
        for first in [large[1], large[3], large[0], large[2]] {
            arena.release(first, 32768);
        }
        arena.release(first, 64);
        arena.release(second, 64);
        assert_eq!(arena.free().ranges, BTreeMap::from([(FIRST, SLOTS - FIRST)]));
        assert_eq!(arena.free().count, SLOTS - FIRST);
    }

    #[test]
    fn a_process_leaves_half_of_what_there_is_to_others() {
        let arena = Arena::new().expect("memory");
        let mut held = 0;
        while arena.reserve(32768, held).is_some() {
            held += 32768;
        }
        assert!(held >= SLOTS / 2 - 2 * 32768, "{held}");
        assert!(arena.reserve(32768, 0).is_some(), "another process");
    }
}
