//! Prints the signals that it gets, one line each: number, code, value. Ends after so many as its argument
//! says.
//!
//! All are blocked, also those that libc would keep for itself, so that each waits until it is asked for.

use std::io::{Write, stdout};

fn main() -> std::io::Result<()> {
    let count: u32 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1);
    let all = !0u64;
    // SAFETY: a valid set of 8 bytes, the size that the kernel has.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, 0usize, 8usize) };
    println!("ready");
    for _ in 0..count {
        // SAFETY: integers, for which zero is a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: a valid set and a valid out pointer; no end of patience.
        let signal = unsafe {
            libc::syscall(libc::SYS_rt_sigtimedwait, &raw const all, &raw mut info, 0usize, 8usize)
        };
        if signal < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: it is there for a signal that a process sent, and zero for others.
        let value = unsafe { info.si_value() };
        println!("{signal} {} {}", info.si_code, value.sival_ptr.addr());
        stdout().flush()?;
    }
    Ok(())
}
