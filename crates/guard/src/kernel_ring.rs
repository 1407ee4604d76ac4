//! What this kernel's rings are like, found out once by making one.

use ringwarden_uapi::restriction::{REGISTER_OP, Restriction, SQE_FLAGS_ALLOWED, SQE_OP};
use ringwarden_uapi::ring::{Params, SetupFlags, SqeFlags};
use ringwarden_uapi::sys;
use ringwarden_uapi::{Opcode, RegisterOp};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use zerocopy::{FromZeros, Immutable, IntoBytes, KnownLayout};

/// More register opcodes than any kernel has (38 in Linux 7.3).
const REGISTER_CEILING: u8 = 127;

/// `struct io_uring_probe` with room for every opcode a byte can name.
#[derive(FromZeros, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Probe {
    last_op: u8,
    ops_len: u8,
    resv: u16,
    resv2: [u32; 3],
    ops: [[u8; 8]; 256],
}

/// Facts about this kernel's rings.
#[derive(Debug)]
pub(crate) struct KernelRing {
    /// What the kernel says of its operations: `struct io_uring_probe_op`, 8 bytes each.
    pub(crate) probe: [[u8; 8]; 256],
    /// Bytes before the first CQE in a ring's header.
    pub(crate) cqes_offset: usize,
    /// A submission can go on past a request that fails (`IORING_SETUP_SUBMIT_ALL`).
    pub(crate) submits_all: bool,
    /// The first request opcode that this kernel lacks.
    pub(crate) opcodes: u8,
    /// The first register opcode that this kernel lacks.
    pub(crate) registers: u8,
}

/// The restrictions of every real ring, ready for the kernel.
#[derive(Debug)]
pub(crate) struct RingRestrictions(Vec<Restriction>);

impl KernelRing {
    /// Makes a ring, asks it, and closes it.
    ///
    /// # Errors
    /// `ENOSYS` or `EPERM` where io_uring is missing or switched off.
    pub(crate) fn probe() -> Result<Self, Errno> {
        let mut params = Params { flags: SetupFlags::R_DISABLED.bits(), ..Params::default() };
        let ring = setup(1, &mut params)?;
        let mut probe = Probe::new_zeroed();
        register(ring.as_fd(), RegisterOp::REGISTER_PROBE, (&raw mut probe).cast(), 256)?;
        let submit_all = (SetupFlags::R_DISABLED | SetupFlags::SUBMIT_ALL).bits();
        Ok(Self {
            submits_all: setup(1, &mut Params { flags: submit_all, ..Params::default() }).is_ok(),
            probe: probe.ops,
            cqes_offset: params.cq_off.cqes as usize,
            opcodes: probe.last_op.saturating_add(1),
            registers: count_registers(ring.as_fd())?,
        })
    }

    /// Whether tasks can register filters on this kernel.
    pub(crate) fn filters_tasks(&self) -> bool {
        u32::from(self.registers) > RegisterOp::REGISTER_BPF_FILTER.0
    }

    /// The restrictions that let through every known opcode but those that `denied` names, and
    /// every register call but `RESIZE_RINGS`, which would move the SQEs out of the guard's reach.
    pub(crate) fn restrictions(&self, denied: impl Fn(Opcode) -> bool) -> RingRestrictions {
        let sqe_ops =
            (0..self.opcodes.min(Opcode::LAST)).filter(|&op| !denied(Opcode(op))).map(|op| entry(SQE_OP, op));
        let register_ops = (0..self.registers)
            .filter(|&op| RegisterOp(op.into()) != RegisterOp::REGISTER_RESIZE_RINGS)
            .map(|op| entry(REGISTER_OP, op));
        let flags = entry(SQE_FLAGS_ALLOWED, SqeFlags::all().bits());
        RingRestrictions(sqe_ops.chain(register_ops).chain([flags]).collect())
    }
}

impl RingRestrictions {
    /// Restricts `ring`, which must still be disabled.
    pub(crate) fn apply(&self, ring: BorrowedFd<'_>) -> Result<(), Errno> {
        restrict(ring, &self.0)
    }
}

/// Holds a disabled ring to a list.
///
/// # Errors
/// `EBUSY` when it has one, `EBADFD` when it is enabled; others from the kernel, which then has forgotten the
/// list.
pub(crate) fn restrict(ring: BorrowedFd<'_>, list: &[Restriction]) -> Result<(), Errno> {
    let count = u32::try_from(list.len()).map_err(|_| Errno::INVAL)?;
    register(ring, RegisterOp::REGISTER_RESTRICTIONS, list.as_ptr().cast_mut().cast(), count)
}

fn entry(kind: u16, value: u8) -> Restriction {
    Restriction { kind, value, ..Restriction::default() }
}

/// Enables a ring that was set up disabled.
pub(crate) fn enable(ring: BorrowedFd<'_>) -> Result<(), Errno> {
    register(ring, RegisterOp::REGISTER_ENABLE_RINGS, std::ptr::null_mut(), 0)
}

/// Returns when no submission on `ring` can be in progress that began before the call: a register
/// call takes the ring's lock (`uring_lock`), which a submission holds while it reads SQEs. The call
/// itself is malformed and fails (`EINVAL`, or `EEXIST` on another task's SINGLE_ISSUER ring, both
/// decided with the lock held: `__io_uring_register`).
pub(crate) fn wait_for_submissions(ring: BorrowedFd<'_>) {
    let _ = register(ring, RegisterOp::REGISTER_PROBE, std::ptr::null_mut(), 0);
}

fn count_registers(ring: BorrowedFd<'_>) -> Result<u8, Errno> {
    // A refused list leaves the ring unrestricted, so the first that is taken is the highest.
    for op in (0..REGISTER_CEILING).rev() {
        let mut restriction = entry(REGISTER_OP, op);
        if register(ring, RegisterOp::REGISTER_RESTRICTIONS, (&raw mut restriction).cast(), 1).is_ok() {
            return Ok(op + 1);
        }
    }
    Err(Errno::NOSYS)
}

pub(crate) fn setup(entries: u32, params: &mut Params) -> Result<OwnedFd, Errno> {
    // SAFETY: without NO_MMAP the kernel is given no memory.
    unsafe { sys::setup(entries, params) }.map_err(|error| errno(&error))
}

fn register(
    ring: BorrowedFd<'_>,
    op: RegisterOp,
    argument: *mut libc::c_void,
    count: u32,
) -> Result<(), Errno> {
    // SAFETY: callers in this module pass what `op` takes: a probe or restrictions of `count`
    // elements, or nothing.
    unsafe { sys::register(ring.as_raw_fd(), op.0, argument, count) }.map(drop).map_err(|error| errno(&error))
}

pub(crate) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confined_ring_takes_no_second_confinement_and_enables() {
        let kernel = KernelRing::probe().expect("io_uring");
        assert!(kernel.opcodes > 50 && kernel.registers > 25, "{kernel:?}");
        let mut params = Params { flags: SetupFlags::R_DISABLED.bits(), ..Params::default() };
        let ring = setup(4, &mut params).expect("a ring");
        let restrictions = kernel.restrictions(|op| op == Opcode::TEE);
        restrictions.apply(ring.as_fd()).expect("restrictions");
        assert_eq!(restrictions.apply(ring.as_fd()), Err(Errno::BUSY));
        enable(ring.as_fd()).expect("enable");
    }
}
