//! Calls that a handler without SA_RESTART interrupts, which natively they are not.

use crate::{Findings, checked};
use ringwarden_testring::{Ring, SetupFlags, Sqe};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn handler(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Has a signal come at that interval from now on.
fn start_timer(interval: Duration) -> io::Result<()> {
    let time = libc::timeval { tv_sec: 0, tv_usec: interval.as_micros() as i64 };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: valid structures; the handler only touches an atomic.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        checked(libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()))?;
        checked(libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()))?;
    }
    Ok(())
}

/// Makes children that end at once.
pub(crate) fn forks(findings: &mut Findings, count: u32, interval: Duration) -> io::Result<()> {
    start_timer(interval)?;
    let mut failed = 0;
    for _ in 0..count {
        // SAFETY: this process has a single thread; the child ends at once.
        let child = unsafe { libc::fork() };
        match child {
            -1 => failed += 1,
            // SAFETY: ends the child.
            0 => unsafe { libc::_exit(0) },
            // SAFETY: no place for the status.
            _ => while unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) } == -1 {},
        }
    }
    findings.count("failed", failed);
    findings.count("signals", SIGNALS.load(Ordering::Relaxed));
    Ok(())
}

/// Submits NOPs one by one. Each is there to be submitted, so that the call returns a number natively.
pub(crate) fn interrupted(findings: &mut Findings, count: u32, interval: Duration) -> io::Result<()> {
    let ring = Ring::new(8, SetupFlags::empty())?;
    start_timer(interval)?;
    let (mut interrupted, mut other, mut wrong) = (0, 0, 0);
    for user_data in 0..u64::from(count) {
        ring.push(&Sqe { user_data, ..Sqe::default() });
        loop {
            // SAFETY: NOPs hold no pointers.
            match unsafe { ring.enter(1, 1) } {
                Ok(1) => break,
                Ok(_) => {
                    wrong += 1;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => interrupted += 1,
                Err(_) => {
                    other += 1;
                    break;
                }
            }
        }
        if ring.pop().is_none_or(|completion| completion.user_data != user_data || completion.res != 0) {
            wrong += 1;
        }
    }
    findings.count("interrupted", interrupted);
    findings.count("other errors", other);
    findings.count("wrong", wrong);
    findings.count("signals", SIGNALS.load(Ordering::Relaxed));
    Ok(())
}
