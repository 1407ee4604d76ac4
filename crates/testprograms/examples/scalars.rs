//! Requests that differ in single numbers of their SQEs, which kernels show no filter, and in the address of a BIND.
//! Prints what becomes of each.
//!
//! With `race` it binds sockets to an address that another thread changes all the while, between [`PORT`] and the one
//! above it, until each of them has led to a result of its own, and prints how often which was bound. Natively that is
//! both.

use ringwarden_testring::{Ring, SetupFlags, Sqe};
use ringwarden_uapi::{Opcode, RegisterOp, sys};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::net::{AddressFamily, SocketType, getsockname, socket, sockopt};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

/// An address of this machine that hardly anybody uses.
const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 99);
const PORT: u16 = 8080;
/// Sockets bound in a race, at most.
const MOST: usize = 200_000;

fn main() -> io::Result<()> {
    let ring = Ring::new(8, SetupFlags::empty())?;
    if std::env::args().nth(1).is_some_and(|arg| arg == "race") {
        return race(&ring);
    }
    commands(&ring)?;
    messages(&ring)?;
    addresses(&ring)?;
    files(&ring)?;
    rings(&ring)
}

/// Submits a request whose pointers are valid until then; the result.
fn perform(ring: &Ring, sqe: Sqe) -> io::Result<i32> {
    if !ring.push(&sqe) {
        return Err(io::Error::other("the queue is full"));
    }
    // SAFETY: the caller's memory outlives the wait below.
    unsafe { ring.enter(1, 1)? };
    ring.pop().map(|cqe| cqe.res).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Submits it and prints the result.
fn tell(ring: &Ring, what: &str, sqe: Sqe) -> io::Result<()> {
    println!("{what}: {}", perform(ring, sqe)?);
    Ok(())
}

fn sqe(opcode: Opcode, fd: impl AsFd) -> Sqe {
    Sqe { opcode: opcode.0, fd: fd.as_fd().as_raw_fd(), ..Sqe::default() }
}

fn tcp() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::INET, SocketType::STREAM, None)?)
}

/// Options of a socket: `SOCKET_URING_OP_GETSOCKOPT` is 2, `SETSOCKOPT` 3.
fn commands(ring: &Ring) -> io::Result<()> {
    let (socket, mut value) = (tcp()?, 1i32);
    let mut option = |command: u64, name: i32| Sqe {
        off: command,
        addr: libc::SOL_SOCKET as u64 | (name as u64) << 32,
        file_index: size_of_val(&value) as u32,
        addr3: &raw mut value as u64,
        ..sqe(Opcode::URING_CMD, &socket)
    };
    tell(ring, "set keepalive", option(3, libc::SO_KEEPALIVE))?;
    tell(ring, "set broadcast", option(3, libc::SO_BROADCAST))?;
    tell(ring, "get keepalive", option(2, libc::SO_KEEPALIVE))
}

fn messages(ring: &Ring) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (stream, byte) = (TcpStream::connect(listener.local_addr()?)?, b"a");
    let send = |flags: i32| Sqe {
        addr: byte.as_ptr() as u64,
        len: 1,
        op_flags: flags as u32,
        ..sqe(Opcode::SEND, &stream)
    };
    tell(ring, "send", send(0))?;
    tell(ring, "send oob", send(libc::MSG_OOB))?;
    let accept = |flags: i32| Sqe { op_flags: flags as u32, ..sqe(Opcode::ACCEPT, &listener) };
    println!("accept cloexec: {}", perform(ring, accept(libc::SOCK_CLOEXEC))?.min(0));
    let _another = TcpStream::connect(listener.local_addr()?)?;
    println!("accept: {}", perform(ring, accept(0))?.min(0));
    Ok(())
}

/// A `struct sockaddr_in` that threads share.
#[repr(C)]
struct Address {
    family: u16,
    port: AtomicU16,
    address: [u8; 4],
    zero: [u8; 8],
}

impl Address {
    fn new(address: Ipv4Addr, port: u16) -> Self {
        let port = AtomicU16::new(port.to_be());
        Self { family: libc::AF_INET as u16, port, address: address.octets(), zero: [0; 8] }
    }
}

