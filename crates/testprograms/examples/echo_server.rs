//! A TCP server on the `io-uring` crate that sends back what it receives.
//!
//! `echo_server PORT CONNECTIONS` prints the port (a free one for 0), serves so many connections, several
//! at once if they come so, and ends. Everything but listening is a request: accept, recv, send, close.

use io_uring::squeue::Entry;
use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};

/// What a completion is of; with the descriptor it is the request's `user_data`.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    Accept,
    Receive,
    Send,
    Close,
}

const STEPS: [Step; 4] = [Step::Accept, Step::Receive, Step::Send, Step::Close];

struct Server {
    ring: IoUring,
    /// A buffer for each connection.
    buffers: HashMap<RawFd, Box<[u8; 4096]>>,
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse());
    let (Some(Ok(port)), Some(Ok(connections)), None) = (args.next(), args.next(), args.next()) else {
        return Err(io::Error::other("usage: echo_server PORT CONNECTIONS"));
    };
    let port = u16::try_from(port).map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("{}", listener.local_addr()?.port());
    Server { ring: IoUring::new(64)?, buffers: HashMap::new() }.serve(&listener, connections)
}

impl Server {
    fn serve(&mut self, listener: &TcpListener, connections: u32) -> io::Result<()> {
        let (mut to_accept, mut to_close) = (connections, connections);
        if to_accept > 0 {
            self.request(Step::Accept, listener.as_raw_fd(), 0)?;
        }
        while to_close > 0 {
            self.ring.submit_and_wait(1)?;
            let done: Vec<_> = self.ring.completion().map(|cqe| (cqe.user_data(), cqe.result())).collect();
            for (user_data, result) in done {
                let (step, fd) = (STEPS[(user_data >> 32) as usize], user_data as RawFd);
                if result < 0 {
                    return Err(io::Error::from_raw_os_error(-result));
                }
                match step {
                    Step::Accept => {
                        self.buffers.insert(result, Box::new([0; 4096]));
                        self.request(Step::Receive, result, 0)?;
                        to_accept -= 1;
                        if to_accept > 0 {
                            self.request(Step::Accept, fd, 0)?;
                        }
                    }
                    Step::Receive if result == 0 => self.request(Step::Close, fd, 0)?,
                    Step::Receive => self.request(Step::Send, fd, result as u32)?,
                    Step::Send => self.request(Step::Receive, fd, 0)?,
                    Step::Close => {
                        self.buffers.remove(&fd);
                        to_close -= 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Queues a request; `len` is how much to send.
    fn request(&mut self, step: Step, fd: RawFd, len: u32) -> io::Result<()> {
        let buffer = self.buffers.get_mut(&fd).map_or(std::ptr::null_mut(), |buffer| buffer.as_mut_ptr());
        let entry = match step {
            Step::Accept => opcode::Accept::new(Fd(fd), std::ptr::null_mut(), std::ptr::null_mut()).build(),
            Step::Receive => opcode::Recv::new(Fd(fd), buffer, 4096).build(),
            Step::Send => opcode::Send::new(Fd(fd), buffer, len).flags(libc::MSG_WAITALL).build(),
            Step::Close => opcode::Close::new(Fd(fd)).build(),
        };
        push(&mut self.ring, &entry.user_data((step as u64) << 32 | fd as u64))
    }
}

fn push(ring: &mut IoUring, entry: &Entry) -> io::Result<()> {
    // SAFETY: a buffer stays where it is until its connection's last request has completed.
    if unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
        // SAFETY: as above.
        unsafe { ring.submission().push(entry) }.map_err(io::Error::other)?;
    }
    Ok(())
}
