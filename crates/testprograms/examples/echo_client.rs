//! A TCP client on the `io-uring` crate: sends a line, and prints what comes back.
//!
//! `echo_client IPV4:PORT...` does so with each address in turn, all of it by requests: socket, connect,
//! send, recv, close. It ends with 1 where something fails, and says what.

use io_uring::squeue::Entry;
use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use std::io;
use std::net::SocketAddrV4;
use std::process::ExitCode;

const LINE: &[u8] = b"hello";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let mut ring = IoUring::new(8)?;
    for address in std::env::args().skip(1) {
        let address: SocketAddrV4 = address.parse().map_err(io::Error::other)?;
        println!("{}", String::from_utf8_lossy(&exchange(&mut ring, address)?));
    }
    Ok(())
}

/// Sends the line there, and gives the answer.
fn exchange(ring: &mut IoUring, address: SocketAddrV4) -> io::Result<Vec<u8>> {
    let family = libc::AF_INET;
    let socket = opcode::Socket::new(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0).build();
    let socket = Fd(perform(ring, "socket", &socket)?);
    let to = libc::sockaddr_in {
        sin_family: family as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: address.ip().to_bits().to_be() },
        sin_zero: [0; 8],
    };
    let connect =
        opcode::Connect::new(socket, (&raw const to).cast(), size_of_val(&to) as libc::socklen_t).build();
    perform(ring, "connect", &connect)?;
    let send = opcode::Send::new(socket, LINE.as_ptr(), LINE.len() as u32).build();
    perform(ring, "send", &send)?;
    let mut answer = vec![0; LINE.len()];
    let receive = opcode::Recv::new(socket, answer.as_mut_ptr(), answer.len() as u32);
    let len = perform(ring, "recv", &receive.flags(libc::MSG_WAITALL).build())?;
    answer.truncate(len as usize);
    perform(ring, "close", &opcode::Close::new(socket).build())?;
    Ok(answer)
}

/// Waits for one request; gives its result.
fn perform(ring: &mut IoUring, name: &str, entry: &Entry) -> io::Result<i32> {
    // SAFETY: what the request points to outlives this call, which waits for its end.
    unsafe { ring.submission().push(entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map_or(-libc::EIO, |cqe| cqe.result());
    if result < 0 {
        let error = io::Error::from_raw_os_error(-result);
        return Err(io::Error::new(error.kind(), format!("{name}: {error}")));
    }
    Ok(result)
}
