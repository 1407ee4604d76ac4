//! Calls that take too long.

use crate::audit::Killed;
use crate::program::frozen::Freezers;
use crate::program::proc;
use crate::serve::Serve;
use crate::serve::deadline::{Overdue, weight};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, pidfd_send_signal};
use std::path::Path;
use std::time::Duration;

/// Serving threads that may hang at a time, in memory of processes that have been killed already, or in
/// threads that cannot run.
const MOST_HANGING: usize = 64;

/// Called once a second, or so `late`: kills each process that holds up a call of its own, and tells of it. The thread that
/// serves it may hang on, which is no matter as long as it holds up nobody else, and not all there are.
///
/// # Errors
/// `ETIMEDOUT`: the guard itself `is_held_up`.
pub(crate) fn end_overdue(
    serves: &impl Serve,
    freezers: &Freezers,
    late: Duration,
    is_held_up: impl Fn() -> bool,
    tell: impl Fn(Killed),
) -> Result<(), Errno> {
    let deadlines = serves.turns().deadlines();
    let mut killed = Vec::new();
    for deadline in &deadlines {
        // Injections begin with an answer, but who is traced cannot vanish.
        let is_there = |id, tid| serves.listener().is_valid(id) || is_traced_here(tid);
        if deadline.lasting().is_some_and(|(id, tid)| is_there(id, tid) && freezers.freeze(tid)) {
            // Were that asked at the end alone, who is thawed shortly before had hardly any time.
            deadline.begin_anew();
            continue;
        }
        let Some(Overdue { id, tid, times }) = deadline.overdue(weight(late)) else { continue };
        if is_there(id, tid) && freezers.cannot_run(tid) {
            deadline.excuse();
        } else if times == 0 {
            let process = deadline.caller(id);
            let pid = match &process {
                // Who has ended, and was not waited for, is not killed.
                Some(process) => proc::process_of(process).filter(|_| proc::is_alive(process)),
                None => proc::thread_group(tid).ok(),
            };
            let victim = pid.map(Killed::of);
            let sent = match process {
                // Its thread may have vanished, by another's exec.
                Some(process) => pidfd_send_signal(process, Signal::KILL).is_ok(),
                // A signal to any thread's number reaches its process, SIGKILL all of it.
                None => is_there(id, tid) && kill_process(tid, Signal::KILL).is_ok(),
            };
            // Several of its calls may be overdue.
            killed.extend(victim.filter(|victim| sent && !killed.contains(victim)));
        } else if is_held_up() {
            return Err(Errno::TIMEDOUT);
        }
    }
    killed.into_iter().for_each(tell);
    let hanging = deadlines.iter().filter(|deadline| deadline.is_stuck()).count();
    if hanging > MOST_HANGING { Err(Errno::TIMEDOUT) } else { Ok(()) }
}

/// Whether a thread of this process traces the thread `tid`.
fn is_traced_here(tid: Pid) -> bool {
    let is_here = |tracer: Pid| Path::new(&format!("/proc/self/task/{}", tracer.as_raw_nonzero())).exists();
    proc::tracer_of(tid).is_some_and(is_here)
}
