//! Checks of `io_uring_setup(2)` that the kernel cannot make of a ring that is made otherwise than it was asked for.

use ringwarden_uapi::ring::{Params, SetupFlags};
use rustix::io::Errno;

/// What the kernel has to say of what the real ring is made without.
///
/// # Errors
/// `EINVAL` for flags that exclude each other, and for a processor that is not there.
pub(crate) fn check_submission_thread(asked: SetupFlags, params: &Params) -> Result<(), Errno> {
    let task_run = SetupFlags::COOP_TASKRUN | SetupFlags::TASKRUN_FLAG | SetupFlags::DEFER_TASKRUN;
    let bound = asked.contains(SetupFlags::SQ_AFF);
    let refused = if asked.contains(SetupFlags::SQPOLL) {
        asked.intersects(task_run) || bound && !is_online(params.sq_thread_cpu)
    } else {
        bound
    };
    if refused { Err(Errno::INVAL) } else { Ok(()) }
}

/// Whether a processor is there for a submission thread to be bound to (`io_sq_offload_create`).
fn is_online(cpu: u32) -> bool {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    online.trim().split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().is_ok_and(|first: u32| first <= cpu) && last.parse().is_ok_and(|last: u32| cpu <= last)
    })
}

/// A size as the kernel takes it: in the limit, or made to fit where that was asked for.
///
/// # Errors
/// `EINVAL`.
pub(crate) fn clamped(value: u32, most: u32, clamp: bool) -> Result<u32, Errno> {
    match value {
        0 => Err(Errno::INVAL),
        _ if value <= most => Ok(value),
        _ if clamp => Ok(most),
        _ => Err(Errno::INVAL),
    }
}
