//! The guard's own process: starts the program, serves it on one thread, and watches over both on
//! the main one.

use crate::child::{Child, GUARD_FAILED, read_i32};
use crate::launch::{Guard, Report};
use crate::rules::Rules;
use crate::seccomp::{self, Listener, listener_of};
use crate::shared::Shared;
use crate::supervisor::Supervisor;
use crate::tree::{self, Children};
use crate::{inherited, kernel_ring::KernelRing};
use ringwarden_filter::RegisterRules;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, pidfd_open, waitid,
};
use std::ffi::CString;
use std::os::fd::FromRawFd;
use std::time::{Duration, Instant};

/// File descriptors for one tree: rings need two or three each, and so many threads that make them or
/// limit themselves need one.
const FDS_PER_RING: u64 = 5;
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
        .and_then(|children| Ok((start(argv, &guard.calls.register)?, children)));
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
fn start(argv: &[CString], register: &RegisterRules) -> Result<Started, (i32, Errno)> {
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
            Child { argv, handshake: theirs.as_fd(), exec_failure: failure_in.as_fd(), parent, register }
                .run()
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
    let mut rules = Rules::new(guard.filters, guard.calls, &kernel);
    if guard.observer.is_some() {
        rules.show_all();
    }
    let max_rings = (raise_limits() / FDS_PER_RING).min(MAX_RINGS) as usize;
    let listener = started.listener.as_fd().try_clone_to_owned().map_err(|_| libc::EMFILE)?;
    let max_tasks = 2 * max_rings;
    let mut supervisor =
        Supervisor::new(started.listener, kernel, rules, max_rings, max_tasks, guard.audit, shared.clone())
            .map_err(raw)?;
    supervisor.observer = guard.observer;
    let served = serve(supervisor).map_err(raw)?;
    rustix::io::write(&started.handshake, b"x").map_err(raw)?;
    drop(started.handshake);

    let deaths = child_signals().map_err(raw)?;
    let mut status = None;
    let mut nobody_left = false;
    let mut held_back = false;
    let mut unreaped = false;
    let mut killed = None;
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
                PollFd::new(&served, PollFlags::IN)
            },
            PollFd::new(&deaths, PollFlags::IN),
            // Readable until a tick has tidied up, so of no interest while one is due.
            PollFd::from_borrowed_fd(shared.untidy(), only_if(tidy_at.is_none())),
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
        let [life, served_or_failed, child, untidy, last] =
            [0, 1, 2, 3, 4].map(|index: usize| !fds[index].revents().is_empty());
        let now = Instant::now();
        if life {
            return Err(libc::EPIPE);
        }
        if now >= second {
            second = now + SECOND;
            if let Some((id, tid)) = shared.deadline.overdue() {
                let again = killed.replace(id) == Some(id);
                if again || !end(listener.as_fd(), id, tid) {
                    return Err(libc::ETIMEDOUT);
                }
            }
        }
        match tidy_at {
            Some(at) if now >= at => tidy_at = shared.tidy().then(|| now + TICK),
            None if untidy => tidy_at = Some(now + TICK),
            _ => {}
        }
        if child {
            let mut info = [0; 128];
            let _ = rustix::io::read(&deaths, &mut info);
            unreaped = true;
        }
        if unreaped && let Some(_nobody_traces) = shared.try_children() {
            children.reap_all_but(started.pid);
            unreaped = false;
        }
        if served_or_failed && !nobody_left {
            match read_i32(served.as_fd()) {
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

/// Serves on a thread of its own. The descriptor gives an `i32` when that ends, 0 when nobody is left
/// to serve, or else the errno; it hangs up without one when the thread panics.
fn serve(mut supervisor: Supervisor) -> Result<OwnedFd, Errno> {
    let (served_out, served_in) = pipe_with(PipeFlags::CLOEXEC)?;
    std::thread::Builder::new()
        .name("ringwarden".into())
        .spawn(move || {
            let result = supervisor.serve().map_or_else(Errno::raw_os_error, |()| 0);
            let _ = rustix::io::write(&served_in, &result.to_ne_bytes());
        })
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
    Ok(served_out)
}

/// Kills the process that holds up the notification `id` of its thread `tid`. False when that number
/// may be somebody else's by now: the thread is gone, but the guard is not done with it.
fn end(listener: BorrowedFd<'_>, id: u64, tid: Pid) -> bool {
    // Injections begin with an answer, but who is traced cannot vanish.
    let known = seccomp::is_valid(listener, id) || is_traced_here(tid);
    // A signal to any thread's number reaches its process, SIGKILL all of it.
    known && kill_process(tid, Signal::KILL).is_ok()
}

/// Whether a thread of this process traces the thread `tid`.
fn is_traced_here(tid: Pid) -> bool {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", tid.as_raw_nonzero())).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(str::trim);
    tracer.is_some_and(|tracer| std::path::Path::new("/proc/self/task").join(tracer).exists())
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
