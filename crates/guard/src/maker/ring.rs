//! Making one ring, by a process of its own.

use crate::credentials::Owner;
use crate::kernel_ring::{enable, restrict, setup};
use crate::mapping::{Mapping, page_align};
use ringwarden_uapi::restriction::Restriction;
use ringwarden_uapi::ring::{OFF_SQ_RING, Params, SQ_NEED_WAKEUP};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process, waitid, waitpid,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// Enough for a few system calls.
const STACK: usize = 64 << 10;

/// A ring that is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) entries: u32,
    /// With `IORING_SETUP_R_DISABLED`.
    pub(super) params: Params,
    /// What it is held to; nothing yet where the program may still want to say something.
    pub(super) list: Option<&'a [Restriction]>,
    /// It is enabled at once.
    pub(super) enabled: bool,
    /// Where its header is, if not in memory of the kernel's.
    pub(super) header: Option<&'a Mapping>,
    /// It looks as if a submission thread slept.
    pub(super) wants_waking: bool,
    /// For whom the kernel counts its memory.
    pub(super) owner: Option<Owner>,
}

impl Wanted<'_> {
    /// Makes the ring, by a process that is over when this returns; gives what the kernel told of it.
    ///
    /// # Errors
    /// The kernel's, of whatever step.
    pub(super) fn make(self) -> Result<(OwnedFd, Params), Errno> {
        by_a_process_of_its_own(|| {
            let Self { entries, mut params, list, enabled, header, wants_waking, owner } = self;
            if let Some(owner) = owner {
                owner.become_for_good();
            }
            let ring = setup(entries, &mut params)?;
            if let Some(list) = list {
                restrict(ring.as_fd(), list)?;
            }
            if wants_waking {
                show_sleeping_thread(ring.as_fd(), header, &params)?;
            }
            if enabled {
                enable(ring.as_fd())?;
            }
            Ok((ring, params))
        })
    }
}

/// What the kernel says of such parameters, and of such a list on a ring of its own.
///
/// # Errors
/// The kernel's.
pub(super) fn try_out(params: Params, list: Option<&[Restriction]>) -> Result<(), Errno> {
    by_a_process_of_its_own(|| {
        let mut params = params;
        let ring = setup(1, &mut params)?;
        list.map_or(Ok(()), |list| restrict(ring.as_fd(), list))
    })
}

/// Sets `IORING_SQ_NEED_WAKEUP`, which the kernel never clears where there is no submission thread.
fn show_sleeping_thread(
    ring: BorrowedFd<'_>,
    header: Option<&Mapping>,
    params: &Params,
) -> Result<(), Errno> {
    let flags = params.sq_off.flags as usize;
    let set = |header: &Mapping| header.u32_at(flags).fetch_or(SQ_NEED_WAKEUP, Ordering::Relaxed);
    match header {
        Some(header) => set(header),
        None => set(&Mapping::shared(ring, OFF_SQ_RING, page_align(flags + 4))?),
    };
    Ok(())
}

/// Keeps the calling thread on its processor until this is dropped, and the threads that it makes. Those would
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

/// Has a new process with the same memory and descriptors do a few system calls, which is over when this returns. The
/// calling thread is suspended meanwhile, as by `vfork(2)`, and leaves the processor to it: nobody has to be woken on
/// another, which would take longer than the calls.
///
/// A thread would do, if it had not the program's user: who may send signals to a thread may end or stop its process.
///
/// # Errors
/// Those of `work`; `EAGAIN` where there can be no process, or the program has ended or stopped it.
fn by_a_process_of_its_own<T, F: FnOnce() -> Result<T, Errno>>(work: F) -> Result<T, Errno> {
    struct Job<T, F> {
        work: Option<F>,
        result: MaybeUninit<Result<T, Errno>>,
        /// There is all of the result: whoever kills the process may do so while it is written.
        done: AtomicBool,
    }
    /// Ends the process should it panic.
    extern "C" fn run<T, F: FnOnce() -> Result<T, Errno>>(job: *mut c_void) -> c_int {
        // SAFETY: the job outlives the process, and nobody else looks at it meanwhile.
        let job = unsafe { &mut *job.cast::<Job<T, F>>() };
        if let Some(work) = job.work.take() {
            job.result.write(work());
            job.done.store(true, Ordering::Release);
        }
        0
    }
    let mut job = Job { work: Some(work), result: MaybeUninit::uninit(), done: AtomicBool::new(false) };
    let mut stack = vec![MaybeUninit::<u128>::uninit(); STACK / size_of::<u128>()];
    let top = stack.as_mut_ptr_range().end;
    // Without memory of its own for a library's variables. It has those of the calling thread, which does nothing
    // until it ends. No signal tells of its end, so that only this thread hears of it.
    let flags = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES;
    let _here = Stay::here();
    // SAFETY: the stack is large enough for `work`, which calls no deeper than system calls, and aligned as
    // the architecture wants it. It and the job are there until the process has ended, which is waited for.
    let cloned = unsafe { libc::clone(run::<T, F>, top.cast(), flags, (&raw mut job).cast()) };
    let process = Pid::from_raw(cloned.max(0)).ok_or(Errno::AGAIN)?;
    wait_for(process);
    if !job.done.load(Ordering::Acquire) {
        return Err(Errno::AGAIN);
    }
    // SAFETY: it was written before, by a process that has ended.
    unsafe { job.result.assume_init() }
}

