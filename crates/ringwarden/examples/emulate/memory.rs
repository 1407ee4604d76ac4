//! The submitter's memory, which requests point into.

use ringwarden::filter::{Errno, UserMemory};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Where it begins, as requests see it.
const START: u64 = 0x1_0000;

/// A few pages. Either side may write to every byte at any time.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes: Box<[AtomicU8]>,
    used: AtomicUsize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { bytes: (0..4 * 4096).map(|_| AtomicU8::new(0)).collect(), used: AtomicUsize::new(0) }
    }
}

impl Memory {
    /// Puts bytes where nothing has been before, and gives their address.
    pub(crate) fn place(&self, bytes: &[u8]) -> u64 {
        let address = START + self.used.fetch_add(bytes.len(), Ordering::Relaxed) as u64;
        // What has no room is at an address that cannot be read.
        let _ = self.store(address, bytes);
        address
    }

    /// What a READ does.
    pub(crate) fn store(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        for (shared, byte) in self.range(address, bytes.len())?.iter().zip(bytes) {
            shared.store(*byte, Ordering::Relaxed);
        }
        Ok(())
    }

    fn range(&self, address: u64, len: usize) -> Result<&[AtomicU8], Errno> {
        let start = address.checked_sub(START).and_then(|start| usize::try_from(start).ok());
        let range = start.and_then(|start| self.bytes.get(start..start.checked_add(len)?));
        range.ok_or(Errno::EFAULT)
    }
}

impl UserMemory for Memory {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let range = self.range(address, bytes.len())?;
        for (byte, shared) in bytes.iter_mut().zip(range) {
            *byte = shared.load(Ordering::Relaxed);
        }
        Ok(())
    }
}
