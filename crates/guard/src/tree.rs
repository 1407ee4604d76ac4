//! The process tree below a subreaper: ending it, and collecting the dead.

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, set_child_subreaper, waitid,
};
use rustix::thread::Timespec;
use std::fs;

/// How long [`kill_all`] waits for somebody to die before it looks again.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// Makes the calling process the one that inherits every orphan below it.
pub(crate) fn adopt_orphans() {
    // Fails only on kernels before 3.4.
    let _ = set_child_subreaper(Some(getpid()));
}

/// Kills everything below the calling subreaper but for the children `spared`, who must not have been
/// waited for. Killed parents leave their children to it, so it goes on until no other child is left.
pub(crate) fn kill_all(spared: &[Pid]) {
    loop {
        let mut doomed = children();
        doomed.retain(|child| !spared.contains(child));
        if doomed.is_empty() {
            return;
        }
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

/// Collects dead children but for `kept`, whose status somebody wants.
///
/// No thread of this process may be tracing meanwhile: the look at a traced child would take its stop
/// away from the tracer.
pub(crate) fn reap_orphans(kept: Pid) {
    for child in children().into_iter().filter(|&child| child != kept) {
        reap(child);
    }
}

/// Collects a child that is dead; whether it was.
fn reap(child: Pid) -> bool {
    waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).is_ok_and(|dead| dead.is_some())
}

/// The direct children of the calling process, dead ones included.
pub(crate) fn children() -> Vec<Pid> {
    listed_children().unwrap_or_else(children_by_parent)
}

/// As the kernel lists them; `None` on one that was built without `CONFIG_PROC_CHILDREN`.
fn listed_children() -> Option<Vec<Pid>> {
    let mut all = Vec::new();
    for task in fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?.path();
        match fs::read_to_string(task.join("children")) {
            Ok(list) => {
                all.extend(list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
            }
            // A thread that has just ended has no children.
            Err(_) if !task.exists() => {}
            Err(_) => return None,
        }
    }
    Some(all)
}

/// Every process of the machine whose parent is the calling one.
fn children_by_parent() -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|process| Pid::from_raw(process.ok()?.file_name().to_str()?.parse().ok()?))
        .filter(|&process| parent(process) == Some(getpid()))
        .collect()
}

fn parent(process: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    // `pid (name) state parent …`, and a name may contain anything.
    Pid::from_raw(stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn both_ways_find_a_child_alive_or_dead() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat");
        let pid = Pid::from_child(&child);
        let find = || [listed_children().unwrap_or_default(), children_by_parent()];
        assert!(find().iter().all(|found| found.contains(&pid)), "alive");
        drop(child.stdin.take());
        let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), end).expect("the end");
        assert!(find().iter().all(|found| found.contains(&pid)), "dead");
        child.wait().expect("wait");
        assert!(find().iter().all(|found| !found.contains(&pid)), "gone");
    }
}
