//! Processes that live for a few system calls.

use super::clone_into::clone_into;
use super::groups::ControlGroups;
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::ffi::{c_int, c_void};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::atomic::{AtomicBool, Ordering};

/// Enough for a few system calls.
const STACK: usize = 64 << 10;

/// Has a new process with the same memory and descriptors do a few system calls, in those control groups; it is over
/// when this returns. The calling thread is suspended meanwhile, as by `vfork(2)`, and leaves the processor to it: nobody
/// has to be woken on another, which would take longer than the calls.
///
/// A thread would do, if it had not the program's user: who may send signals to a thread may end or stop its process.
///
/// # Errors
/// Those of `work`; `EAGAIN` where there can be no process, or the program has ended or stopped it; `ENOMEM` where it
/// cannot be in one of the groups.
pub(super) fn by_a_process_of_its_own<T>(
    groups: &ControlGroups,
    work: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mut result = MaybeUninit::uninit();
    // There is all of the result: whoever kills the process may do so while it is written.
    let done = AtomicBool::new(false);
    run(libc::CLONE_VM, groups, || {
        result.write(groups.enter().and_then(|()| work()));
        done.store(true, Ordering::Release);
        0
    })?;
    if !done.load(Ordering::Acquire) {
        return Err(Errno::AGAIN);
    }
    // SAFETY: it was written before, by a process that has ended.
    unsafe { result.assume_init() }
}

/// The same with a copy of the memory, for what the kernel charges by memory (`mm_struct`) and not by task.
///
/// # Errors
/// `EAGAIN` where there can be no process; `ENOMEM` otherwise.
pub(super) fn in_memory_of_its_own(
    groups: &ControlGroups,
    work: impl FnOnce() -> Result<(), Errno>,
) -> Result<(), Errno> {
    match run(0, groups, || groups.enter().and_then(|()| work()).is_err().into())? {
        Some(0) => Ok(()),
        _ => Err(Errno::NOMEM),
    }
}

/// Has a new process do `work`, and gives the status with which it exits by what `work` gives; `None` if it does not. It
/// ends, too, should `work` panic.
///
/// # Errors
/// As [`by_a_process_of_its_own`].
fn run<W: FnOnce() -> c_int>(memory: c_int, groups: &ControlGroups, work: W) -> Result<Option<c_int>, Errno> {
    extern "C" fn entry<W: FnOnce() -> c_int>(work: *mut c_void) -> c_int {
        // SAFETY: it outlives the process, and nobody else looks at it.
        let work = unsafe { work.cast::<W>().read() };
        work()
    }
    let mut work = ManuallyDrop::new(work);
    let argument = (&raw mut work).cast();
    let mut stack = vec![MaybeUninit::<u128>::uninit(); STACK / size_of::<u128>()];
    // Without memory of its own for a library's variables. It has those of the calling thread, which does nothing
    // until it ends. No signal tells of its end, so that only this thread hears of it.
    let flags = memory | libc::CLONE_FS | libc::CLONE_FILES;
    let _here = Stay::here();
    let process = match &groups.folder {
        None => {
            let top = stack.as_mut_ptr_range().end;
            // SAFETY: the stack is large enough for `work`, which calls no deeper than system calls, and aligned as
            // the architecture wants it. It and `work` are there until the process has ended, which is waited for.
            let cloned = unsafe { libc::clone(entry::<W>, top.cast(), flags, argument) };
            Pid::from_raw(cloned.max(0)).ok_or(Errno::AGAIN)
        }
        // SAFETY: likewise.
        Some(folder) => unsafe { clone_into(folder.as_fd(), flags, &mut stack, entry::<W>, argument) },
    };
    Ok(wait_for(process?))
}

/// Keeps the calling thread on its processor until this is dropped, and the processes that it makes. Those would
/// otherwise begin on the one that has the least to do (`select_task_rq_fair`, `SD_BALANCE_FORK`), which has to be woken
/// or, where none is idle, is waited for.
struct Stay(CpuSet);

