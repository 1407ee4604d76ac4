//! What this kernel gives to a supervisor that checks requests in place of filters.

use ringwarden_trial::{self as trial, TrialError};
use ringwarden_uapi::ring::{Params, SetupFlags};
use ringwarden_uapi::sys;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::thread::{CapabilitySet, capabilities};
use std::ffi::c_void;
use std::fs;
use std::io;
use std::ptr::null_mut;

/// Facts about what such a supervisor stands on besides rings and system calls; a `Result` is what came
/// of it in a throw-away child.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Supervision {
    /// Rings in memory of the caller's (`IORING_SETUP_NO_MMAP`, Linux 6.5).
    pub caller_memory: Result<(), TrialError>,
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
            caller_memory: trial::ask(ring_in_own_memory).map(drop),
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

fn ring_in_own_memory() -> io::Result<i32> {
    let mut params =
        Params { flags: (SetupFlags::NO_MMAP | SetupFlags::NO_SQARRAY).bits(), ..Params::default() };
    params.cq_off.user_addr = page()?.addr() as u64;
    params.sq_off.user_addr = page()?.addr() as u64;
    // SAFETY: a ring of one entry fits into a page, and both pages live as long as this process.
    unsafe { sys::setup(1, &mut params) }.map(|_| 0)
}

const PAGE: usize = 4096;

/// A new page, for as long as the process lives.
fn page() -> io::Result<*mut c_void> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: at an address of the kernel's choice.
    Ok(unsafe { mmap_anonymous(null_mut(), PAGE, access, MapFlags::SHARED) }?)
}
