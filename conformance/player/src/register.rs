//! `io_uring_register(2)` with what cases register.

use crate::memory;
use anyhow::Context;
use ringwarden_cbpf::asm::assemble;
use ringwarden_conformance::{Entries, Filter};
use ringwarden_uapi::bpf::{Bpf, BpfFilter, CMD_FILTER};
use ringwarden_uapi::restriction::TaskRestriction;
use ringwarden_uapi::{RegisterOp, sys};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use zerocopy::IntoBytes;

/// The bytes of `struct io_uring_query_hdr`; zeros are a query that none of the kernel's answers.
const QUERY_HEADER: usize = 32;
/// `IORING_REGISTER_PROBE`: the header, and one entry of 8 bytes for each opcode asked for.
const PROBE_HEADER: usize = 16;
const PROBE_OPS: u32 = 64;

/// What a registration is for.
#[derive(Clone, Copy)]
pub(crate) enum Subject<'ring> {
    /// The acting task.
    Task,
    /// A ring.
    Ring(BorrowedFd<'ring>),
}

/// The call: what it returns, or `-errno`. What the argument points at has to be what the operation takes,
/// in memory that is never freed, or to be where nothing is mapped.
pub(crate) fn call(subject: Subject<'_>, op: RegisterOp, argument: u64, count: u32) -> i32 {
    let fd = match subject {
        Subject::Task => -1,
        Subject::Ring(fd) => fd.as_raw_fd(),
    };
    call_on(fd, op, argument, count)
}

/// The same on any number.
pub(crate) fn call_on(fd: RawFd, op: RegisterOp, argument: u64, count: u32) -> i32 {
    // SAFETY: by contract.
    result(unsafe { sys::register(fd, op.0, argument as usize as *mut _, count) })
}

/// A filter, as scripts write it.
pub(crate) fn filter(subject: Subject<'_>, filter: &Filter) -> anyhow::Result<i32> {
    let program = program(&filter.program)?;
    let bpf = BpfFilter {
        opcode: filter.opcode.0.into(),
        flags: filter.flags.bits(),
        pdu_size: filter.pdu_size,
        ..with_program(&program)
    };
    Ok(register(subject, bpf))
}

/// The valid registration of `filter`.
pub(crate) fn register(subject: Subject<'_>, filter: BpfFilter) -> i32 {
    call(subject, RegisterOp::REGISTER_BPF_FILTER, place(filter), 1)
}

/// The struct to register it with.
pub(crate) fn place(filter: BpfFilter) -> u64 {
    memory::place(Bpf { cmd_type: CMD_FILTER, filter, ..Bpf::default() }.as_bytes())
}

/// A filter for NOP with that program.
pub(crate) fn with_program(program: &[[u8; 8]]) -> BpfFilter {
    BpfFilter {
        filter_len: program.len() as u32,
        filter_ptr: memory::place(program.as_flattened()),
        ..BpfFilter::default()
    }
}

/// A program's instructions from its text.
pub(crate) fn program(text: &str) -> anyhow::Result<Vec<[u8; 8]>> {
    let insns = assemble(text).with_context(|| format!("`{text}`"))?;
    Ok(insns.iter().map(|insn| insn.to_ne_bytes()).collect())
}

/// Allow lists, in the form for rings or for tasks.
pub(crate) fn restrict(subject: Subject<'_>, entries: &Entries) -> anyhow::Result<i32> {
    let mut bytes = entries.list.as_bytes().to_vec();
    let mut count = entries.list.len() as u32;
    if matches!(subject, Subject::Task) {
        let header = TaskRestriction {
            flags: entries.flags,
            nr_res: entries.list.len() as u16,
            resv: [entries.resv, 0, 0],
        };
        bytes.splice(0..0, header.as_bytes().iter().copied());
        count = 1;
    }
    let argument = match (entries.arg, entries.cut_short) {
        (Some(address), _) => address,
        (None, true) => memory::place_cut_short(&bytes, 8)?,
        (None, false) => memory::place(&bytes),
    };
    Ok(call(subject, RegisterOp::REGISTER_RESTRICTIONS, argument, entries.nr_args.unwrap_or(count)))
}

/// Some other call with good arguments, if it is one that cases make.
pub(crate) fn other(ring: BorrowedFd<'_>, op: RegisterOp) -> anyhow::Result<i32> {
    let zeros = |size| memory::place(&vec![0; size]);
    let (argument, count) = match op {
        RegisterOp::REGISTER_PROBE => (zeros(PROBE_HEADER + 8 * PROBE_OPS as usize), PROBE_OPS),
        RegisterOp::REGISTER_QUERY => (zeros(QUERY_HEADER), 0),
        op if op.name().is_none() || op == RegisterOp::REGISTER_ENABLE_RINGS => (0, 0),
        other => anyhow::bail!("`register {other}` is not acted out"),
    };
    Ok(call(Subject::Ring(ring), op, argument, count))
}

/// What a system call returned, or `-errno`.
pub(crate) fn result(result: io::Result<u32>) -> i32 {
    result.map_or_else(|error| errno(&error), |value| value as i32)
}

/// An error's `-errno`.
pub(crate) fn errno(error: &io::Error) -> i32 {
    -error.raw_os_error().unwrap_or(libc::EIO)
}
