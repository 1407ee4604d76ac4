//! The process that the user started: waits for the guard's, and ends everything should it die.

use crate::child::{CANNOT_EXECUTE, NOT_FOUND};
use crate::launch::{Error, Report, not_started};
use crate::tree;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::sync::atomic::{AtomicI32, Ordering};

/// The program, for the signal handler; 0 until it exists.
static PROGRAM: AtomicI32 = AtomicI32::new(0);

/// Signals that are meant for the program when they are sent to whoever started it.
const FORWARDED: [libc::c_int; 8] = [
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGWINCH,
];

/// Waits for the guard's process `pid`; `reports` comes from it, and dropping `life` tells it that
/// the watchdog is gone.
pub(crate) fn watch(pid: i32, reports: OwnedFd, life: OwnedFd, program: &str) -> Result<i32, Error> {
    tree::adopt_orphans();
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    take_signals();
    let mut outcome = None;
    while let Some(report) = next(&reports) {
        match report {
            Report::Started { pid } => PROGRAM.store(pid, Ordering::SeqCst),
            Report::NotStarted { status, errno } => outcome = Some(Err(not_started(status, errno, program))),
            Report::Ended { status } => outcome = Some(Ok(status)),
            Report::Failed { errno } if errno < 0 => {
                let status = if -errno == libc::ENOENT { NOT_FOUND } else { CANNOT_EXECUTE };
                outcome = Some(Err(not_started(status, -errno, program)));
            }
            Report::Failed { errno } => {
                outcome = Some(Err(Error::Died(std::io::Error::from_raw_os_error(errno))));
            }
        }
    }
    // The guard is gone. Usually nobody is left below; if somebody is, it must not run on.
    PROGRAM.store(0, Ordering::SeqCst);
    tree::kill_all();
    drop(life);
    let _ = pid;
    outcome.unwrap_or_else(|| Err(Error::Died(std::io::Error::other("killed"))))
}

fn next(reports: &OwnedFd) -> Option<Report> {
    let mut bytes = [0; Report::SIZE];
    loop {
        match rustix::io::read(reports.as_fd(), &mut bytes) {
            Err(Errno::INTR) => {}
            // Written in one piece, shorter than PIPE_BUF.
            Ok(Report::SIZE) => return Report::from_bytes(bytes),
            _ => return None,
        }
    }
}

fn take_signals() {
    extern "C" fn forward(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        // SAFETY: the kernel passes a valid `siginfo_t` to a SA_SIGINFO handler.
        let sent_by_a_process = unsafe { (*info).si_code } <= 0;
        let program = PROGRAM.load(Ordering::SeqCst);
        // What a terminal sends goes to the whole group: the program has it already.
        if sent_by_a_process && program > 0 {
            // SAFETY: `kill` is async-signal-safe.
            unsafe { libc::kill(program, signal) };
        }
    }
    for signal in FORWARDED {
        // SAFETY: `forward` only does what a handler may, and has the signature that SA_SIGINFO asks
        // for. A signal that was ignored (`nohup`) stays ignored.
        unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut old);
            if old.sa_sigaction != libc::SIG_IGN {
                let mut new: libc::sigaction = std::mem::zeroed();
                new.sa_sigaction = forward as *const () as libc::sighandler_t;
                new.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
                libc::sigaction(signal, &new, std::ptr::null_mut());
            }
        }
    }
}
