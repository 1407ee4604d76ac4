//! Descriptors that a filter is registered on.

use crate::fresh;
use crate::memory;
use crate::queue::Queue;
use crate::register::{self, Subject};
use anyhow::ensure;
use ringwarden_conformance::{Descriptor, DescriptorCase, Outcome};
use ringwarden_testring::SetupFlags;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::register::USE_REGISTERED_RING;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use zerocopy::IntoBytes;

/// Higher than any that the player has open.
const CLOSED: RawFd = 1000;
/// `struct io_uring_rsrc_update`: an offset of this asks for any free index, which is stored there.
const ANY_INDEX: u32 = u32::MAX;

/// Registers, then tries a NOP on the ring that was meant, or on a new one.
pub(crate) fn play(case: &DescriptorCase, outcomes: &mut Vec<Outcome>) -> anyhow::Result<()> {
    outcomes.extend(fresh::outcomes(|| {
        let mut ring = Queue::new(SetupFlags::empty(), None)?;
        let file = File::open("/dev/null")?;
        let registered = RegisterOp(RegisterOp::REGISTER_BPF_FILTER.0 | USE_REGISTERED_RING);
        let (fd, op) = match case.on {
            Descriptor::MinusTwo => (-2, RegisterOp::REGISTER_BPF_FILTER),
            Descriptor::Closed => (CLOSED, RegisterOp::REGISTER_BPF_FILTER),
            Descriptor::File => (file.as_raw_fd(), RegisterOp::REGISTER_BPF_FILTER),
            Descriptor::RegisteredRing => (index(&ring)?, registered),
            Descriptor::RegisteredTask => (-1, registered),
        };
        let deny = register::with_program(&register::program("ret #0")?);
        let returned = register::call_on(fd, op, register::place(deny), 1);
        if case.on != Descriptor::RegisteredRing {
            ring = Queue::new(SetupFlags::empty(), None)?;
        }
        let nop = ring.submit(&"nop".parse().map_err(anyhow::Error::msg)?, 0, None)?;
        Ok([returned, nop].map(Outcome::returned).into())
    })?);
    Ok(())
}

/// Registers a ring with its task and gives its index there.
fn index(ring: &Queue) -> anyhow::Result<RawFd> {
    let update = [u64::from(ANY_INDEX), ring.fd().as_raw_fd() as u64];
    let argument = memory::place(update.as_bytes());
    let subject = Subject::Ring(ring.fd());
    let count = register::call(subject, RegisterOp::REGISTER_RING_FDS, argument, 1);
    ensure!(count == 1, "registering a ring gives {count}");
    Ok(RawFd::from(memory::read(argument)))
}
