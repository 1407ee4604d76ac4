//! The same through other system call tables, and requests that are register calls.

use crate::Attempts;
use ringwarden_testring::{EnterFlags, Params, Ring, SetupFlags, Sqe};
use ringwarden_uapi::{Opcode, RegisterOp};
use std::arch::asm;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{from_mut, null_mut};

const SETUP: u32 = 425;
const ENTER: u32 = 426;
const REGISTER: u32 = 427;
const X32: u32 = 0x4000_0000;

pub(crate) fn attempt(attempts: &mut Attempts) {
    attempts.record("32-bit calls", nop_by_32_bit_calls());
    for (way, number, table) in [
        ("message by register call", REGISTER, Table::Native),
        ("message by register call, x32", REGISTER | X32, Table::Native),
        ("message by register call, 32-bit", REGISTER, Table::I386),
    ] {
        for (flag, bits) in [("", 0), (", registered ring", 1 << 31)] {
            attempts.record(&format!("{way}{flag}"), message(number, table, bits));
        }
    }
}

#[derive(Clone, Copy)]
enum Table {
    Native,
    I386,
}

/// `IORING_REGISTER_SEND_MSG_RING` to a ring of our own; 0 if the message came.
fn message(number: u32, table: Table, flag: u32) -> io::Result<i32> {
    let ring = Ring::new(4, SetupFlags::empty())?;
    let sqe = low_memory::<Sqe>()?;
    *sqe = Sqe { opcode: Opcode::MSG_RING.0, fd: ring.as_fd().as_raw_fd(), off: 7, ..Sqe::default() };
    let op = RegisterOp::REGISTER_SEND_MSG_RING.0 | flag;
    let address = from_mut(sqe).addr() as u32;
    call(table, number, [u32::MAX, op, address, 1, 0])?;
    let came = ring.pop().is_some_and(|completion| completion.user_data == 7);
    Ok(if came { 0 } else { -libc::ENOMSG })
}

/// Makes a ring and submits through `int 0x80`.
fn nop_by_32_bit_calls() -> io::Result<i32> {
    let params = low_memory::<Params>()?;
    *params = Params::default();
    let made = call(Table::I386, SETUP, [4, from_mut(params).addr() as u32, 0, 0, 0])?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    let ring = Ring::map(unsafe { OwnedFd::from_raw_fd(made) }, *params)?;
    ring.push(&Sqe::default());
    let waiting = EnterFlags::GETEVENTS.bits();
    call(Table::I386, ENTER, [made as u32, 1, 1, waiting, 0])?;
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

fn call(table: Table, number: u32, args: [u32; 5]) -> io::Result<i32> {
    let [a, b, c, d, e] = args.map(u64::from);
    let ret = match table {
        Table::Native => {
            // SAFETY: callers pass what the call takes, in memory that lives for good.
            match unsafe { libc::syscall(number.into(), a, b, c, d, e, 0) } {
                -1 => return Err(io::Error::last_os_error()),
                ret => ret as i32,
            }
        }
        Table::I386 => {
            let mut ret = u64::from(number);
            // SAFETY: as above; rbx, which the compiler keeps for itself, is put back.
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
            ret as i32
        }
    };
    if ret < 0 { Err(io::Error::from_raw_os_error(-ret)) } else { Ok(ret) }
}
