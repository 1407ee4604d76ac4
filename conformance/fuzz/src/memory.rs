//! The memory that registrations and requests point at: the same addresses and bytes for both sides.

use ringwarden_filter::{Errno, UserMemory};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use std::io;
use std::ptr::{null_mut, with_exposed_provenance_mut};

const PAGE: usize = 4096;
/// For everything that a step places and that does not have to end where memory ends: a program of 4096
/// instructions, or a queue full of paths that are too long.
const ORDINARY: usize = 64 * PAGE;
/// Pages with nothing behind them.
const LEDGES: usize = 16;

/// Nothing is mapped there.
pub(crate) const UNMAPPED: u64 = 8;

/// One mapping: ordinary memory, then pages of which every other one is there.
#[derive(Debug)]
pub(crate) struct Memory {
    start: usize,
    used: usize,
    ledges: usize,
}

impl Memory {
    /// # Errors
    /// What mapping it answered.
    pub(crate) fn new() -> io::Result<Self> {
        let len = ORDINARY + PAGE + 2 * LEDGES * PAGE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let start = unsafe {
            mmap_anonymous(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
        };
        let memory = Self { start: start.expose_provenance(), used: 0, ledges: 0 };
        for gap in std::iter::once(ORDINARY).chain((0..LEDGES).map(|ledge| Self::ledge(ledge) + PAGE)) {
            // SAFETY: a page of our own, which nothing refers to.
            unsafe { mprotect(memory.pointer(gap).cast(), PAGE, MprotectFlags::empty())? };
        }
        Ok(memory)
    }

    /// Where a ledge is, from the start.
    const fn ledge(ledge: usize) -> usize {
        ORDINARY + PAGE + 2 * ledge * PAGE
    }

    fn pointer(&self, offset: usize) -> *mut u8 {
        with_exposed_provenance_mut(self.start + offset)
    }

    /// A step begins: what the one before has placed is not needed any more. Who reads too far finds zeros
    /// there, not what one of the sides has left behind.
    pub(crate) fn clear(&mut self) {
        // SAFETY: the first `used` bytes of the ordinary memory, to which no reference ever exists.
        unsafe { self.pointer(0).write_bytes(0, self.used) };
        (self.used, self.ledges) = (0, 0);
    }

    /// Places bytes, with `at_the_end` so that nothing can be read behind them, and gives their address;
    /// [`UNMAPPED`] if there is no room.
    pub(crate) fn place(&mut self, bytes: &[u8], at_the_end: bool) -> u64 {
        let offset = if at_the_end && self.ledges < LEDGES && bytes.len() <= PAGE {
            self.ledges += 1;
            Self::ledge(self.ledges - 1) + PAGE - bytes.len()
        } else if bytes.len() <= ORDINARY - self.used {
            let offset = self.used;
            self.used = (self.used + bytes.len()).next_multiple_of(8).min(ORDINARY);
            offset
        } else {
            return UNMAPPED;
        };
        // SAFETY: a range inside the readable and writable part of the mapping, as computed above, and
        // no reference into the mapping ever exists.
        unsafe { self.pointer(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        (self.start + offset) as u64
    }

    /// The offset of a range that can be read, from the start.
    fn find(&self, address: u64, len: usize) -> Result<usize, Errno> {
        let offset = usize::try_from(address).ok().and_then(|address| address.checked_sub(self.start));
        let there = |&offset: &usize| match offset {
            ..ORDINARY => len <= ORDINARY - offset,
            _ => {
                let ledge = offset.saturating_sub(ORDINARY + PAGE) / (2 * PAGE);
                let start = Self::ledge(ledge);
                ledge < LEDGES && (start..=start + PAGE).contains(&offset) && len <= start + PAGE - offset
            }
        };
        offset.filter(there).ok_or(Errno::EFAULT)
    }
}

impl UserMemory for Memory {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let offset = self.find(address, bytes.len())?;
        // SAFETY: `find` has made sure of the range, and no reference into the mapping ever exists.
        unsafe { self.pointer(offset).copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let offset = self.find(address, bytes.len())?;
        // SAFETY: as above; all that can be read can be written.
        unsafe { self.pointer(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_ends_behind_what_is_placed_at_the_end() {
        let mut memory = Memory::new().expect("a mapping");
        for at_the_end in [false, true, true] {
            let address = memory.place(b"filter", at_the_end);
            let mut bytes = [0; 6];
            assert_eq!((memory.read(address, &mut bytes), &bytes), (Ok(()), b"filter"));
            let further = memory.read(address, &mut [0; 7]);
            assert_eq!(further, if at_the_end { Err(Errno::EFAULT) } else { Ok(()) });
        }
        assert_eq!(memory.read(UNMAPPED, &mut [0]), Err(Errno::EFAULT));
    }

    #[test]
    fn what_does_not_fit_is_nowhere() {
        let mut memory = Memory::new().expect("a mapping");
        assert_ne!(memory.place(&[3; ORDINARY], false), UNMAPPED);
        assert_eq!(memory.place(&[0], false), UNMAPPED);
        memory.clear();
        let address = memory.place(&[1], false);
        let mut bytes = [2; 2];
        assert_eq!((memory.read(address, &mut bytes), bytes), (Ok(()), [1, 0]));
    }
}
