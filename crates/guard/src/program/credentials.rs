//! A program's user, for a moment.
//!
//! A privileged program that starts as root often goes on as somebody else. Then the guard, which stays
//! root, may look into it only with CAP_SYS_PTRACE, which containers do not have by default. But a thread
//! whose real and file system ids are the program's may: the rule of `__ptrace_may_access` for equals
//! (`kernel/ptrace.c`), which holds for programs that have executed since they changed their ids, may be
//! read by their user, and have no capabilities. So what fails for want of rights is tried again by the
//! calling thread with those ids. Its effective and saved ids stay, and with them the way back.
//!
//! While it lasts that user may send signals to the thread, as he may to a guard of his own. It ends the
//! guard, and with it the tree.

use crate::program::pidfd_info::PidfdInfo;
use crate::program::proc;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::fs::File;
use std::sync::OnceLock;

/// Ids as `/proc/PID/status` has them, in the guard's user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ids {
    uid: u32,
    gid: u32,
}

/// Does what may need the rights of `tid`'s user, with the guard's own rights first.
///
/// # Errors
/// Those of `attempt`, the first one where no other rights can be had.
pub(crate) fn as_its_user<T>(tid: Pid, mut attempt: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let error = match attempt() {
        Err(error @ (Errno::PERM | Errno::ACCESS)) => error,
        result => return result,
    };
    match proc::text(tid, "status").ok().as_deref().and_then(ids_of).and_then(Borrowed::new) {
        Some(_borrowed) => attempt(),
        None => Err(error),
    }
}

/// The ids of a task all of whose user ids, and all of whose group ids, are the same. Names of programs
/// cannot forge these lines: their line ends are escaped (`proc_task_name`).
fn ids_of(status: &str) -> Option<Ids> {
    let one_for_all = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let mut ids = line.split_whitespace().map(str::parse::<u32>);
        let first = ids.next()?.ok()?;
        ids.take(2).all(|id| id == Ok(first)).then_some(first)
    };
    Some(Ids { uid: one_for_all("Uid:")?, gid: one_for_all("Gid:")? })
}

/// The calling thread has other ids until this is dropped.
struct Borrowed {
    before: Ids,
    effective: Ids,
}

impl Borrowed {
    /// `None` where the guard may not change its ids, or would become dumpable by it.
    fn new(ids: Ids) -> Option<Self> {
        use rustix::process::{getegid, geteuid, getgid, getuid};
        if !stays_undumpable() {
            return None;
        }
        let before = Ids { uid: getuid().as_raw(), gid: getgid().as_raw() };
        let effective = Ids { uid: geteuid().as_raw(), gid: getegid().as_raw() };
        let borrowed = Self { before, effective };
        // Groups first: they need a capability of the user's.
        let done = set_real(libc::SYS_setresgid, ids.gid) && set_real(libc::SYS_setresuid, ids.uid);
        set_files(ids);
        // Dropped, it undoes what was done.
        done.then_some(borrowed)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // First the file system id by itself, which gives back the capabilities that go with it
        // (`cap_task_fix_setuid`).
        set_files(self.effective);
        set_real(libc::SYS_setresuid, self.before.uid);
        set_real(libc::SYS_setresgid, self.before.gid);
    }
}

/// What `/proc/TID/status` said of a task.
#[derive(Debug)]
pub(crate) struct TaskStatus {
    text: String,
    /// Its process.
    pub(crate) process: Pid,
}

impl TaskStatus {
    /// # Errors
    /// `ESRCH` or `ENOENT` when it is gone.
    pub(crate) fn of(tid: Pid) -> Result<Self, Errno> {
        let mut status = Self { text: proc::text(tid, "status")?, process: tid };
        let process = status.line("Tgid:").and_then(|number| Pid::from_raw(number.parse().ok()?));
        status.process = process.ok_or(Errno::SRCH)?;
        Ok(status)
    }

    /// Whether some thread traces it.
    pub(crate) fn is_traced(&self) -> bool {
        self.line("TracerPid:") != Some("0")
    }

    /// What a line says after `name`, which includes the colon.
    fn line(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
    }
}

/// The user for whom memory is counted that a thread of the guard takes for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    ids: Ids,
    /// It may lock as much memory as it likes.
    locks_memory: bool,
}

impl Owner {
    /// The owner of what a task asks for; `None` where that makes no difference, or none that the guard could
    /// make.
    pub(crate) fn of(task: &TaskStatus) -> Option<Self> {
        Self::with(|| {
            let effective = u64::from_str_radix(task.line("CapEff:")?, 16).ok()?;
            Some((ids_of(&task.text), CapabilitySet::from_bits_retain(effective), task.process))
        })
    }

    /// The same of a thread.
    pub(crate) fn of_thread(thread: &PidfdInfo) -> Option<Self> {
        Self::with(|| {
            let [[uid, gid], effective, saved] = thread.ids;
            let one_for_all = [effective, saved] == [[uid, gid]; 2];
            let capabilities = capabilities(Some(thread.tid)).ok()?.effective;
            Some((one_for_all.then_some(Ids { uid, gid }), capabilities, thread.tid))
        })
    }

