//! Prints the signals that it gets, one line each: number, code, value, sender. Ends after so many as its
//! first argument says. The second is a signal to wait for before any other.
//!
//! All are blocked, also those that libc would keep for itself, so that each waits until it is asked for.

use std::io::{Write, stdout};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|number| number.parse::<u32>().expect("a number"));
    let count = arguments.next().unwrap_or(1);
    let all = !0u64;
    // SAFETY: a valid set of 8 bytes, the size that the kernel has.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, 0usize, 8usize) };
    println!("ready");
    let mut wanted = arguments.next().map_or(all, |first| 1 << (first - 1));
    for _ in 0..count {
        // SAFETY: integers, for which zero is a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: a valid set and a valid out pointer; no end of patience.
        let signal = unsafe {
            libc::syscall(libc::SYS_rt_sigtimedwait, &raw const wanted, &raw mut info, 0usize, 8usize)
        };
        if signal < 0 {
            return Err(std::io::Error::last_os_error());
        }
        wanted = all;
        // SAFETY: both are there for a signal that a process sent, and zero for others.
        let (value, sender) = unsafe { (info.si_value(), info.si_pid()) };
        println!("{signal} {} {} {sender}", info.si_code, value.sival_ptr.addr());
        stdout().flush()?;
    }
    Ok(())
}
