//! Memory that requests point at, read by the caller's own function or by the library's.

use crate::abi::Read;
use ringwarden::filter::{Errno, UserMemory};
use std::ffi::c_void;

/// Memory behind a function of the caller's.
pub(crate) struct Callers {
    read: Read,
    context: *mut c_void,
}

impl Callers {
    /// # Safety
    /// As long as the value lives the function can be called with that context.
    pub(crate) unsafe fn new(read: Read, context: *mut c_void) -> Self {
        Self { read, context }
    }
}

impl UserMemory for Callers {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        // SAFETY: the promise of whoever made this; the bytes are there to be written.
        let result = unsafe { (self.read)(self.context, address, bytes.as_mut_ptr().cast(), bytes.len()) };
        // Whatever a caller says of it: to the kernel there is one error.
        if result == 0 { Ok(()) } else { Err(Errno::EFAULT) }
    }

    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
}

/// Copies from the calling process by its own address; false where not all of it can be read.
///
/// # Safety
/// `bytes` leads to memory for `length` bytes that nobody else uses.
pub(crate) unsafe fn copy_own(address: u64, bytes: *mut c_void, length: usize) -> bool {
    let Ok(from) = usize::try_from(address) else { return false };
    let local = libc::iovec { iov_base: bytes, iov_len: length };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(from), iov_len: length };
    // SAFETY: the caller's promise for what is written; what is read the kernel looks at, not this process.
    let copied =
        unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(copied) == Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_no_fault() {
        let from = *b"ringwarden";
        let mut to = [0; 10];
        let address = from.as_ptr().expose_provenance() as u64;
        // SAFETY: memory for so many bytes.
        assert!(unsafe { copy_own(address, to.as_mut_ptr().cast(), to.len()) });
        assert_eq!(to, from);
        for nowhere in [0, 1, u64::MAX] {
            // SAFETY: the same.
            assert!(!unsafe { copy_own(nowhere, to.as_mut_ptr().cast(), to.len()) });
        }
    }
}
