//! What this kernel gives to a supervisor that checks requests in place of filters.

use crate::trial::{self, TrialError, last_errno};
use ringwarden_uapi::ring::{Params, SetupFlags};
use ringwarden_uapi::sys;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::thread::{CapabilitySet, capabilities};
use std::ffi::c_void;
use std::fs;
use std::io;
use std::ptr::null_mut;

/// Facts about everything that such a supervisor stands on besides rings; each `Result` is what came of
/// it in a throw-away child.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Supervision {
    /// A seccomp listener whose waiting callers only die of fatal signals (Linux 5.19). `EBUSY`: this
    /// process is under another supervisor's.
    pub notification: Result<(), TrialError>,
    /// Rings in memory of the caller's (`IORING_SETUP_NO_MMAP`, Linux 6.5).
    pub caller_memory: Result<(), TrialError>,
    /// Mappings that cannot be undone (`mseal`, Linux 6.10).
    pub sealing: Result<(), TrialError>,
    /// `kernel.yama.ptrace_scope`; `None` without Yama. 0 and 1 let a process trace its descendants.
    pub ptrace_scope: Option<u32>,
    /// Whether this process has CAP_SYS_PTRACE, which a scope of 2 asks for.
    pub may_trace: bool,
}

impl Supervision {
    /// Tries everything.
    pub fn find() -> Self {
        let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
        let effective = |sets: rustix::thread::CapabilitySets| sets.effective;
        Self {
            notification: trial::ask(listen).map(drop),
            caller_memory: trial::ask(ring_in_own_memory).map(drop),
            sealing: trial::ask(seal).map(drop),
            ptrace_scope: scope.ok().and_then(|scope| scope.trim().parse().ok()),
            may_trace: capabilities(None)
                .map(effective)
                .is_ok_and(|sets| sets.contains(CapabilitySet::SYS_PTRACE)),
        }
    }

    /// Whether Yama lets this process trace its descendants.
    pub fn tracing_allowed(&self) -> bool {
        match self.ptrace_scope {
            None | Some(0 | 1) => true,
            Some(2) => self.may_trace,
            Some(_) => false,
        }
    }
}

fn listen() -> io::Result<i32> {
    rustix::thread::set_no_new_privs(true)?;
    let allow = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let program = libc::sock_fprog { len: 1, filter: (&raw const allow).cast_mut() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: `program` names one instruction, alive for the call; the kernel copies it.
    result(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })
}

fn ring_in_own_memory() -> io::Result<i32> {
    let mut params =
        Params { flags: (SetupFlags::NO_MMAP | SetupFlags::NO_SQARRAY).bits(), ..Params::default() };
    params.cq_off.user_addr = page()?.addr() as u64;
    params.sq_off.user_addr = page()?.addr() as u64;
    // SAFETY: a ring of one entry fits into a page, and both pages live as long as this process.
    unsafe { sys::setup(1, &mut params) }.map(|_| 0)
}

fn seal() -> io::Result<i32> {
    // SAFETY: a page of this process's own, which nobody wants to unmap.
    result(unsafe { libc::syscall(libc::SYS_mseal, page()?, PAGE, 0) })
}

const PAGE: usize = 4096;

/// A new page, for as long as the process lives.
fn page() -> io::Result<*mut c_void> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: at an address of the kernel's choice.
    Ok(unsafe { mmap_anonymous(null_mut(), PAGE, access, MapFlags::SHARED) }?)
}

fn result(ret: libc::c_long) -> io::Result<i32> {
    if ret < 0 { Err(last_errno().into()) } else { Ok(0) }
}
