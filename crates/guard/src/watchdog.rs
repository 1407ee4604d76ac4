//! The process that the user started: passes on signals to the program, and waits for the guard's
//! reports.

use crate::child::{CANNOT_EXECUTE, NOT_FOUND};
use crate::launch::{Error, Report, not_started};
use crate::tree::Children;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Whom signals are for: the program, by its pidfd; when it has ended the guard, by its negated
/// process number; after that nobody, 0.
static TARGET: AtomicI32 = AtomicI32::new(0);

/// A signal has ended the tree that the program left behind.
static CUT_SHORT: AtomicBool = AtomicBool::new(false);

/// Signals that end a program that does not handle them, and the one that says how large a terminal
/// is. All are meant for the program when they are sent to whoever started it.
const FORWARDED: [libc::c_int; 15] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGSTKFLT,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGWINCH,
    libc::SIGIO,
    libc::SIGPWR,
];

/// What the watchdog watches.
pub(crate) struct Tree<'a> {
    /// The guard's process.
    pub(crate) guard: i32,
    pub(crate) children: Children,
    /// Children that are not the guard's.
    pub(crate) spared: &'a [Pid],
}

/// Waits until all is over, and gives the program's status. `reports` comes from the guard's process,
/// and dropping `life` tells it that the watchdog is gone. The signals `held` until the program exists are for the program.
pub(crate) fn watch(
    tree: &Tree<'_>,
    held: HeldSignals,
    reports: &OwnedFd,
    life: OwnedFd,
    program: &str,
) -> Result<i32, Error> {
    CUT_SHORT.store(false, Ordering::SeqCst);
    let mut held = Some(held);
    let mut running = None;
    let mut program_status = None;
    let outcome = loop {
        let Some(report) = next(reports) else {
            let cut_short = CUT_SHORT.load(Ordering::SeqCst);
            break match program_status {
                Some(status) if cut_short => Ok(status),
                _ => Err(Error::Died(std::io::Error::other("killed"))),
            };
        };
        match report {
            Report::Started { pid } => {
                // Should this fail, the process is gone already.
                let pidfd = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
                TARGET.store(pidfd.as_ref().map_or(0, AsRawFd::as_raw_fd), Ordering::SeqCst);
                running = Some((Forwarding::start(), pidfd));
                held = None;
            }
            Report::ProgramEnded { status } => {
                TARGET.store(-tree.guard, Ordering::SeqCst);
                program_status = Some(status);
            }
            Report::Ended { status } => break Ok(status),
            Report::NotStarted { status, errno } => break Err(not_started(status, errno, program)),
            Report::Failed { errno } if errno < 0 => {
                let status = if -errno == libc::ENOENT { NOT_FOUND } else { CANNOT_EXECUTE };
                break Err(not_started(status, -errno, program));
            }
            Report::Failed { errno } => break Err(Error::Died(std::io::Error::from_raw_os_error(errno))),
        }
    };
    // From here on signals are ignored: what is left of the tree must be ended.
    TARGET.store(0, Ordering::SeqCst);
    tree.children.kill_all_but(tree.spared);
    drop(life);
    drop((running, held));
    outcome
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

extern "C" fn forward(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a SA_SIGINFO handler.
    let sent_by_a_process = unsafe { (*info).si_code } <= 0;
    let target = TARGET.load(Ordering::SeqCst);
    // What a terminal sends goes to the whole group: the program has it already.
    if target > 0 && sent_by_a_process {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a system call without an out pointer. By a pidfd no stranger is ever hit.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, target, signal, no_info, 0) };
    } else if target < 0 && signal != libc::SIGWINCH {
        CUT_SHORT.store(true, Ordering::SeqCst);
        // SAFETY: `kill` is async-signal-safe. The guard is a child that has not been waited for.
        unsafe { libc::kill(-target, libc::SIGKILL) };
    }
}

/// While this exists, signals that are to be forwarded wait: the program may run, and others may know
/// that it does, before the watchdog has read so.
pub(crate) struct HeldSignals(libc::sigset_t);

impl HeldSignals {
    pub(crate) fn hold() -> Self {
        // SAFETY: the sets are initialised before they are read, and FORWARDED are valid signals.
        unsafe {
            let mut held: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut held);
            for signal in FORWARDED {
                libc::sigaddset(&mut held, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &held, &mut before);
            Self(before)
        }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // SAFETY: what `pthread_sigmask` gave.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Signals are forwarded while this exists.
struct Forwarding(Vec<(libc::c_int, libc::sigaction)>);

impl Forwarding {
    fn start() -> Self {
        let mut before = Vec::new();
        for signal in FORWARDED {
            // SAFETY: `forward` only does what a handler may, and has the signature that SA_SIGINFO
            // asks for.
            unsafe {
                let mut old: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, std::ptr::null(), &mut old);
                // A signal that was ignored (`nohup`) stays ignored.
                if old.sa_sigaction != libc::SIG_IGN {
                    let mut new: libc::sigaction = std::mem::zeroed();
                    new.sa_sigaction = forward as *const () as libc::sighandler_t;
                    new.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
                    libc::sigaction(signal, &new, std::ptr::null_mut());
                    before.push((signal, old));
                }
            }
        }
        Self(before)
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        for (signal, old) in &self.0 {
            // SAFETY: what `sigaction` gave.
            unsafe { libc::sigaction(*signal, old, std::ptr::null_mut()) };
        }
    }
}
