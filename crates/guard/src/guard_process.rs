//! The guard's own process: starts the program, serves it on one thread, and watches over both on
//! the main one.

use crate::child::{Child, GUARD_FAILED, read_i32};
use crate::launch::{Guard, Report};
use crate::rules::Rules;
use crate::seccomp::{Listener, listener_of};
use crate::shared::Shared;
use crate::supervisor::Supervisor;
use crate::{kernel_ring::KernelRing, tree};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, pidfd_open,
    set_dumpable_behavior, waitid,
};
use std::ffi::CString;
use std::os::fd::FromRawFd;

/// File descriptors for one tree: rings need two or three each.
const FDS_PER_RING: u64 = 3;
/// Rings that one guarded tree can have, however many descriptors the guard may open.
const MAX_RINGS: u64 = 16384;

/// How soon the guard lets go of rings that it held for a while.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Runs the guard. `life` hangs up when the watchdog is gone; `reports` goes to it.
pub(crate) fn run(guard: Guard, kernel: KernelRing, argv: &[CString], life: OwnedFd, reports: OwnedFd) -> ! {
    let report = |report: Report| {
        let _ = rustix::io::write(&reports, &report.to_bytes());
    };
    tree::adopt_orphans();
    let status = match start(argv) {
        Err((status, error)) => {
            report(Report::NotStarted { status, errno: error.raw_os_error() });
            status
        }
        Ok(started) => {
            report(Report::Started { pid: started.pid.as_raw_nonzero().get() });
            let ended = watch(guard, kernel, started, life.as_fd());
            // Whatever the reason, nobody runs on without the guard.
            tree::kill_all();
            match ended {
                Ok(status) => {
                    report(Report::Ended { status });
                    0
                }
                Err(errno) => {
                    report(Report::Failed { errno });
                    GUARD_FAILED
                }
            }
        }
    };
    // SAFETY: ends the process without running what the watchdog, whose copy it is, had registered
    // for its own exit.
    unsafe { libc::_exit(status) }
}

/// The program's process, confined and about to exec.
struct Started {
    pid: Pid,
    pidfd: OwnedFd,
    listener: Listener,
    handshake: OwnedFd,
    exec_failure: OwnedFd,
}

/// Forks the program's process and takes its listener.
fn start(argv: &[CString]) -> Result<Started, (i32, Errno)> {
    let failed = |error| (GUARD_FAILED, error);
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(failed)?;
    let (failure_out, failure_in) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let parent = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: this process has a single thread, so the child can go on in ordinary code.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(failed(Errno::AGAIN)),
        0 => {
            drop(ours);
            drop(failure_out);
            Child { argv, handshake: theirs.as_fd(), exec_failure: failure_in.as_fd(), parent }.run()
        }
        pid => Pid::from_raw(pid).ok_or(failed(Errno::SRCH))?,
    };
    drop(theirs);
    drop(failure_in);
    // From here on nobody without CAP_SYS_PTRACE can open this process's memory, trace it, or take
    // its descriptors.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    block_signals();
    let Some(number) = read_i32(ours.as_fd()) else {
        let errno = read_i32(failure_out.as_fd()).map_or(Errno::SRCH, Errno::from_raw_os_error);
        return Err(failed(errno));
    };
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
    let listener = listener_of(pidfd.as_fd(), number).map_err(failed)?;
    Ok(Started { pid, pidfd, listener: Listener::new(listener), handshake: ours, exec_failure: failure_out })
}

