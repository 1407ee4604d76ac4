//! What depends on the processor: how seccomp filters see system calls, and values of few flags.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as processor;
#[cfg(target_arch = "x86_64")]
use x86_64 as processor;

/// `seccomp_data.arch` of calls that 64-bit programs make (`include/uapi/linux/audit.h`).
pub const AUDIT_ARCH: u32 = processor::AUDIT_ARCH;
/// `seccomp_data.arch` of calls by the 32-bit table. io_uring has the same numbers in every table.
pub const AUDIT_ARCH_32: u32 = processor::AUDIT_ARCH_32;
/// Bits that mark a call of the 64-bit kind as one by another table, whose numbers are mostly the same.
pub const MARKS: &[u32] = processor::MARKS;
/// The number of `seccomp` in the 32-bit table.
pub const SECCOMP_32: u32 = processor::SECCOMP_32;
/// What names of system calls begin with among the kernel's symbols (`syscall_wrapper.h`).
pub const SYMBOLS: &str = processor::SYMBOLS;
/// ELF's number of the processor (`e_machine`, `include/uapi/linux/elf-em.h`).
pub const ELF_MACHINE: u16 = processor::ELF_MACHINE;

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
compile_error!("Ringwarden knows x86-64 and aarch64, and no other processor");

pub(crate) use processor::{O_DIRECTORY, O_LARGEFILE, O_NOFOLLOW};
