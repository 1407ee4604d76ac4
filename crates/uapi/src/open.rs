//! The `O_*` and `RESOLVE_*` bits that the kernel acts on when it prepares OPENAT and OPENAT2.
//!
//! The kernel's values (`include/uapi/asm-generic/fcntl.h` and the architecture's own), which a C
//! library's may differ from: `O_LARGEFILE` is 0 in 64-bit ones.

use crate::arch;

/// Size in bytes of `struct open_how` as first released, the least that OPENAT2 takes.
pub const OPEN_HOW_SIZE_VER0: usize = 24;

/// `O_CREAT`.
pub const O_CREAT: u64 = 0o100;
/// `O_TRUNC`.
pub const O_TRUNC: u64 = 0o1000;
/// `O_CLOEXEC`.
pub const O_CLOEXEC: u64 = 0o2000000;
/// `O_PATH`.
pub const O_PATH: u64 = 0o10000000;
/// `__O_TMPFILE`: the bit of `O_TMPFILE` that is not `O_DIRECTORY`.
pub const O_TMPFILE_BIT: u64 = 0o20000000;

/// `O_EMPTYPATH` (Linux 7.2).
pub const O_EMPTYPATH: u64 = 1 << 26;

/// `O_DIRECTORY`.
pub const O_DIRECTORY: u64 = arch::O_DIRECTORY;
/// `O_NOFOLLOW`.
pub const O_NOFOLLOW: u64 = arch::O_NOFOLLOW;
/// `O_LARGEFILE`.
pub const O_LARGEFILE: u64 = arch::O_LARGEFILE;

/// `VALID_OPEN_FLAGS` of Linux 7.0: what OPENAT keeps of its flags. The access mode and every bit from
/// `O_CREAT` to `__O_TMPFILE`.
pub const VALID_OPEN_FLAGS: u64 = 0o3 | (((O_TMPFILE_BIT << 1) - 1) & !(O_CREAT - 1));
/// `O_PATH_FLAGS`: what may stand beside `O_PATH`, if it is [valid](VALID_OPEN_FLAGS) at all.
pub const O_PATH_FLAGS: u64 = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC | O_EMPTYPATH;
/// `S_IALLUGO`: the mode bits that OPENAT keeps.
pub const MODE_BITS: u64 = 0o7777;

const _: () = assert!(VALID_OPEN_FLAGS == 0x7f_ffc3);