impl Stay {
    /// `None` where that may not be.
    fn here() -> Option<Self> {
        let before = sched_getaffinity(None).ok()?;
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        sched_setaffinity(None, &here).ok()?;
        Some(Self(before))
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        // What was in force can be again.
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// `__WALL`: whatever signal tells of a child's end.
const ALL: u32 = 0x4000_0000;

/// Waits until a process that was cloned without a signal has ended, by whichever call a seccomp filter leaves, and gives
/// the status with which it exited, if it did and nobody else has heard of it. One that somebody stops is killed.
///
/// # Panics
/// Ends this process if it cannot tell: the other one has its memory.
fn wait_for(process: Pid) -> Option<c_int> {
    let by_id = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::from_bits_retain(ALL);
    let by_number = WaitOptions::UNTRACED | WaitOptions::from_bits_retain(ALL);
    loop {
        let (stopped, status) = match waitid(WaitId::Pid(process), by_id) {
            Ok(Some(change)) => (change.stopped(), change.exit_status()),
            Ok(None) | Err(Errno::INTR) => continue,
            // Collected by somebody else, or by the kernel.
            Err(Errno::CHILD) => return None,
            Err(_) => match waitpid(Some(process), by_number) {
                Ok(Some((_, change))) => (change.stopped(), change.exit_status()),
                Ok(None) | Err(Errno::INTR) => continue,
                Err(Errno::CHILD) => return None,
                Err(_) => std::process::abort(),
            },
        };
        if !stopped {
            return status;
        }
        let _ = kill_process(process, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, OFlags, open};
    use std::fs;
    use std::path::PathBuf;

    /// A group of version 2, where one can be made, gone when this is dropped.
    struct Group(PathBuf);

    impl Group {
        fn new(name: &str) -> Option<Self> {
            let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
            let mounts = mounts.lines().filter_map(|line| line.split_once(" cgroup2 ")?.0.split(' ').nth(1));
            let name = format!("ringwarden-{name}-{}", std::process::id());
            let group =
                mounts.map(|at| PathBuf::from(at).join(&name)).find(|path| fs::create_dir(path).is_ok());
            if group.is_none() {
                eprintln!("skipped: no control groups of version 2");
            }
            group.map(Self)
        }

        fn groups(&self) -> ControlGroups {
            let folder = open(&self.0, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("a folder");
            ControlGroups { folder: Some(folder), ..ControlGroups::default() }
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            let _ = fs::remove_dir(&self.0);
        }
    }

    fn of_every_kind(name: &str, test: impl Fn(&ControlGroups)) {
        test(&ControlGroups::default());
        if let Some(group) = Group::new(name) {
            test(&group.groups());
        }
    }

    #[test]
    fn no_process_is_left() {
        of_every_kind("left", |groups| {
            for number in 0..1000 {
                assert_eq!(by_a_process_of_its_own(groups, || Ok(number)), Ok(number));
            }
            let failed: Result<(), _> = by_a_process_of_its_own(groups, || Err(Errno::MFILE));
            assert_eq!(failed, Err(Errno::MFILE));
            let children = fs::read_to_string("/proc/thread-self/children").expect("children");
            assert_eq!(children, "");
        });
    }

    /// Its user may be the program's, who may send signals to it.
    #[test]
    fn one_that_is_killed_or_stopped_does_nothing_and_harms_nobody() {
        of_every_kind("killed", |groups| {
            for signal in [Signal::KILL, Signal::STOP] {
                let die = || {
                    let _ = kill_process(rustix::process::getpid(), signal);
                    unreachable!("a signal that nobody can block");
                };
                let made: Result<(), _> = by_a_process_of_its_own(groups, die);
                assert_eq!(made, Err(Errno::AGAIN), "{signal:?}");
                assert_eq!(in_memory_of_its_own(groups, die), Err(Errno::NOMEM), "{signal:?}");
            }
        });
    }

    #[test]
    fn memory_of_its_own_is_a_copy_and_descriptors_are_not() {
        of_every_kind("memory", |groups| {
            let (mut number, file) = (1, tempfile::tempfile().expect("a file"));
            let written = in_memory_of_its_own(groups, || {
                number = std::hint::black_box(2);
                rustix::fs::ftruncate(&file, number)
            });
            assert_eq!((written, number), (Ok(()), 1));
            assert_eq!(file.metadata().expect("a length").len(), 2);
            assert_eq!(in_memory_of_its_own(groups, || Err(Errno::IO)), Err(Errno::NOMEM));
        });
    }

    #[test]
    fn it_is_in_the_group_and_does_nothing_where_there_is_none() {
        let Some(group) = Group::new("entered") else { return };
        let groups = group.groups();
        let in_group = by_a_process_of_its_own(&groups, || {
            let file = rustix::fs::openat(CWD, c"/proc/self/cgroup", OFlags::CLOEXEC, Mode::empty())?;
            let mut text = [0; 4096];
            let len = rustix::io::read(file, &mut text)?;
            Ok((text, len))
        });
        let (text, len) = in_group.expect("a process");
        let text = String::from_utf8_lossy(&text[..len]).into_owned();
        let name = group.0.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(text.contains(&name), "{text}");
        drop(group);
        assert_eq!(by_a_process_of_its_own(&groups, || Ok(())), Err(Errno::NOMEM));
        let no_tasks = ControlGroups { tasks: vec![open_null()], folder: None };
        let made = by_a_process_of_its_own(&no_tasks, || Ok(()));
        assert_eq!(made, Err(Errno::NOMEM), "not even moved");
    }

    /// Cannot be written to.
    fn open_null() -> rustix::fd::OwnedFd {
        open("/dev/null", OFlags::CLOEXEC, Mode::empty()).expect("a file")
    }
}
