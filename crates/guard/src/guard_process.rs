//! The guard's own process: starts the program, serves it on one thread, and watches over both on
//! the main one.

use crate::child::{Child, GUARD_FAILED, read_i32};
use crate::launch::{Guard, Report};
use crate::rules::Rules;
use crate::seccomp::{Listener, Traps, listener_of};
use crate::shared::Shared;
use crate::supervisor::{Parts, Server, Supervisor, serve};
use crate::tree::{self, Children};
use crate::{inherited, kernel_ring::KernelRing};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid};
use std::ffi::CString;
use std::os::fd::FromRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// File descriptors that are not for rings, which need one each.
const OTHER_FDS: u64 = 96;
/// Rings that one guarded tree can have, however many descriptors the guard may open.
const MAX_RINGS: u64 = 16384;

/// How soon the guard lets go of rings that it held for a while, and tries again to collect the dead.
const TICK: Duration = Duration::from_millis(5);
/// How often it looks at [deadlines](crate::deadline).
const SECOND: Duration = Duration::from_secs(1);

/// Runs the guard. `life` hangs up when the watchdog is gone; `reports` goes to it.
pub(crate) fn run(guard: Guard, kernel: KernelRing, argv: &[CString], life: OwnedFd, reports: OwnedFd) -> ! {
    let report = |report: Report| {
        let _ = rustix::io::write(&reports, &report.to_bytes());
    };
    tree::adopt_orphans();
    let started = Children::open()
        .map_err(|error| (GUARD_FAILED, error))
        .and_then(|children| Ok((start(argv, &guard.traps(&kernel))?, children)));
    let status = match started {
        Err((status, error)) => {
            report(Report::NotStarted { status, errno: error.raw_os_error() });
            status
        }
        Ok((started, children)) => {
            report(Report::Started { pid: started.pid.as_raw_nonzero().get() });
            let program_ended = |status| report(Report::ProgramEnded { status });
            let observer = guard.observer.clone();
            let ended = watch(guard, kernel, started, &children, life.as_fd(), program_ended);
            // Whatever the reason, nobody runs on without the guard.
            children.kill_all_but(&[]);
            if let Some(observer) = observer {
                observer.ended();
            }
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
fn start(argv: &[CString], traps: &Traps<'_>) -> Result<Started, (i32, Errno)> {
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
            Child { argv, handshake: theirs.as_fd(), exec_failure: failure_in.as_fd(), parent, traps }.run()
        }
        pid => Pid::from_raw(pid).ok_or(failed(Errno::SRCH))?,
    };
    drop(theirs);
    drop(failure_in);
    inherited::close_for_own_part();
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
/// status as `wait(2)` encodes it for shells. `program_ended` is told it at once.
fn watch(
    guard: Guard,
    kernel: KernelRing,
    started: Started,
    children: &Children,
    life: BorrowedFd<'_>,
    program_ended: impl Fn(i32),
) -> Result<i32, i32> {
    let raw = |error: Errno| error.raw_os_error();
    let shared = Shared::new().map_err(raw)?;
    let own_filters = guard.traps(&kernel).clones;
    let mut rules = Rules::new(guard.filters, guard.calls, &kernel);
    if guard.observer.is_some() {
        rules.show_all();
    }
    let max_rings = raise_limits().saturating_sub(OTHER_FDS).clamp(1, MAX_RINGS) as usize;
    let listener = started.listener.as_fd().try_clone_to_owned().map_err(|_| libc::EMFILE)?;
    let parts = Parts {
        listener: started.listener,
        kernel,
        rules,
        max_rings,
        own_filters,
        audit: guard.audit,
        observer: guard.observer,
        shared: shared.clone(),
    };
    let supervisor = Arc::new(Supervisor::new(parts).map_err(raw)?);
    let server = serve(&supervisor).map_err(raw)?;
    rustix::io::write(&started.handshake, b"x").map_err(raw)?;
    drop(started.handshake);

    let deaths = child_signals().map_err(raw)?;
    let mut status = None;
    let mut nobody_left = false;
    let mut held_back = false;
    let mut unreaped = false;
    let mut second = Instant::now() + SECOND;
    let mut tidy_at: Option<Instant> = None;
    loop {
        let only_if = |wanted| if wanted { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::from_borrowed_fd(life, PollFlags::empty()),
            // Once it has said that nobody is left, only its place is taken.
            if nobody_left {
                PollFd::from_borrowed_fd(life, PollFlags::empty())
            } else {
                PollFd::new(&server, PollFlags::IN)
            },
            PollFd::new(&deaths, PollFlags::IN),
            // Readable until a tick has tidied up, so of no interest while one is due.
            PollFd::from_borrowed_fd(shared.untidy(), only_if(tidy_at.is_none())),
            PollFd::from_borrowed_fd(shared.registered.ends(), PollFlags::IN),
            match status {
                None => PollFd::new(&started.pidfd, only_if(!held_back)),
                // No guarded task is left when the listener hangs up.
                Some(_) => PollFd::new(&listener, PollFlags::empty()),
            },
        ];
        let soon = tidy_at.or_else(|| unreaped.then(|| Instant::now() + TICK));
        match poll(&mut fds, Some(&until(soon.map_or(second, |soon| soon.min(second))))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(raw(error)),
        }
        let [life, served_or_failed, child, untidy, ends, last] =
            [0, 1, 2, 3, 4, 5].map(|index: usize| !fds[index].revents().is_empty());
        let now = Instant::now();
        if life {
            return Err(libc::EPIPE);
        }
        if now >= second {
            second = now + SECOND;
            supervisor.end_overdue().map_err(raw)?;
            supervisor.sweep();
            if supervisor.turns.is_vacant() {
                server.start_thread().map_err(raw)?;
            }
        }
        if ends {
            shared.registered.sweep();
        }
        match tidy_at {
            Some(at) if now >= at => tidy_at = tidy(&server, &shared).then(|| now + TICK),
            None if untidy => {
                shared.hear();
                tidy_at = Some(now + TICK);
            }
            _ => {}
        }
        if child {
            let mut info = [0; 128];
            let _ = rustix::io::read(&deaths, &mut info);
            unreaped = true;
        }
        if unreaped {
            let traced = shared.traced();
            unreaped = !children.reap_all_but(|child| child == started.pid, |child| traced.spares(child));
        }
        if served_or_failed && !nobody_left {
            match read_i32(server.as_fd()) {
                Some(0) => nobody_left = true,
                // Without a number, a panic.
                failed => return Err(failed.unwrap_or(libc::EIO)),
            }
        }
        match status {
            None if last || held_back => {
                status = program_status(started.pid, started.exec_failure.as_fd())?;
                held_back = status.is_none();
                status.into_iter().for_each(&program_ended);
            }
            Some(_) if last => nobody_left = true,
            _ => {}
        }
        if let Some(status) = status
            && nobody_left
        {
            return Ok(status);
        }
    }
}

/// One tick; whether another is to follow.
fn tidy(server: &Server, shared: &Shared) -> bool {
    let (start, slow) = server.turns().tick();
    if start {
        // Otherwise the next second comes to it.
        let _ = server.start_thread();
    }
    // Both, whatever the first says.
    slow | shared.leases.expire()
}

/// The time that is left until then.
fn until(then: Instant) -> Timespec {
    let left = then.saturating_duration_since(Instant::now());
    // At most a second, see above.
    Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
}

/// The program's status, whose pidfd says that it has ended: 0 to 255, or 128 + the signal that ended
/// it. `None` while a descendant that traces it holds it back.
///
/// # Errors
/// `-errno` of a failed exec, or that of the call.
fn program_status(pid: Pid, exec_failure: BorrowedFd<'_>) -> Result<Option<i32>, i32> {
    let status = match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        Ok(Some(status)) => status,
        Ok(None) | Err(Errno::INTR) => return Ok(None),
        Err(error) => return Err(error.raw_os_error()),
    };
    // The other end was closed by the exec or by the end.
    match read_i32(exec_failure) {
        Some(errno) => Err(-errno),
        None => Ok(Some(exit_status(&status))),
    }
}

fn exit_status(status: &WaitIdStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => GUARD_FAILED,
    }
}

/// Raises the limits that rings and the audit count against as far as allowed, and gives that of open
/// files.
fn raise_limits() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    for resource in [Resource::Nofile, Resource::Memlock, Resource::Fsize] {
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
