//! A `syscall` instruction that its own program overwrites.

use crate::checked;
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU16, Ordering};

/// `extern "C" fn(number, six arguments)`, with the instruction at an even place.
const CODE: [u8; 27] = [
    0x90, // nop
    0x48, 0x89, 0xf8, // mov rax, rdi
    0x48, 0x89, 0xf7, // mov rdi, rsi
    0x48, 0x89, 0xd6, // mov rsi, rdx
    0x48, 0x89, 0xca, // mov rdx, rcx
    0x4d, 0x89, 0xc2, // mov r10, r8
    0x4d, 0x89, 0xc8, // mov r8, r9
    0x4c, 0x8b, 0x4c, 0x24, 0x08, // mov r9, [rsp + 8]
    0x0f, 0x05, // syscall
    0xc3, // ret
];
const SYSCALL_AT: usize = 24;
/// `syscall`, and a jump to itself.
const SYSCALL: u16 = u16::from_le_bytes([0x0f, 0x05]);
const LOOP: u16 = u16::from_le_bytes([0xeb, 0xfe]);

type Call = extern "C" fn(i64, u64, u64, u64, u64, u64, u64) -> i64;

/// Two mappings of the same code, for good.
pub(crate) struct Stub {
    call: Call,
    instruction: &'static AtomicU16,
}

impl Stub {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: a descriptor and two mappings that nobody else has; the code follows the C calling
        // convention, and its one changing word is reached through an atomic.
        unsafe {
            let fd = checked(libc::memfd_create(c"stub".as_ptr(), 0))? as i32;
            checked(libc::ftruncate(fd, 4096))?;
            let map = |protection| libc::mmap(null_mut(), 4096, protection, libc::MAP_SHARED, fd, 0);
            let writable = map(libc::PROT_READ | libc::PROT_WRITE);
            checked(writable as i64)?;
            let code = map(libc::PROT_READ | libc::PROT_EXEC);
            checked(code as i64)?;
            std::ptr::copy_nonoverlapping(CODE.as_ptr(), writable.cast(), CODE.len());
            Ok(Self {
                call: std::mem::transmute::<*mut libc::c_void, Call>(code),
                instruction: &*writable.byte_add(SYSCALL_AT).cast::<AtomicU16>(),
            })
        }
    }

    /// Makes the call, sooner or later.
    pub(crate) fn call(&self, number: i64, args: [u64; 6]) -> i64 {
        let [a, b, c, d, e, f] = args;
        (self.call)(number, a, b, c, d, e, f)
    }

    /// Has whoever comes to the instruction stay there, or go on.
    pub(crate) fn hold(&self, hold: bool) {
        self.instruction.store(if hold { LOOP } else { SYSCALL }, Ordering::SeqCst);
    }
}
