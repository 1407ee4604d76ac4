//! Calls that take too long.

use super::Supervisor;
use crate::deadline::Overdue;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// Serving threads that may hang at a time, in memory of processes that have been killed already, or in
/// threads that cannot run.
const MOST_HANGING: usize = 64;

impl Supervisor {
    /// Called once a second: kills each process that holds up a call of its own. The thread that serves it
    /// may hang on, which is no matter as long as it holds up nobody else.
    ///
    /// # Errors
    /// `ETIMEDOUT`: the guard itself is held up.
    pub(crate) fn end_overdue(&self) -> Result<(), Errno> {
        let mut hanging = 0;
        for deadline in self.turns.deadlines() {
            let Some(Overdue { id, tid, times }) = deadline.overdue() else { continue };
            hanging += 1;
            if hanging <= MOST_HANGING && self.freezers.cannot_run(tid) {
                deadline.excuse();
            } else if times == 0 {
                self.end(id, tid);
            } else if hanging > MOST_HANGING || self.state.try_lock().is_err() {
                return Err(Errno::TIMEDOUT);
            }
        }
        Ok(())
    }

    /// Kills the process that holds up the notification `id` of its thread `tid`, unless that number may be
    /// somebody else's by now.
    fn end(&self, id: u64, tid: Pid) {
        // Injections begin with an answer, but who is traced cannot vanish.
        if self.listener.is_valid(id) || is_traced_here(tid) {
            // A signal to any thread's number reaches its process, SIGKILL all of it.
            let _ = kill_process(tid, Signal::KILL);
        }
    }
}

/// Whether a thread of this process traces the thread `tid`.
fn is_traced_here(tid: Pid) -> bool {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", tid.as_raw_nonzero())).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(str::trim);
    tracer.is_some_and(|tracer| std::path::Path::new("/proc/self/task").join(tracer).exists())
}
