//! x86-64, with the tables of i386 and x32.

/// `AUDIT_ARCH_X86_64`.
pub(super) const AUDIT_ARCH: u32 = 0xc000_003e;
/// `AUDIT_ARCH_I386`.
pub(super) const AUDIT_ARCH_32: u32 = 0x4000_0003;
/// `__X32_SYSCALL_BIT`.
pub(super) const MARKS: &[u32] = &[0x4000_0000];
/// `syscall_32.tbl`.
pub(super) const SECCOMP_32: u32 = 354;
pub(super) const SYMBOLS: &str = "__x64_sys_";
/// `EM_X86_64`.
pub(super) const ELF_MACHINE: u16 = 62;

// `include/uapi/asm-generic/fcntl.h`
pub(crate) const O_DIRECTORY: u64 = 0o200000;
pub(crate) const O_NOFOLLOW: u64 = 0o400000;
pub(crate) const O_LARGEFILE: u64 = 0o100000;
