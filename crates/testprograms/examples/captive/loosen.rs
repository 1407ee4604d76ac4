//! Registrations that might lift what is in force.

use crate::{Attempts, nop};
use ringwarden_testring::{Ring, SetupFlags};
use ringwarden_uapi::bpf::{Bpf, BpfFilter, CMD_FILTER};
use ringwarden_uapi::restriction::{Restriction, SQE_OP};
use ringwarden_uapi::{RegisterOp, sys};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr::null_mut;

const TASK: RawFd = -1;

pub(crate) fn attempt(attempts: &mut Attempts) {
    attempts.record("ring filter that allows", on(SetupFlags::empty(), allow_nop));
    attempts.record(
        "ring filter on a disabled ring",
        on(SetupFlags::R_DISABLED, |ring| {
            allow_nop(ring)?;
            enable(ring)
        }),
    );
    attempts.record(
        "refused restrictions, then a filter",
        on(SetupFlags::R_DISABLED, |ring| {
            // An opcode that no kernel has.
            if restrict(ring, u8::MAX).is_ok() {
                return Err(io::Error::from_raw_os_error(libc::ENOTSUP));
            }
            allow_nop(ring)?;
            enable(ring)
        }),
    );
    attempts.record(
        "restrictions that allow",
        on(SetupFlags::R_DISABLED, |ring| {
            restrict(ring, 0)?;
            enable(ring)
        }),
    );
    let ring = Ring::when_there_is_room(4, SetupFlags::empty());
    attempts.record(
        "task filter that allows, older ring",
        ring.and_then(|ring| {
            allow_nop(TASK)?;
            nop(&ring)
        }),
    );
    attempts.record("task filter that allows, new ring", on(SetupFlags::empty(), |_| Ok(())));
}

/// A NOP on a new ring of that kind, which was prepared first.
fn on(flags: SetupFlags, prepare: impl FnOnce(RawFd) -> io::Result<()>) -> io::Result<i32> {
    let ring = Ring::when_there_is_room(4, flags)?;
    prepare(ring.as_fd().as_raw_fd())?;
    nop(&ring)
}

fn allow_nop(target: RawFd) -> io::Result<()> {
    // `ret #1`
    let program = [[6u8, 0, 0, 0, 1, 0, 0, 0]];
    let mut bpf = Bpf {
        cmd_type: CMD_FILTER,
        filter: BpfFilter {
            filter_len: 1,
            filter_ptr: program.as_ptr().addr() as u64,
            ..BpfFilter::default()
        },
        ..Bpf::default()
    };
    // SAFETY: a filter of one instruction, which is copied.
    unsafe { sys::register(target, RegisterOp::REGISTER_BPF_FILTER.0, (&raw mut bpf).cast(), 1) }.map(drop)
}

fn restrict(ring: RawFd, opcode: u8) -> io::Result<()> {
    let mut entry = Restriction { kind: SQE_OP, value: opcode, ..Restriction::default() };
    // SAFETY: one restriction, which is copied.
    unsafe { sys::register(ring, RegisterOp::REGISTER_RESTRICTIONS.0, (&raw mut entry).cast(), 1) }.map(drop)
}

fn enable(ring: RawFd) -> io::Result<()> {
    // SAFETY: takes no argument.
    unsafe { sys::register(ring, RegisterOp::REGISTER_ENABLE_RINGS.0, null_mut(), 0) }.map(drop)
}
