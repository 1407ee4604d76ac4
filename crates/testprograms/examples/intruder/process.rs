//! Child processes, and memory that they share with their parent.

use crate::checked;
use std::io;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// Ends when `body` is done, with the status that it gives, or 99.
pub(crate) fn fork(body: impl FnOnce() -> io::Result<i32>) -> io::Result<i32> {
    // SAFETY: the callers have a single thread.
    match checked(unsafe { libc::fork() })? {
        0 => std::process::exit(body().unwrap_or_else(|error| {
            eprintln!("in a child: {error}");
            99
        })),
        child => Ok(child as i32),
    }
}

/// How a child ended, as `wait(2)` has it; `None` when it had to be killed after `patience`.
pub(crate) fn wait(child: i32, patience: Duration) -> io::Result<Option<i32>> {
    let start = Instant::now();
    let mut status = 0;
    loop {
        // SAFETY: a valid place for the status.
        match checked(unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) })? {
            0 if start.elapsed() < patience => std::thread::sleep(Duration::from_millis(5)),
            0 => {
                // SAFETY: numbers only.
                checked(unsafe { libc::kill(child, libc::SIGKILL) })?;
                return Ok(None);
            }
            _ => return Ok(Some(status)),
        }
    }
}

/// A number that children share, for good.
pub(crate) fn shared_number() -> io::Result<&'static AtomicU64> {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: new zeroed memory, never unmapped, reached through the atomic only.
    unsafe {
        let page = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
        checked(page as i64)?;
        Ok(&*page.cast::<AtomicU64>())
    }
}
