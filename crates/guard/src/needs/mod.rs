//! What the guard will need once the program runs: one list, which `run` and `doctor` try and
//! `docs/guard.md` prints.
//!
//! A container's seccomp profile, or an older kernel, may take any of these calls away. When the program
//! runs it is too late to find out: rings fail, or a request is never submitted, and nobody is told why.
//! So every call is made once before, in a throw-away child, in a way that changes nothing and that the
//! kernel answers as no seccomp filter does.
//!
//! Not in the list is what this program could not have come so far without (`read`, `openat`, `mmap`,
//! `close`, signal masks), and what the guard does without if need be.

#[allow(unsafe_code)] // raw system calls
mod attempt;
mod missing;
mod privilege;

pub(crate) use missing::report;
pub use missing::{Culprit, Missing, remedy};
pub use privilege::Confined;

use attempt::{Answer, Attempt};
use ringwarden_launch::tree;
use ringwarden_trial::{TrialError, series};
use rustix::io::Errno;

/// One thing that the guard needs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Need {
    /// The system call, or what else it is.
    pub name: &'static str,
    /// The call's number; `None` for what is no call.
    pub number: Option<i64>,
    /// What the guard does with it.
    pub purpose: &'static str,
    /// Which policies it is needed for.
    pub when: When,
    /// The first kernel that has it as the guard needs it; empty where that is older than io_uring.
    pub since: &'static str,
    attempt: Attempt,
}

/// What something is needed for. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum When {
    /// Every lane in which rings are made for the program.
    Always,
    /// Rings that are split.
    Split,
    /// Split rings under rules that look at arguments in memory, of openat2 or connect.
    Arguments,
}

impl When {
    /// As the documentation says it.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Split => "where rings are split",
            Self::Arguments => "where rules look at arguments of openat2 or connect",
        }
    }
}

const fn call(
    name: &'static str,
    number: i64,
    args: [u64; 6],
    answer: Answer,
    purpose: &'static str,
) -> Need {
    let attempt = Attempt::Call { number, args, answer };
    Need { name, number: Some(number), purpose, when: When::Always, since: "", attempt }
}

const fn fails(errno: i32) -> Answer {
    Answer::Fails(errno)
}

/// A flag of `io_uring_setup`, and what it takes beyond that call.
const OWN_MEMORY: &str = "IORING_SETUP_NO_MMAP";
/// That of the namespace of PIDs that the guard is in: numbers of another are other processes'.
const PROC: &str = "/proc";
/// A descriptor that is none.
const NONE: u64 = u64::MAX;
/// A process that does not exist: larger than any number that the kernel gives.
const NOBODY: u64 = i32::MAX as u64;
/// Flags that no call knows.
const UNKNOWN: u64 = 1 << 31;

