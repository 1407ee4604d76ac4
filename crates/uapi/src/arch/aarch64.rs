//! aarch64, with the table of 32-bit Arm programs.

/// `AUDIT_ARCH_AARCH64`.
pub(super) const AUDIT_ARCH: u32 = 0xc000_00b7;
/// `AUDIT_ARCH_ARM`.
pub(super) const AUDIT_ARCH_32: u32 = 0x4000_0028;
pub(super) const MARKS: &[u32] = &[];
/// `arch/arm64/tools/syscall_32.tbl`.
pub(super) const SECCOMP_32: u32 = 383;
pub(super) const SYMBOLS: &str = "__arm64_sys_";
/// `EM_AARCH64`.
pub(super) const ELF_MACHINE: u16 = 183;

// `arch/arm64/include/uapi/asm/fcntl.h`
pub(crate) const O_DIRECTORY: u64 = 0o40000;
pub(crate) const O_NOFOLLOW: u64 = 0o100000;
pub(crate) const O_LARGEFILE: u64 = 0o400000;