fn bind(socket: &OwnedFd, address: &Address) -> Sqe {
    let addr = std::ptr::from_ref(address) as u64;
    Sqe { addr, off: size_of::<Address>() as u64, ..sqe(Opcode::BIND, socket) }
}

fn addresses(ring: &Ring) -> io::Result<()> {
    for (what, address, port) in
        [("bind", HERE, PORT), ("bind low", HERE, 80), ("bind elsewhere", Ipv4Addr::new(127, 0, 0, 98), PORT)]
    {
        let socket = tcp()?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        tell(ring, what, bind(&socket, &Address::new(address, port)))?;
    }
    Ok(())
}

fn files(ring: &Ring) -> io::Result<()> {
    let (zeros, mut buffer) = (File::open("/dev/zero")?, [0u8; 64]);
    let mut read = |len: u32| Sqe { addr: buffer.as_mut_ptr() as u64, len, ..sqe(Opcode::READ, &zeros) };
    tell(ring, "read 16", read(16))?;
    tell(ring, "read 64", read(64))?;

    let ready = eventfd(1, EventfdFlags::empty())?;
    let poll = |events: i16| Sqe { op_flags: events as u32, ..sqe(Opcode::POLL_ADD, &ready) };
    tell(ring, "poll in", poll(libc::POLLIN))?;
    tell(ring, "poll out", poll(libc::POLLOUT))?;

    let (from, to) = (rustix::pipe::pipe()?, rustix::pipe::pipe()?);
    rustix::io::write(&from.1, b"ab")?;
    let splice = |flags: u32| Sqe {
        off: u64::MAX,
        addr: u64::MAX,
        len: 1,
        op_flags: flags,
        file_index: from.0.as_raw_fd() as u32,
        ..sqe(Opcode::SPLICE, &to.1)
    };
    tell(ring, "splice", splice(0))?;
    tell(ring, "splice more", splice(libc::SPLICE_F_MORE))
}

/// `IORING_MSG_DATA` is 0, `IORING_MSG_SEND_FD` 1.
fn rings(ring: &Ring) -> io::Result<()> {
    let other = Ring::new(4, SetupFlags::empty())?;
    register_files(ring, &[io::stdout().as_raw_fd()])?;
    register_files(&other, &[-1])?;
    let message = |command: u64| Sqe { addr: command, ..sqe(Opcode::MSG_RING, &other) };
    tell(ring, "message", message(0))?;
    // The first registered file to the first place.
    tell(ring, "message with a file", Sqe { file_index: 1, ..message(1) })
}

fn register_files(ring: &Ring, files: &[i32]) -> io::Result<()> {
    let argument = files.as_ptr().cast_mut().cast();
    let op = RegisterOp::REGISTER_FILES.0;
    // SAFETY: descriptors, which are read.
    unsafe { sys::register(ring.as_fd().as_raw_fd(), op, argument, files.len() as u32) }.map(drop)
}

fn race(ring: &Ring) -> io::Result<()> {
    let (address, done) = (Address::new(HERE, PORT), AtomicBool::new(false));
    let counts = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for port in [PORT + 1, PORT] {
                    address.port.store(port.to_be(), Ordering::Relaxed);
                }
            }
        });
        let counts = (0..MOST).try_fold(BTreeMap::<String, usize>::new(), |mut counts, _| {
            if counts.len() < 2 || counts.values().any(|&count| count < 100) {
                *counts.entry(bound(ring, &address)?).or_default() += 1;
            }
            Ok(counts)
        });
        done.store(true, Ordering::Relaxed);
        counts
    });
    counts.map(|counts: BTreeMap<String, usize>| {
        counts.iter().for_each(|(what, count)| println!("{what}: {count}"));
    })
}

/// Where a new socket is bound, or why it is not.
fn bound(ring: &Ring, address: &Address) -> io::Result<String> {
    let socket = tcp()?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    let result = perform(ring, bind(&socket, address))?;
    if result < 0 {
        return Ok(result.to_string());
    }
    let name: SocketAddrV4 = getsockname(&socket)?.try_into()?;
    Ok(name.to_string())
}