/// Everything. `prctl` and `seccomp` come first: without privilege the second stands on the first.
#[rustfmt::skip]
const NEEDS: &[Need] = &[
    call("prctl", libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0, 0], Answer::Succeeds,
        "forbids the program new privileges, adopts orphans, keeps strangers out of the guard"),
    Need { since: "5.9", attempt: Attempt::Listener, ..call("seccomp", libc::SYS_seccomp, [0; 6], Answer::Succeeds,
        "stops the program's calls at the guard") },
    call("io_uring_setup", libc::SYS_io_uring_setup, [0, 0, 0, 0, 0, 0], Answer::FailsEither(libc::EINVAL, libc::EFAULT),
        "makes rings"),
    call("io_uring_register", libc::SYS_io_uring_register, [NONE - 1, 8, 0, 0, 0, 0], fails(libc::EBADF),
        "confines rings, and waits for submissions under way"),
    Need { when: When::Split, ..call("io_uring_enter", libc::SYS_io_uring_enter, [NONE, 0, 0, 0, 0, 0], fails(libc::EBADF),
        "is what the program submits with") },
    call("clone", libc::SYS_clone, [libc::CLONE_SIGHAND as u64, 0, 0, 0, 0, 0], fails(libc::EINVAL),
        "starts the guard's process and the program's"),
    call("clone3", libc::SYS_clone3, [0, 0, 0, 0, 0, 0], Answer::FailsEither(libc::EINVAL, libc::ENOSYS),
        "starts the guard's threads; `ENOSYS` will do, on which libraries use `clone`"),
    call("ioctl", libc::SYS_ioctl, [NONE, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, 0, 0, 0, 0], fails(libc::EBADF),
        "receives and answers calls that were stopped"),
    Need { when: When::Split, ..call("ptrace", libc::SYS_ptrace, [libc::PTRACE_SEIZE as u64, NOBODY, 0, 0, 0, 0], fails(libc::ESRCH),
        "makes single calls in the program's place, which map its rings") },
    call("process_vm_readv", libc::SYS_process_vm_readv, [NOBODY, 0, 0, 0, 0, 0], Answer::Succeeds,
        "reads what calls point at"),
    Need { since: "5.3", ..call("pidfd_open", libc::SYS_pidfd_open, [0, UNKNOWN, 0, 0, 0, 0], fails(libc::EINVAL),
        "refers to processes, whatever becomes of their numbers") },
    Need { since: "5.6", ..call("pidfd_getfd", libc::SYS_pidfd_getfd, [NONE, 0, 0, 0, 0, 0], fails(libc::EBADF),
        "takes copies of the program's descriptors, to know which ring they are") },
    Need { since: "5.1", ..call("pidfd_send_signal", libc::SYS_pidfd_send_signal, [NONE, 0, 0, 0, 0, 0], fails(libc::EBADF),
        "passes signals on to the program") },
    Need { when: When::Split, ..call("kcmp", libc::SYS_kcmp, [NOBODY, NOBODY, 1, 0, 0, 0], fails(libc::ESRCH),
        "tells which ring a descriptor is") },
    Need { when: When::Split, ..call("epoll_create1", libc::SYS_epoll_create1, [UNKNOWN, 0, 0, 0, 0, 0], fails(libc::EINVAL),
        "holds the identity of each ring") },
    Need { when: When::Split, ..call("epoll_ctl", libc::SYS_epoll_ctl, [NONE, libc::EPOLL_CTL_DEL as u64, 0, 0, 0, 0], fails(libc::EBADF),
        "registers each ring, once") },
    Need { when: When::Split, ..call("memfd_create", libc::SYS_memfd_create, [0, UNKNOWN, 0, 0, 0, 0], fails(libc::EINVAL),
        "makes the memory that rings are in") },
    Need { when: When::Split, ..call("ftruncate", libc::SYS_ftruncate, [NONE, 0, 0, 0, 0, 0], fails(libc::EBADF),
        "gives that memory its size") },
    Need { when: When::Split, ..call("fcntl", libc::SYS_fcntl, [NONE, libc::F_ADD_SEALS as u64, 0, 0, 0, 0], fails(libc::EBADF),
        "seals that memory") },
    Need { when: When::Split, ..call("madvise", libc::SYS_madvise, [0, 0, libc::MADV_DONTFORK as u64, 0, 0, 0], Answer::Succeeds,
        "keeps private requests out of forked children") },
    Need { when: When::Split, ..call("prlimit64", libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE as u64, 0, 0, 0, 0], Answer::Succeeds,
        "raises the limits that rings count against") },
    call("pipe2", libc::SYS_pipe2, [0, UNKNOWN, 0, 0, 0, 0], fails(libc::EINVAL),
        "connects the guard with its watchdog"),
    call("socketpair", libc::SYS_socketpair, [libc::AF_UNIX as u64, libc::SOCK_SEQPACKET as u64, 0, 0, 0, 0], fails(libc::EFAULT),
        "connects the guard with the program until that starts"),
    call("eventfd2", libc::SYS_eventfd2, [0, UNKNOWN, 0, 0, 0, 0], fails(libc::EINVAL),
        "wakes the guard's main thread"),
    call("signalfd4", libc::SYS_signalfd4, [NONE, 0, 8, UNKNOWN, 0, 0], Answer::FailsEither(libc::EINVAL, libc::EFAULT),
        "tells of children that have ended"),
    call("ppoll", libc::SYS_ppoll, [0, NONE, 0, 0, 0, 0], fails(libc::EINVAL),
        "waits for whatever comes first"),
    call("waitid", libc::SYS_waitid, [libc::P_ALL as u64, 0, 0, (libc::WEXITED | libc::WNOHANG) as u64, 0, 0], fails(libc::ECHILD),
        "collects the status of the program, and the dead"),
    call("wait4", libc::SYS_wait4, [NONE, 0, libc::WNOHANG as u64, 0, 0, 0], fails(libc::ECHILD),
        "waits for threads that are stopped"),
    Need { when: When::Split, ..call("kill", libc::SYS_kill, [NOBODY, 0, 0, 0, 0, 0], fails(libc::ESRCH),
        "ends the tree when the guard ends") },
    Need { when: When::Split, ..call("nanosleep", libc::SYS_nanosleep, [0, 0, 0, 0, 0, 0], fails(libc::EFAULT),
        "pauses while the tree is ended") },
    call("getdents64", libc::SYS_getdents64, [NONE, 0, 0, 0, 0, 0], fails(libc::EBADF),
        "lists descriptors that were left open for the program"),
    #[cfg(target_arch = "x86_64")]
    Need { when: When::Split, ..call("readlink", libc::SYS_readlink, [0, 0, 0, 0, 0, 0], fails(libc::EINVAL),
        "tells which of them are rings") },
    call("pwrite64", libc::SYS_pwrite64, [NONE, 0, 0, 0, 0, 0], fails(libc::EBADF),
        "writes results into the program's memory, by `/proc/PID/mem`"),
    Need {
        name: PROC, number: None, when: When::Always, since: "",
        purpose: "tells of processes by their numbers, and leads to their memory",
        attempt: Attempt::OwnProc,
    },
    Need {
        name: OWN_MEMORY, number: None, when: When::Split, since: "6.10",
        purpose: "makes rings in memory of the guard's own, of any pages",
        attempt: Attempt::RingInOwnMemory,
    },
    Need {
        name: "/proc/thread-self/children", number: None, when: When::Split, since: "",
        purpose: "finds everything that the program has started",
        attempt: Attempt::Readable("/proc/thread-self/children"),
    },
    Need { when: When::Arguments, since: "6.10", ..call("mseal", 462, [0; 6], Answer::Succeeds,
        "puts arguments out of the program's reach, for good") },
];

