//! Filters and restrictions of the program's own.

use ringwarden_uapi::bpf::{Bpf, BpfFilter, CMD_FILTER, MAX_INSNS};
use ringwarden_uapi::restriction::{Restriction, SQE_OP};
use ringwarden_uapi::{Opcode, RegisterOp, sys};
use std::io;
use std::os::fd::RawFd;

/// One instruction, as `struct sock_filter`.
type Insn = [u8; 8];

/// In place of a ring: the thread.
pub(crate) const TASK: RawFd = -1;

fn insn(code: u8, if_true: u8, if_false: u8, k: u32) -> Insn {
    let [a, b, c, d] = k.to_ne_bytes();
    [code, 0, if_true, if_false, a, b, c, d]
}

/// Refuses everything.
pub(crate) fn deny() -> Vec<Insn> {
    vec![insn(0x06, 0, 0, 0)]
}

/// Refuses OPENAT2 for writing.
pub(crate) fn read_only() -> Vec<Insn> {
    let writing = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT) as u32;
    // The first word of the payload is the flags.
    vec![insn(0x20, 0, 0, 16), insn(0x45, 0, 1, writing), insn(0x06, 0, 0, 0), insn(0x06, 0, 0, 1)]
}

/// Allows everything, and takes as long over it as a program can.
pub(crate) fn longest() -> Vec<Insn> {
    let mut program = vec![insn(0x20, 0, 0, 0); MAX_INSNS as usize - 1];
    program.push(insn(0x06, 0, 0, 1));
    program
}

/// Puts a filter on requests of that operation.
pub(crate) fn filter(target: RawFd, opcode: Opcode, program: &[Insn]) -> io::Result<()> {
    let filter = BpfFilter {
        opcode: opcode.0.into(),
        filter_len: program.len() as u32,
        filter_ptr: program.as_ptr().addr() as u64,
        pdu_size: if opcode == Opcode::OPENAT2 { 24 } else { 0 },
        ..BpfFilter::default()
    };
    let mut bpf = Bpf { cmd_type: CMD_FILTER, filter, ..Bpf::default() };
    let argument = (&raw mut bpf).cast();
    // SAFETY: a filter whose program is as long as it says; both are copied.
    unsafe { sys::register(target, RegisterOp::REGISTER_BPF_FILTER.0, argument, 1) }.map(drop)
}

/// Has a ring that is still disabled take no requests but of that operation.
pub(crate) fn restrict(ring: RawFd, opcode: Opcode) -> io::Result<()> {
    let mut entry = Restriction { kind: SQE_OP, value: opcode.0, ..Restriction::default() };
    let argument = (&raw mut entry).cast();
    // SAFETY: one restriction, which is copied.
    unsafe { sys::register(ring, RegisterOp::REGISTER_RESTRICTIONS.0, argument, 1) }.map(drop)
}

pub(crate) fn enable(ring: RawFd) -> io::Result<()> {
    // SAFETY: takes no argument.
    unsafe { sys::register(ring, RegisterOp::REGISTER_ENABLE_RINGS.0, std::ptr::null_mut(), 0) }.map(drop)
}