/// `__WALL`: whatever signal tells of a child's end.
const ALL: u32 = 0x4000_0000;

/// Waits until a process that was cloned without a signal has ended, by whichever call a seccomp filter leaves. One that
/// somebody stops is killed.
///
/// # Panics
/// Ends this process if it cannot tell: the other one has its memory.
fn wait_for(process: Pid) {
    let by_id = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::from_bits_retain(ALL);
    let by_number = WaitOptions::UNTRACED | WaitOptions::from_bits_retain(ALL);
    loop {
        let stopped = match waitid(WaitId::Pid(process), by_id) {
            Err(error @ (Errno::INTR | Errno::CHILD)) => Err(error),
            Err(_) => waitpid(Some(process), by_number).map(is_stop),
            Ok(change) => Ok(change.is_some_and(|change| change.stopped())),
        };
        match stopped {
            Ok(true) => {
                let _ = kill_process(process, Signal::KILL);
            }
            Err(Errno::INTR) => {}
            // Collected by somebody else, or by the kernel.
            Ok(false) | Err(Errno::CHILD) => return,
            Err(_) => std::process::abort(),
        }
    }
}

fn is_stop(change: Option<(Pid, WaitStatus)>) -> bool {
    change.is_some_and(|(_, status)| status.stopped())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_ring::KernelRing;
    use ringwarden_filter::{OperationRules, RegisterRules};
    use ringwarden_uapi::Opcode;
    use ringwarden_uapi::ring::SetupFlags;

    fn wanted(params: Params) -> Wanted<'static> {
        Wanted {
            entries: 4,
            params,
            list: None,
            enabled: true,
            header: None,
            wants_waking: false,
            owner: None,
        }
    }

    fn disabled() -> Params {
        Params { flags: SetupFlags::R_DISABLED.bits(), ..Params::default() }
    }

    #[test]
    fn a_list_is_there_for_good_and_no_process_is_left() {
        let kernel = KernelRing::probe().expect("io_uring");
        let mut rules = OperationRules::default();
        rules.set(Opcode::NOP, false);
        let list = rules.entries(&RegisterRules::default(), kernel.opcodes, kernel.registers);
        let (ring, _) = Wanted { list: Some(&list), ..wanted(disabled()) }.make().expect("a ring");
        assert_eq!(restrict(ring.as_fd(), &list), Err(Errno::BADFD));
        let (ring, _) =
            Wanted { list: Some(&list), enabled: false, ..wanted(disabled()) }.make().expect("a ring");
        assert_eq!(restrict(ring.as_fd(), &list), Err(Errno::BUSY));
        let children = || std::fs::read_to_string("/proc/thread-self/children").expect("children");
        for _ in 0..1000 {
            by_a_process_of_its_own(|| Ok(())).expect("a process");
        }
        assert_eq!(children(), "");
    }

    /// Its user may be the program's, who may send signals to it.
    #[test]
    fn one_that_is_killed_or_stopped_makes_no_ring_and_harms_nobody() {
        for signal in [Signal::KILL, Signal::STOP] {
            let made: Result<(), _> = by_a_process_of_its_own(|| {
                let _ = kill_process(rustix::process::getpid(), signal);
                unreachable!("a signal that nobody can block");
            });
            assert_eq!(made, Err(Errno::AGAIN), "{signal:?}");
        }
    }

    #[test]
    fn a_pretended_thread_asks_to_be_woken() {
        let (ring, params) = Wanted { wants_waking: true, ..wanted(disabled()) }.make().expect("a ring");
        let offset = params.sq_off.flags as usize;
        let header = Mapping::shared(&ring, OFF_SQ_RING, page_align(offset + 4)).expect("the header");
        assert_eq!(header.u32_at(offset).load(Ordering::Relaxed) & SQ_NEED_WAKEUP, SQ_NEED_WAKEUP);
    }
}
