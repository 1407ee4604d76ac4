//! Makes rings and submits requests as it is told to on standard input, a line each; answers with a line each:
//! `ring ENTRIES [FLAGS]`, `own ENTRIES` (a ring in memory of its own), `nop`, `write`, `call OPCODE` (a register call on the newest ring), `close` (the oldest ring), `listener` (a
//! seccomp listener of its own),
//! `time COUNT` (nanoseconds that it takes to make a ring and to close it, of so many).
//! Answers are results, or the error as a negative number.

use ringwarden_testring::{EnterFlags, Params, Ring, SetupFlags, Sqe};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::sys;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::null_mut;
use std::time::Instant;

fn main() -> io::Result<()> {
    let (mut rings, mut own) = (Vec::new(), Vec::new());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<_> = line.split(' ').collect();
        let number = |index: usize| words.get(index).map_or(0, |word| word.parse().expect("a number"));
        let answer = match words[0] {
            "ring" => Ring::new(number(1), SetupFlags::from_bits_retain(number(2))).map(|ring| {
                rings.push(ring);
                0
            }),
            "own" => ring_in_own_memory(number(1)).map(|ring| {
                own.push(ring);
                0
            }),
            "nop" => request(rings.last(), Opcode::NOP),
            "write" => request(rings.last(), Opcode::WRITE),
            "call" => {
                let fd = rings.last().map_or(-1, |ring: &Ring| ring.as_fd().as_raw_fd());
                // SAFETY: without an argument.
                unsafe { sys::register(fd, number(1), std::ptr::null_mut(), 0) }.map(|result| result as i32)
            }
            "listener" => listener(),
            "time" => time(number(1)),
            "close" => {
                drop(rings.remove(0));
                Ok(0)
            }
            other => panic!("{other}"),
        };
        let answer = answer.unwrap_or_else(|error| -error.raw_os_error().unwrap_or(i32::MAX));
        println!("{answer}");
        io::stdout().flush()?;
    }
    Ok(())
}

/// In memory that is given back at the end.
fn ring_in_own_memory(entries: u32) -> io::Result<OwnedFd> {
    // An SQE, or two CQEs with their header.
    let bytes = 64 * entries.next_multiple_of(1024) as usize;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping at an address that the kernel chooses overlaps nothing.
    let memory = unsafe { mmap_anonymous(null_mut(), 2 * bytes, protection, MapFlags::PRIVATE)? } as u64;
    let mut params = Params { flags: SetupFlags::NO_MMAP.bits(), ..Params::default() };
    (params.cq_off.user_addr, params.sq_off.user_addr) = (memory, memory + bytes as u64);
    // SAFETY: that memory is large enough, and nobody else's.
    unsafe { sys::setup(entries, &mut params) }
}

/// Takes a listener for a filter that lets everything pass.
fn listener() -> io::Result<i32> {
    let pass = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let program = libc::sock_fprog { len: 1, filter: (&raw const pass).cast_mut() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: the program lives for the call. The listener stays open.
    let fd =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(0) }
}

fn time(count: u32) -> io::Result<i32> {
    let start = Instant::now();
    for _ in 0..count {
        let mut params = Params::default();
        // SAFETY: without NO_MMAP the parameters hold no pointers.
        drop(unsafe { sys::setup(8, &mut params)? });
    }
    Ok((start.elapsed().as_nanos() / u128::from(count)) as i32)
}

/// What becomes of one.
fn request(ring: Option<&Ring>, opcode: Opcode) -> io::Result<i32> {
    let ring = ring.ok_or(io::ErrorKind::NotFound)?;
    // Of nothing, to standard error.
    assert!(ring.push(&Sqe { opcode: opcode.0, fd: 2, ..Sqe::default() }));
    // SAFETY: neither request has memory to it.
    unsafe { sys::enter(ring.as_fd(), 1, 1, EnterFlags::GETEVENTS.bits())? };
    ring.pop().map(|completion| completion.res).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
