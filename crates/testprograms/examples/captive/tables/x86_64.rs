//! The other tables of x86-64: that of x32, whose calls have a bit, and that of i386, by `int 0x80`.

use super::{ENTER, REGISTER, native};
use ringwarden_testring::{EnterFlags, Params, Ring, Sqe};
use std::arch::asm;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::{from_mut, null_mut};

const SETUP: u32 = 425;
const X32: u32 = 0x4000_0000;

/// Sends a request by `io_uring_register`: what the way is called, and how it is done.
pub(crate) const WAYS: [(&str, super::Send); 2] = [("x32", by_x32), ("32-bit", by_32_bit)];

fn by_x32(_: &Ring, op: u32, sqe: &Sqe) -> io::Result<i32> {
    native(REGISTER | X32, [u32::MAX.into(), op.into(), std::ptr::from_ref(sqe).addr() as u64, 1, 0])
}

fn by_32_bit(_: &Ring, op: u32, sqe: &Sqe) -> io::Result<i32> {
    let low = low_memory::<Sqe>()?;
    *low = *sqe;
    call([REGISTER, u32::MAX, op, from_mut(low).addr() as u32, 1, 0])
}

/// Makes a ring and submits.
pub(crate) fn nop() -> io::Result<i32> {
    let params = low_memory::<Params>()?;
    *params = Params::default();
    let made = call([SETUP, 4, from_mut(params).addr() as u32, 0, 0, 0])?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    let ring = Ring::map(unsafe { OwnedFd::from_raw_fd(made) }, *params)?;
    ring.push(&Sqe::default());
    call([ENTER, made as u32, 1, 1, EnterFlags::GETEVENTS.bits(), 0])?;
    ring.pop().map(|completion| completion.res).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// A value below 4 GiB, for good.
fn low_memory<T>() -> io::Result<&'static mut T> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    // SAFETY: new zeroed memory at an address of the kernel's choice, large enough for the small ABI
    // structures it is used for, all of which may be zero.
    unsafe {
        let page = libc::mmap(null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(&mut *page.cast::<T>()) }
    }
}

/// A number and its arguments.
fn call([number, args @ ..]: [u32; 6]) -> io::Result<i32> {
    let [a, b, c, d, e] = args.map(u64::from);
    let mut ret = u64::from(number);
    // SAFETY: callers pass what the call takes, in memory that lives for good; rbx, which the compiler keeps for
    // itself, is put back.
    unsafe {
        asm!(
            "xchg {a}, rbx",
            "int 0x80",
            "xchg {a}, rbx",
            a = inout(reg) a => _,
            inout("rax") ret,
            in("rcx") b,
            in("rdx") c,
            in("rsi") d,
            in("rdi") e,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    let ret = ret as i32;
    if ret < 0 { Err(io::Error::from_raw_os_error(-ret)) } else { Ok(ret) }
}
