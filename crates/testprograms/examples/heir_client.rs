//! What policies refuse in ways that the other clients leave out: by a child that has inherited its ring, as a
//! message without a ring, on a ring that has restrictions of its own. Prints one line for each, the same on every run.
//!
//! Where the guard keeps arguments this program has memory of its own.

use ringwarden_testring::{Ring, SetupFlags, Sqe};
use ringwarden_uapi::restriction::{REGISTER_OP, Restriction, SQE_OP};
use ringwarden_uapi::{Opcode, RegisterOp, sys};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Where the guard puts arguments out of the program's reach (docs/guard.md).
const ARENA: usize = 0x2000_0000_0000;
const NULL: &CStr = c"/dev/null";
/// `struct open_how`: its flags are O_RDONLY.
static HOW: [u64; 3] = [0; 3];

fn main() -> io::Result<()> {
    let place = std::ptr::without_provenance_mut(ARENA);
    // SAFETY: fails where something else is.
    unsafe {
        mmap_anonymous(place, 4096, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE)?
    };

    let ring = Ring::new(4, SetupFlags::empty())?;
    said("openat2", submit(&ring, &open()));
    // SAFETY: this process has a single thread, so the child can go on in ordinary code.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            said("child's openat2", submit(&ring, &open()));
            said("child's own ring", Ring::new(4, SetupFlags::empty()).and_then(|own| submit(&own, &nop())));
            return Ok(());
        }
        // SAFETY: waits for the child alone.
        child => unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) },
    };
    said("after the child", submit(&ring, &nop()));

    // IORING_MSG_DATA, in which `len` becomes the result of the ring's completion.
    let mut message =
        Sqe { opcode: Opcode::MSG_RING.0, fd: ring.as_fd().as_raw_fd(), len: 5, ..Sqe::default() };
    let send = RegisterOp::REGISTER_SEND_MSG_RING.0;
    // SAFETY: one SQE, which holds no pointers.
    let sent = unsafe { sys::register(-1, send, (&raw mut message).cast(), 1) };
    said("message without a ring", sent.map(|count| count as i32));
    said("message", Ok(ring.pop().map_or(0, |completion| completion.res)));

    let restricted = Ring::new(4, SetupFlags::R_DISABLED)?;
    let mut list = [
        Restriction { kind: SQE_OP, value: Opcode::NOP.0, ..Restriction::default() },
        Restriction {
            kind: REGISTER_OP,
            value: RegisterOp::REGISTER_ENABLE_RINGS.0 as u8,
            ..Restriction::default()
        },
    ];
    let number = restricted.as_fd().as_raw_fd();
    let restrict = RegisterOp::REGISTER_RESTRICTIONS.0;
    // SAFETY: a list of that many entries.
    let done = unsafe { sys::register(number, restrict, list.as_mut_ptr().cast(), list.len() as u32) };
    said("restrictions", done.map(|count| count as i32));
    // SAFETY: enabling takes no argument.
    let enabled =
        unsafe { sys::register(number, RegisterOp::REGISTER_ENABLE_RINGS.0, std::ptr::null_mut(), 0) };
    said("enable", enabled.map(|count| count as i32));
    said("in its own list", submit(&restricted, &nop()));
    said("not in its own list", submit(&restricted, &open()));
    Ok(())
}

fn nop() -> Sqe {
    Sqe { opcode: Opcode::NOP.0, ..Sqe::default() }
}

fn open() -> Sqe {
    Sqe {
        opcode: Opcode::OPENAT2.0,
        fd: libc::AT_FDCWD,
        addr: NULL.as_ptr().addr() as u64,
        len: size_of_val(&HOW) as u32,
        off: HOW.as_ptr().addr() as u64,
        ..Sqe::default()
    }
}

/// Submits one request that makes no descriptor but that of `/dev/null`, and gives 0 for one.
fn submit(ring: &Ring, sqe: &Sqe) -> io::Result<i32> {
    assert!(ring.push(sqe));
    // SAFETY: what it points at is static.
    unsafe { ring.enter(1, 1)? };
    let completion = ring.pop().ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(completion.res.min(0))
}

fn said(what: &str, result: io::Result<i32>) {
    match result {
        Ok(result) => println!("{what}: {result}"),
        Err(error) => println!("{what}: errno {}", error.raw_os_error().unwrap_or_default()),
    }
}
