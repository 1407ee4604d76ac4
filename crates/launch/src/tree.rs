//! The process tree below a subreaper: ending it, and collecting the dead.

use crate::wait;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};
use rustix::thread::Timespec;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// How long [`Children::kill_all_but`] waits for a process to die before it looks again.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// Makes the calling process the one that inherits every orphan below it.
pub fn adopt_orphans() {
    // Fails only on kernels before 3.4.
    let _ = set_child_subreaper(Some(getpid()));
}

/// Whether `/proc` is that of the namespace of PIDs which the calling process is in. In another one its numbers are other
/// processes'.
///
/// # Errors
/// `ENOENT` where it is missing, or something else is mounted there; `ESRCH` where it is that of another namespace.
pub fn proc_is_ours() -> Result<(), Errno> {
    let found = rustix::fs::readlink("/proc/self", Vec::new());
    let number = found.map_err(|_| Errno::NOENT)?;
    let own = getpid().as_raw_nonzero().to_string();
    if number.as_bytes() == own.as_bytes() { Ok(()) } else { Err(Errno::SRCH) }
}

/// The children of the calling process, the dead included.
///
/// Opened once and read again and again: without descriptors, which a hostile program can bring about
/// with `prlimit`, nobody could be found any more.
#[derive(Debug)]
pub struct Children(File);

impl Children {
    /// Those of the calling thread, who must be the main one: orphans become its.
    ///
    /// # Errors
    /// `ENOENT` on a kernel that was built without `CONFIG_PROC_CHILDREN`, and those of [`proc_is_ours`].
    pub fn open() -> Result<Self, Errno> {
        proc_is_ours()?;
        let file = File::open("/proc/thread-self/children");
        file.map(Self).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOENT))
    }

    /// All of them.
    ///
    /// # Errors
    /// They cannot be told at the moment, which does not mean that there are none.
    pub fn list(&self) -> std::io::Result<Vec<Pid>> {
        let (mut list, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            match self.0.read_at(&mut chunk, list.len() as u64)? {
                0 => break,
                count => list.extend_from_slice(&chunk[..count]),
            }
        }
        let numbers = String::from_utf8_lossy(&list);
        Ok(numbers.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect())
    }

    /// Kills everything below the calling subreaper but for the children `spared`, who must not have
    /// been waited for. Killed parents leave their children to it, so it goes on until no other child is
    /// left.
    pub fn kill_all_but(&self, spared: &[Pid]) {
        loop {
            let mut doomed = self.list();
            if let Ok(doomed) = &mut doomed {
                doomed.retain(|child| !spared.contains(child));
                if doomed.is_empty() {
                    return;
                }
            }
            let doomed = doomed.unwrap_or_default();
            for &child in &doomed {
                let _ = kill_process(child, Signal::KILL);
            }
            // Never blocks on one: a dead child that a descendant traces cannot be collected before the
            // tracer has died, too, and that one may become a child only now.
            if doomed.into_iter().filter(|&child| reap(child)).count() == 0 {
                // Not that of `std`, which a stream of signals keeps from ever coming to its end.
                let _ = rustix::thread::nanosleep(&PAUSE);
            }
        }
    }

    /// Collects dead children but for those that are `kept`, whose status is still to be read. The look at a
    /// child that a thread of this process traces would take its stop away from the tracer, so those that
    /// `may` not be looked at are left, too; whether there were none of them.
    pub fn reap_all_but(&self, kept: impl Fn(Pid) -> bool, may: impl Fn(Pid) -> bool) -> bool {
        let children = self.list().unwrap_or_default().into_iter().filter(|&child| !kept(child));
        let (ours, left): (Vec<_>, Vec<_>) = children.partition(|&child| may(child));
        ours.into_iter().for_each(|child| {
            reap(child);
        });
        left.is_empty()
    }
}

/// Collects a child that is dead; whether it was.
fn reap(child: Pid) -> bool {
    wait::ended(child).is_ok_and(|dead| dead.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::process::{Command, Stdio};

    fn cat() -> std::process::Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat")
    }

    #[test]
    fn a_child_is_found_alive_or_dead() {
        let children = Children::open().expect("a list");
        let mut child = cat();
        let pid = Pid::from_child(&child);
        let list = || children.list().expect("a list");
        assert!(list().contains(&pid), "alive");
        drop(child.stdin.take());
        let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), end).expect("the end");
        assert!(list().contains(&pid), "dead");
        child.wait().expect("wait");
        assert!(!list().contains(&pid), "gone");
    }

    #[test]
    fn all_are_killed_but_those_that_are_spared() {
        let children = Children::open().expect("a list");
        let mut spared = cat();
        let doomed: Vec<_> = (0..3).map(|_| cat()).collect();
        children.kill_all_but(&[Pid::from_child(&spared)]);
        assert_eq!(children.list().expect("a list"), [Pid::from_child(&spared)]);
        drop(spared.stdin.take());
        assert!(spared.wait().expect("wait").success());
        drop(doomed);
    }
}
