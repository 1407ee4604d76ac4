//! The process tree below a subreaper: ending it, and collecting the dead.

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, set_child_subreaper, wait, waitid,
};

/// Makes the calling process the one that inherits every orphan below it.
pub(crate) fn adopt_orphans() {
    // Fails only on kernels before 3.4.
    let _ = set_child_subreaper(Some(rustix::process::getpid()));
}

/// Kills everything below the calling subreaper. Killed parents leave their children to it, so it
/// goes on until no child is left.
pub(crate) fn kill_all() {
    loop {
        for child in children() {
            let _ = kill_process(child, Signal::KILL);
        }
        // Any child, whatever its process group.
        match wait(WaitOptions::empty()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Collects dead children but for `kept`, whose status somebody wants.
///
/// No thread of this process may be tracing meanwhile: the look at a traced child would take its stop
/// away from the tracer.
pub(crate) fn reap_orphans(kept: Pid) {
    for child in children().into_iter().filter(|&child| child != kept) {
        let dead = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _ = waitid(WaitId::Pid(child), dead);
    }
}

/// The direct children of the calling process.
fn children() -> Vec<Pid> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .filter_map(Pid::from_raw)
        .collect()
}