    /// The same of the task that has those ids, if they are one user's, and capabilities.
    fn with(who: impl FnOnce() -> Option<(Option<Ids>, CapabilitySet, Pid)>) -> Option<Self> {
        static PRIVILEGED: OnceLock<bool> = OnceLock::new();
        let privileged = || {
            let useful = CapabilitySet::SETUID | CapabilitySet::IPC_LOCK;
            capabilities(None).is_ok_and(|sets| sets.effective.intersects(useful))
        };
        if !PRIVILEGED.get_or_init(privileged) || !stays_undumpable() {
            return None;
        }
        let (ids, effective, task) = who()?;
        // What counts is a capability outside of user namespaces (`capable`), where the guard that has it is.
        let locks_memory = effective.contains(CapabilitySet::IPC_LOCK) && shares_user_namespace(task);
        // One with several users is rare, and counted for the guard's.
        let own = Ids { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let ids = ids.unwrap_or(own);
        (ids != own || !locks_memory).then_some(Self { ids, locks_memory })
    }

    /// Makes the calling process, which must have nothing else to do, that user's as far as it can. That one may send
    /// it signals from then on.
    pub(crate) fn become_for_good(self) {
        let Self { ids: Ids { uid, gid }, locks_memory } = self;
        // Memory is counted for the real user (`current_user`). With that one's other ids the user could change the
        // guard's limits (`check_prlimit_permission`).
        set_real(libc::SYS_setresgid, gid);
        set_real(libc::SYS_setresuid, uid);
        if !locks_memory && let Ok(mut sets) = capabilities(None) {
            sets.effective.remove(CapabilitySet::IPC_LOCK);
            let _ = set_capabilities(None, sets);
        }
    }
}

/// Whether a task is in the calling process's user namespace.
fn shares_user_namespace(task: Pid) -> bool {
    /// Kept open, so that the kernel does not make the namespace's inode anew for each look (`path_from_stashed` in
    /// `fs/libfs.c`; 3 in place of 9 µs on 6.18).
    static OWN: OnceLock<Option<(File, (u64, u64))>> = OnceLock::new();
    let own = || {
        let namespace = File::open("/proc/self/ns/user").ok()?;
        let stat = rustix::fs::fstat(&namespace).ok()?;
        Some((namespace, (stat.st_dev, stat.st_ino)))
    };
    let theirs = rustix::fs::stat(format!("/proc/{}/ns/user", task.as_raw_nonzero())).ok();
    let own = OWN.get_or_init(own).as_ref().map(|(_, own)| *own);
    own.is_some() && own == theirs.map(|stat| (stat.st_dev, stat.st_ino))
}

/// Whether a process whose file system ids change stays one that nobody can look into.
fn stays_undumpable() -> bool {
    static SAFE: OnceLock<bool> = OnceLock::new();
    *SAFE.get_or_init(|| {
        let setting = std::fs::read_to_string("/proc/sys/fs/suid_dumpable");
        setting.is_ok_and(|setting| setting.trim() != "1")
    })
}

/// Sets the calling thread's real id, with `setresuid` or `setresgid` of the kernel itself: the C library's
/// change all threads.
fn set_real(call: libc::c_long, id: u32) -> bool {
    // SAFETY: integers only; the ids of this thread are nobody's invariant.
    unsafe { libc::syscall(call, id, -1, -1) == 0 }
}

fn set_files(ids: Ids) {
    // SAFETY: as in `set_real`. Both cannot fail in a way that they would tell.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, ids.gid);
        libc::syscall(libc::SYS_setfsuid, ids.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_task_with_one_user_and_group_has_ids() {
        let status = |uids: &str, gids: &str| {
            format!("Name:\ta\\nUid:\t0\t0\t0\t0\nTgid:\t7\nUid:\t{uids}\nGid:\t{gids}\nGroups:\t0\n")
        };
        let ids = |uids, gids| ids_of(&status(uids, gids));
        assert_eq!(ids("5\t5\t5\t5", "6\t6\t6\t6"), Some(Ids { uid: 5, gid: 6 }));
        for (uids, gids) in [
            ("5\t0\t5\t5", "6\t6\t6\t6"),
            ("0\t5\t5\t5", "6\t6\t6\t6"),
            ("5\t5\t0\t5", "6\t6\t6\t6"),
            ("5\t5\t5\t5", "0\t6\t6\t6"),
            ("x", "6\t6\t6\t6"),
        ] {
            assert_eq!(ids(uids, gids), None, "{uids} {gids}");
        }
        assert_eq!(ids_of("Name:\tUid: 1 1 1\n"), None);
    }

    #[test]
    fn rights_are_borrowed_only_when_they_are_lacking_and_given_back() {
        let own = rustix::thread::gettid();
        assert_eq!(as_its_user(own, || Ok(7)), Ok(7));
        assert_eq!(as_its_user(own, || Err::<(), _>(Errno::FAULT)), Err(Errno::FAULT));
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let thread = || std::fs::read_to_string("/proc/thread-self/status").expect("status");
        let before = thread();
        let borrowed = Borrowed::new(Ids { uid: 65534, gid: 65533 }).expect("root may");
        assert!(thread().contains("Uid:\t65534\t0\t0\t65534\nGid:\t65533\t0\t0\t65533\n"), "{}", thread());
        drop(borrowed);
        let lines =
            |text: &str, name: &str| text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        for name in ["Uid:", "Gid:", "CapEff:", "CapPrm:"] {
            assert_eq!(lines(&thread(), name), lines(&before, name));
        }
    }

    #[test]
    fn a_capability_in_a_user_namespace_of_ones_own_locks_no_memory() {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};
        if !rustix::process::geteuid().is_root() || !stays_undumpable() {
            return;
        }
        let locks = |program: &[&str]| {
            let mut command = Command::new(program[0]);
            command.args(&program[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().expect("a program");
            let mut line = String::new();
            // It is where it wants to be when it says so.
            BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
            let owner = Owner::of(&TaskStatus::of(Pid::from_child(&child)).expect("a status"));
            drop(child.stdin.take());
            child.wait().expect("its end");
            owner.is_none_or(|owner| owner.locks_memory)
        };
        let waits = ["sh", "-c", "echo; read x"];
        assert!(locks(&waits));
        assert!(!locks(&[&["unshare", "--user", "--map-root-user"], &waits[..]].concat()));
    }
}
