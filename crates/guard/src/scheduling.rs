//! How the threads that serve are scheduled.

/// Nanoseconds, the least that the kernel takes.
const SLICE: u64 = 100_000;

/// `struct sched_attr`, version 0.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Asks for short slices of time for the calling thread, which then runs soon after it is woken, and for
/// no more time altogether (Linux 6.12; no privilege is needed, `__setparam_fair`). A caller whose call
/// waits to be fetched can be interrupted until then. Older kernels ignore the wish.
pub(crate) fn ask_for_short_slices() {
    let mut attributes = Attributes::default();
    let size = size_of::<Attributes>() as u32;
    // SAFETY: `attributes` has room for `size` bytes, and lives for the call.
    let ret = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if ret != 0 || attributes.policy != libc::SCHED_OTHER as u32 {
        return;
    }
    attributes.size = size;
    attributes.runtime = SLICE;
    // SAFETY: a structure of the size that it says, which the call reads.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}
