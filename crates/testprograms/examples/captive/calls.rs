//! The same through other system call tables, and requests that are register calls.

#[cfg_attr(target_arch = "aarch64", path = "tables/aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "tables/x86_64.rs")]
mod tables;

use crate::Attempts;
use ringwarden_testring::{Ring, SetupFlags, Sqe};
use ringwarden_uapi::{Opcode, RegisterOp};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

const ENTER: u32 = 426;
const REGISTER: u32 = 427;

/// Makes that register call, without a ring, about the request.
type Send = fn(&Ring, u32, &Sqe) -> io::Result<i32>;

pub(crate) fn attempt(attempts: &mut Attempts) {
    attempts.record("32-bit calls", tables::nop());
    let ways = tables::WAYS.map(|(table, send)| (format!(", {table}"), send));
    for (table, send) in [(String::new(), natively as Send)].into_iter().chain(ways) {
        for (flag, bits) in [("", 0), (", registered ring", 1 << 31)] {
            let way = format!("message by register call{table}{flag}");
            attempts.record(&way, message(send, bits));
        }
    }
}

/// `IORING_REGISTER_SEND_MSG_RING` to a ring of our own; 0 if the message came.
fn message(send: Send, flag: u32) -> io::Result<i32> {
    let ring = Ring::when_there_is_room(4, SetupFlags::empty())?;
    let fd = ring.as_fd().as_raw_fd();
    let sqe = Sqe { opcode: Opcode::MSG_RING.0, fd, off: 7, ..Sqe::default() };
    send(&ring, RegisterOp::REGISTER_SEND_MSG_RING.0 | flag, &sqe)?;
    let came = ring.pop().is_some_and(|completion| completion.user_data == 7);
    Ok(if came { 0 } else { -libc::ENOMSG })
}

fn natively(_: &Ring, op: u32, sqe: &Sqe) -> io::Result<i32> {
    native(REGISTER, [u32::MAX.into(), op.into(), std::ptr::from_ref(sqe).addr() as u64, 1, 0])
}

fn native(number: u32, [a, b, c, d, e]: [u64; 5]) -> io::Result<i32> {
    // SAFETY: callers pass what the call takes, in memory that lives for as long as the call.
    match unsafe { libc::syscall(number.into(), a, b, c, d, e, 0) } {
        -1 => Err(io::Error::last_os_error()),
        ret => Ok(ret as i32),
    }
}
