//! Descriptors that the guard takes from the program, and how it gets rid of them.
//!
//! The program chooses what is behind a number, and may close its own descriptor meanwhile. Then the
//! guard's is the last, and closing it can take as long as the program likes (`SO_LINGER`). So what has
//! not turned out to be a ring is closed by a thread that has nothing else to do.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// So many may wait to be closed before the guard waits, too, which its deadline ends.
const QUEUE: usize = 256;

/// Where [`Taken`] descriptors go.
#[derive(Clone, Debug)]
pub(crate) struct Closer(SyncSender<OwnedFd>);

impl Closer {
    /// Starts the thread.
    ///
    /// # Errors
    /// `EAGAIN` when no thread can be had.
    pub(crate) fn start() -> Result<Self, Errno> {
        let (sender, receiver) = sync_channel::<OwnedFd>(QUEUE);
        let close = move || receiver.into_iter().for_each(drop);
        match thread::Builder::new().name("ringwarden-close".into()).spawn(close) {
            Ok(_) => Ok(Self(sender)),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)),
        }
    }

    pub(crate) fn take(&self, fd: OwnedFd) -> Taken {
        Taken { fd: Some(fd), closer: self.clone() }
    }
}

/// A copy of one of the program's descriptors.
#[derive(Debug)]
pub(crate) struct Taken {
    /// There until it is dropped.
    fd: Option<OwnedFd>,
    closer: Closer,
}

impl Taken {
    /// A descriptor that is known to be a ring, which closes without waiting.
    pub(crate) fn into_ring(mut self) -> OwnedFd {
        self.fd.take().expect("it has not been dropped")
    }
}

impl AsFd for Taken {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("it has not been dropped").as_fd()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            // The thread ends only with the guard.
            let _ = self.closer.0.send(fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_socket_that_lingers_holds_nobody_up() {
        let closer = Closer::start().expect("a thread");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut sender = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
        let (mut receiver, _) = listener.accept().expect("accept");
        rustix::net::sockopt::set_socket_linger(&sender, Some(std::time::Duration::from_secs(1000)))
            .expect("linger");
        sender.set_nonblocking(true).expect("nonblocking");
        while sender.write(&[0; 65536]).is_ok() {}
        drop(closer.take(OwnedFd::from(sender)));
        let (pipe, other) = rustix::pipe::pipe().expect("a pipe");
        let number = pipe.as_raw_fd();
        assert_eq!(closer.take(pipe).into_ring().as_raw_fd(), number);
        drop(other);
        // Lets the thread go on.
        receiver.read_to_end(&mut Vec::new()).expect("all that was sent");
    }
}