/// Everything that the guard needs under some policy.
pub fn needs() -> &'static [Need] {
    NEEDS
}

/// Tries what is needed `when`; gives what cannot be had. Takes one or
/// two milliseconds.
pub fn missing(when: When) -> Vec<Missing> {
    let wanted: Vec<_> = NEEDS.iter().filter(|need| need.when <= when).collect();
    let results = series(wanted.len(), |index| wanted[index].attempt.make());
    // Without children nothing was tried.
    if let Some(Err(TrialError::NoChild(error))) = results.first() {
        let clone = NEEDS.iter().find(|need| need.name == "clone");
        return clone.map(|need| Missing::new(need, TrialError::Failed(*error))).into_iter().collect();
    }
    let mut missing: Vec<_> = wanted
        .iter()
        .zip(results)
        .filter_map(|(need, result)| Some(Missing::new(need, result.err()?)))
        .collect();
    if missing.iter().any(|missing| missing.need.name == "io_uring_setup") {
        // Then it goes without saying.
        missing.retain(|missing| missing.need.name != OWN_MEMORY);
    }
    if missing.iter().any(|missing| missing.need.name == PROC) {
        // Without it there are none of its files.
        missing.retain(|missing| missing.need.name == PROC || !missing.need.name.starts_with(PROC));
    }
    // What stands before everything else is told first.
    missing.sort_by_key(|missing| missing.by != Culprit::Supervisor);
    if missing.first().is_some_and(|first| first.by == Culprit::Supervisor) {
        // Another guard also refuses what would lead around it.
        missing.truncate(1);
    }
    missing
}

/// Whether `/proc` is there, and that of this process's namespace of PIDs.
pub(crate) fn missing_proc() -> Option<Missing> {
    let need = NEEDS.iter().find(|need| need.name == PROC)?;
    let error = tree::proc_is_ours().err()?;
    Some(Missing::new(need, TrialError::Failed(error)))
}

/// Whether an error is the kernel's way to say that it has no such call.
fn says_unknown(error: TrialError) -> bool {
    matches!(error, TrialError::Failed(Errno::NOSYS | Errno::INVAL | Errno::NOENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missing_where_the_tests_run() {
        let missing = missing(When::Arguments);
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_documentation_has_the_same_list() {
        let docs = include_str!("../../../../docs/guard.md");
        let row = |need: &Need| format!("| `{}` | {} | {} |", need.name, need.purpose, need.when.describe());
        let expected: Vec<_> = NEEDS.iter().map(row).collect();
        let table = docs.lines().skip_while(|line| !line.starts_with("| needs |")).skip(2);
        let rows: Vec<_> = table.take_while(|line| line.starts_with('|')).collect();
        assert_eq!(rows, expected, "docs/guard.md should have\n{}", expected.join("\n"));
    }

    #[test]
    fn nothing_is_listed_twice() {
        let mut names: Vec<_> = NEEDS.iter().map(|need| need.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NEEDS.len());
    }
}
