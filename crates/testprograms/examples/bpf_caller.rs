//! Makes a `bpf(2)` call that means nothing, through each system call table of x86-64, and prints its error.

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::io;

/// No command of `bpf(2)`.
const NOTHING: u32 = 9999;
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;
/// `bpf` of the 32-bit table.
#[cfg(target_arch = "x86_64")]
const I386: u64 = 357;

fn main() {
    println!("native: {}", native(libc::SYS_bpf));
    #[cfg(target_arch = "x86_64")]
    {
        println!("x32: {}", native(libc::SYS_bpf | X32));
        println!("i386: {}", by_32_bit_call());
    }
}

fn native(number: i64) -> i32 {
    // SAFETY: no pointer is passed.
    match unsafe { libc::syscall(number, NOTHING, 0, 0) } {
        -1 => io::Error::last_os_error().raw_os_error().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(target_arch = "x86_64")]
fn by_32_bit_call() -> i32 {
    let mut ret = I386;
    // SAFETY: a call without pointers; rbx, which the compiler keeps for itself, is put back.
    unsafe {
        asm!(
            "xchg {command}, rbx",
            "int 0x80",
            "xchg {command}, rbx",
            command = inout(reg) u64::from(NOTHING) => _,
            inout("rax") ret,
            in("rcx") 0u64,
            in("rdx") 0u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    -(ret as i32)
}