/// Serves and watches until the program and all its descendants have ended; gives the program's
/// status as `wait(2)` encodes it for shells.
fn watch(guard: Guard, kernel: KernelRing, started: Started, life: BorrowedFd<'_>) -> Result<i32, i32> {
    let raw = |error: Errno| error.raw_os_error();
    let shared = Shared::new().map_err(raw)?;
    let rules = Rules::new(guard.filters, &kernel);
    let max_rings = (raise_limits() / FDS_PER_RING).min(MAX_RINGS) as usize;
    let listener_copy = started.listener.as_fd().try_clone_to_owned().map_err(|_| libc::EMFILE)?;
    let (served_out, served_in) = pipe_with(PipeFlags::CLOEXEC).map_err(raw)?;
    let supervisor = Supervisor::new(started.listener, kernel, rules, max_rings, guard.audit, shared.clone());
    std::thread::Builder::new()
        .name("ringwarden".into())
        .spawn(move || {
            let mut supervisor = supervisor;
            let _hangs_up_at_the_end = served_in;
            let _ = supervisor.serve();
        })
        .map_err(|error| error.raw_os_error().unwrap_or(libc::EAGAIN))?;
    rustix::io::write(&started.handshake, b"x").map_err(raw)?;
    drop(started.handshake);
    let exec_failed = read_i32(started.exec_failure.as_fd());

    let children = child_signals().map_err(raw)?;
    let mut status = None;
    let mut ticking = false;
    loop {
        let abandoned = if status.is_some() { Some(listener_copy.as_fd()) } else { None };
        let mut fds = vec![
            PollFd::from_borrowed_fd(life, PollFlags::empty()),
            PollFd::new(&served_out, PollFlags::empty()),
            PollFd::from_borrowed_fd(shared.deadline.timer(), PollFlags::IN),
            PollFd::new(&children, PollFlags::IN),
            // Readable until a tick has tidied up, so of no interest while one is due.
            PollFd::from_borrowed_fd(
                shared.untidy(),
                if ticking { PollFlags::empty() } else { PollFlags::IN },
            ),
        ];
        fds.push(match abandoned {
            // No guarded task is left when the listener hangs up.
            Some(listener) => PollFd::from_borrowed_fd(listener, PollFlags::empty()),
            None => PollFd::new(&started.pidfd, PollFlags::IN),
        });
        let tick = ticking.then_some(&TICK);
        match poll(&mut fds, tick) {
            // Only ticks count, so that what is kept is kept for one at least.
            Ok(0) => ticking = shared.tidy(),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(raw(error)),
        }
        let [life, served, late, child, untidy, last] = [0, 1, 2, 3, 4, 5].map(|index| fds[index].revents());
        drop(fds);
        if !life.is_empty() {
            return Err(libc::EPIPE);
        }
        ticking |= !untidy.is_empty();
        if !late.is_empty() {
            shared.deadline.enforce();
        }
        if !child.is_empty() {
            let mut info = [0; 128];
            let _ = rustix::io::read(&children, &mut info);
            let _nobody_traces = shared.children();
            tree::reap_orphans(started.pid);
        }
        if !last.is_empty() {
            match status {
                None => status = Some(program_status(started.pid, exec_failed)?),
                Some(status) => return Ok(status),
            }
        } else if !served.is_empty() {
            match status {
                // Nobody was left to serve.
                Some(status) => return Ok(status),
                None => {
                    // Either the program has just ended, or the guard cannot serve it any more.
                    let _ = kill_process(started.pid, Signal::KILL);
                    let killed = program_status(started.pid, exec_failed)?;
                    return if killed == 128 + libc::SIGKILL { Err(libc::EIO) } else { Ok(killed) };
                }
            }
        }
    }
}

/// The ended program's status: 0 to 255, or 128 + the signal that ended it.
fn program_status(pid: Pid, exec_failed: Option<i32>) -> Result<i32, i32> {
    let status = loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED) {
            Ok(Some(status)) => break status,
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.raw_os_error()),
        }
    };
    if let Some(errno) = exec_failed {
        return Err(-errno);
    }
    Ok(exit_status(&status))
}

fn exit_status(status: &WaitIdStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => GUARD_FAILED,
    }
}

/// Raises the limits that rings count against as far as allowed, and gives that of open files.
fn raise_limits() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    for resource in [Resource::Nofile, Resource::Memlock] {
        let mut limit = getrlimit(resource);
        limit.current = limit.maximum;
        let _ = setrlimit(resource, limit);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The guard lives as long as its program: signals meant for the group do not touch it.
fn block_signals() {
    // SAFETY: a valid set, for this thread and those it will start.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}

/// A descriptor that becomes readable when a child has died. Stops, which tracing makes in numbers,
/// do not count.
fn child_signals() -> Result<OwnedFd, Errno> {
    // SAFETY: valid structures throughout; the handler is never run, since the signal stays blocked.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        action.sa_flags = libc::SA_NOCLDSTOP;
        libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut());
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}
