//! Where a program may write, as `/proc/PID/maps` has it.

use crate::program::proc;
use rustix::io::Errno;
use rustix::process::Pid;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// `PROCMAP_QUERY`, of a `struct procmap_query` (`include/uapi/linux/fs.h`, Linux 6.11).
const PROCMAP_QUERY: u64 = 0xc068_6611;
/// `PROCMAP_QUERY_VMA_WRITABLE`.
const WRITABLE: u64 = 2;

/// `struct procmap_query`, 104 bytes.
#[derive(Default)]
#[repr(C)]
struct Query {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    /// What is told of files, names and build identifiers.
    rest: [u64; 7],
}

const _: () = assert!(size_of::<Query>() == 104);

/// The file of one task. It stays with the address space that it was opened for.
#[derive(Debug)]
pub(crate) struct Maps(File);

impl Maps {
    /// # Errors
    /// As of [`proc::text`].
    pub(crate) fn open(tid: Pid) -> Result<Self, Errno> {
        proc::open(tid, "maps").map(Self)
    }

    /// Whether all of `range` is mapped for writing. Asks for the mappings there, or reads all on kernels before
    /// 6.11.
    ///
    /// # Errors
    /// Those of reading the file.
    pub(crate) fn are_writable(&self, range: &Range<u64>) -> Result<bool, Errno> {
        let mut at = range.start;
        while at < range.end {
            match self.mapping_at(at) {
                Ok(mapping) if mapping.vma_flags & WRITABLE != 0 => at = mapping.vma_end,
                Ok(_) | Err(Errno::NOENT) => return Ok(false),
                Err(Errno::NOTTY) => return self.text().map(|maps| shows_writable(&maps, range)),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The mapping that holds an address.
    ///
    /// # Errors
    /// `ENOENT` for none, `ENOTTY` where the kernel cannot be asked.
    fn mapping_at(&self, address: u64) -> Result<Query, Errno> {
        let mut query = Query { size: size_of::<Query>() as u64, query_addr: address, ..Query::default() };
        // SAFETY: the structure has the size that the request names, and asks for no name and no identifier,
        // which would have buffers of their own.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), PROCMAP_QUERY, &raw mut query) } {
            -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
            _ => Ok(query),
        }
    }

    fn text(&self) -> Result<String, Errno> {
        let mut bytes = Vec::new();
        let read = (&self.0).read_to_end(&mut bytes);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Whether the text of such a file shows all of a range as writable.
fn shows_writable(maps: &str, range: &Range<u64>) -> bool {
    let mut at = range.start;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(mapped), Some(rights)) = (words.next(), words.next()) else { continue };
        let Some((first, last)) = mapped.split_once('-') else { continue };
        let bounds = [first, last].map(|text| u64::from_str_radix(text, 16));
        let [Ok(first), Ok(last)] = bounds else { continue };
        if at >= range.end {
            break;
        }
        if (first..last).contains(&at) && rights.as_bytes().get(1) == Some(&b'w') {
            at = last;
        }
    }
    at >= range.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

    #[test]
    fn only_what_is_writable_throughout_is() {
        let maps = "1000-3000 rw-p 00000000 00:00 0\n3000-4000 rw-s 00000000 00:01 7 /a b\n\
                    4000-5000 r--p 00000000 00:00 0\n6000-7000 rw-p 00000000 00:00 0\n";
        for (address, len, expected) in [
            (0x1000, 0x10, true),
            (0x2ff8, 0x10, true),
            (0x1000, 0x3000, true),
            (0x1000, 0x3001, false),
            (0x3ff8, 0x10, false),
            (0x4000, 1, false),
            (0x5000, 1, false),
            (0x5ff8, 0x10, false),
            (0x6000, 0x1000, true),
            (0xfff, 2, false),
        ] {
            assert_eq!(shows_writable(maps, &(address..address + len)), expected, "{address:#x} + {len:#x}");
        }
    }

    /// Asked or read, it says the same of three pages, of which the middle one may be read only.
    #[test]
    fn a_question_and_the_text_agree() {
        const PAGE: u64 = 4096;
        // SAFETY: a new mapping, which nobody else has.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                3 * PAGE as usize,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        let start = start.expect("memory");
        // SAFETY: within it.
        let middle = unsafe { start.byte_add(PAGE as usize) };
        let first = start.addr() as u64;
        let maps = || Maps::open(rustix::thread::gettid()).expect("maps");
        for protection in [MprotectFlags::READ | MprotectFlags::WRITE, MprotectFlags::READ] {
            // SAFETY: a page of it.
            unsafe { mprotect(middle, PAGE as usize, protection) }.expect("mprotect");
            for (from, to) in
                [(0, PAGE), (0, PAGE + 1), (PAGE - 8, 2 * PAGE), (2 * PAGE, 3 * PAGE), (0, 3 * PAGE)]
            {
                let range = first + from..first + to;
                let expected = protection.contains(MprotectFlags::WRITE) || to <= PAGE || from >= 2 * PAGE;
                assert_eq!(maps().are_writable(&range), Ok(expected), "{from} to {to}");
                let text = maps().text().expect("text");
                assert_eq!(shows_writable(&text, &range), expected, "{from} to {to}");
            }
        }
        assert_eq!(maps().are_writable(&(0..1)), Ok(false), "nothing is there");
    }
}
