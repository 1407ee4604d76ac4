//! `IORING_REGISTER_BPF_FILTER`, and what register calls tell of tasks and descriptors.

use ringwarden_cbpf::Insn;
use ringwarden_trial::errno;
use ringwarden_uapi::bpf::{Bpf, BpfFilter, CMD_FILTER, FilterFlags};
use ringwarden_uapi::restriction::{REGISTER_OP, Restriction, TaskRestriction};
use ringwarden_uapi::{Opcode, RegisterOp, sys};
use rustix::io::Errno;
use std::os::fd::RawFd;
use std::ptr::null_mut;

/// The descriptor that stands for the calling task (`io_uring_register_blind`).
pub(crate) const TASK: RawFd = -1;

/// One filter, as the kernel is told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter<'a> {
    pub(crate) opcode: Opcode,
    pub(crate) flags: FilterFlags,
    pub(crate) pdu_size: u8,
    pub(crate) insns: &'a [Insn],
}

impl Filter<'_> {
    /// Adds the filter to those of a ring or of the calling [`TASK`], which cannot be taken back.
    ///
    /// # Errors
    /// `EACCES` without `no_new_privs` and CAP_SYS_ADMIN; `EINVAL` for a program that the kernel
    /// refuses, an opcode that it lacks, and where it has no filters at all; `EMSGSIZE` where its
    /// payload is another one.
    pub(crate) fn register(&self, target: RawFd) -> Result<(), Errno> {
        self.call(target).0
    }

    /// Adds it likewise; gives the kernel's payload size also where the result is an error, if it was
    /// looked up before that.
    pub(crate) fn call(&self, target: RawFd) -> (Result<(), Errno>, u8) {
        let mut bpf = Bpf {
            cmd_type: CMD_FILTER,
            filter: BpfFilter {
                opcode: self.opcode.0.into(),
                flags: self.flags.bits(),
                filter_len: self.insns.len() as u32,
                pdu_size: self.pdu_size,
                filter_ptr: self.insns.as_ptr().addr() as u64,
                ..BpfFilter::default()
            },
            ..Bpf::default()
        };
        // SAFETY: `bpf` is a writable `struct io_uring_bpf` that names `filter_len` instructions, which
        // the kernel copies.
        let result =
            unsafe { sys::register(target, RegisterOp::REGISTER_BPF_FILTER.0, (&raw mut bpf).cast(), 1) };
        (result.map(drop).map_err(|error| errno(&error)), bpf.filter.pdu_size)
    }
}

/// Whether the kernel knows filters for tasks; asks without registering any.
///
/// # Errors
/// Its answer where it does not: `EINVAL`, from kernels built without `CONFIG_IO_URING_BPF` too, or `EBADF`
/// from older ones; `EPERM` or `ENOSYS` from a seccomp filter.
pub(crate) fn exists() -> Result<(), Errno> {
    // SAFETY: a null argument is valid to pass: the kernel answers EFAULT.
    let result = unsafe { sys::register(TASK, RegisterOp::REGISTER_BPF_FILTER.0, null_mut(), 1) };
    match result.map_err(|error| errno(&error)) {
        Err(Errno::FAULT) => Ok(()),
        Ok(_) => Err(Errno::INVAL),
        Err(error) => Err(error),
    }
}

/// Has the calling task and its rings make that register call only, for good.
///
/// # Errors
/// The kernel's: as [`Filter::register`], and `EPERM` where the task is limited already.
pub(crate) fn restrict_task_to(op: RegisterOp) -> Result<(), Errno> {
    #[repr(C)]
    struct OneEntry {
        header: TaskRestriction,
        entry: Restriction,
    }
    let entry = Restriction { kind: REGISTER_OP, value: op.0 as u8, ..Restriction::default() };
    let mut argument = OneEntry { header: TaskRestriction { nr_res: 1, ..Default::default() }, entry };
    let bytes = (&raw mut argument).cast();
    // SAFETY: `argument` is a header that says how many entries follow, which are there.
    let result = unsafe { sys::register(TASK, RegisterOp::REGISTER_RESTRICTIONS.0, bytes, 1) };
    result.map(drop).map_err(|error| errno(&error))
}

/// Whether the calling task has filters or restrictions already: only then the kernel answers a
/// registration of restrictions with EPERM, which is the first thing that it looks at
/// (`io_register_restrictions_task`).
pub(crate) fn is_filtered() -> bool {
    // SAFETY: a null argument with a count of 0 is refused before it is looked at.
    let result = unsafe { sys::register(TASK, RegisterOp::REGISTER_RESTRICTIONS.0, null_mut(), 0) };
    result.is_err_and(|error| errno(&error) == Errno::PERM)
}
