//! An address space for programs that do not exist.

use ringwarden_filter::{Errno, UserMemory};

const PAGE: usize = 4096;

/// Mappings with unmapped pages between them, none near address 0.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    mappings: Vec<Mapping>,
}

#[derive(Debug)]
struct Mapping {
    start: u64,
    bytes: Vec<u8>,
    writable: bool,
}

impl Memory {
    /// Maps pages that start with `bytes`; the rest are zeros.
    pub(crate) fn map(&mut self, bytes: &[u8], writable: bool) -> u64 {
        let mut pages = bytes.to_vec();
        pages.resize(bytes.len().next_multiple_of(PAGE).max(PAGE), 0);
        let end = self.mappings.last().map_or(0x10_0000, |last| last.start + last.bytes.len() as u64);
        let start = end + PAGE as u64;
        self.mappings.push(Mapping { start, bytes: pages, writable });
        start
    }

    /// Maps `bytes` so that the last `missing` of them would lie in a page that is not mapped.
    pub(crate) fn map_cut_short(&mut self, bytes: &[u8], missing: usize) -> u64 {
        let there = &bytes[..bytes.len() - missing];
        let padding = there.len().next_multiple_of(PAGE) - there.len();
        self.map(&[&vec![0; padding], there].concat(), true) + padding as u64
    }

    fn find(&self, address: u64, len: usize) -> Result<(usize, usize), Errno> {
        let holds = |mapping: &Mapping| {
            let offset = usize::try_from(address.checked_sub(mapping.start)?).ok()?;
            (offset.checked_add(len)? <= mapping.bytes.len()).then_some(offset)
        };
        // The newest is what is most often asked for.
        let mut found =
            self.mappings.iter().enumerate().rev().filter_map(|(index, m)| Some((index, holds(m)?)));
        found.next().ok_or(Errno::EFAULT)
    }
}

impl UserMemory for Memory {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let (index, offset) = self.find(address, bytes.len())?;
        bytes.copy_from_slice(&self.mappings[index].bytes[offset..][..bytes.len()]);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let (index, offset) = self.find(address, bytes.len())?;
        let mapping = &mut self.mappings[index];
        if !mapping.writable {
            return Err(Errno::EFAULT);
        }
        mapping.bytes[offset..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}
