//! The program's own memory, which the kernel copies arguments from.

use crate::Errno;

/// The memory of the program that makes the call, byte by byte addressed.
///
/// What is read may change between two reads; nothing here reads the same byte twice.
pub trait UserMemory {
    /// Fills `bytes` from `address` on.
    ///
    /// # Errors
    /// EFAULT if not all of it can be read.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno>;

    /// Stores `bytes` from `address` on. Only registrations do; by default nothing can be written.
    ///
    /// # Errors
    /// EFAULT if not all of it can be written.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let _ = (address, bytes);
        Err(Errno::EFAULT)
    }
}
