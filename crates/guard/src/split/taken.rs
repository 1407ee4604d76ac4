//! Descriptors that the guard takes from the program or makes for it, and how it gets rid of them.
//!
//! The program chooses what is behind a number, and may close its own descriptor meanwhile. Then the
//! guard's is the last, and closing it can take as long as the program likes: a socket lingers, a ring
//! waits for whoever holds its lock, who may be reading memory that nobody provides. So they are closed
//! by threads that have nothing else to do, as many as hang.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Threads that close at most. Beyond that descriptors wait, until the guard can open no more.
const MAX_THREADS: usize = 64;

/// Where [`Taken`] descriptors go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closer(Arc<Closing>);

#[derive(Debug, Default)]
struct Closing {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    descriptors: VecDeque<OwnedFd>,
    threads: usize,
    /// Threads that have nothing to close.
    idle: usize,
}

impl Closer {
    /// Starts the first thread.
    ///
    /// # Errors
    /// `EAGAIN` when no thread can be had.
    pub(crate) fn start() -> Result<Self, Errno> {
        let closer = Self::default();
        closer.0.queue().threads = 1;
        closer.start_thread()?;
        Ok(closer)
    }

    pub(crate) fn take(&self, fd: OwnedFd) -> Taken {
        Taken { fd: Some(fd), closer: self.clone() }
    }

    fn close(&self, fd: OwnedFd) {
        let mut queue = self.0.queue();
        queue.descriptors.push_back(fd);
        let one_more = queue.idle < queue.descriptors.len() && queue.threads < MAX_THREADS;
        queue.threads += usize::from(one_more);
        drop(queue);
        self.0.filled.notify_one();
        if one_more && self.start_thread().is_err() {
            // Those that there are come to it in time.
            self.0.queue().threads -= 1;
        }
    }

    fn start_thread(&self) -> Result<(), Errno> {
        let closing = Arc::clone(&self.0);
        match thread::Builder::new().name("ringwarden-close".into()).spawn(move || closing.work()) {
            Ok(_) => Ok(()),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)),
        }
    }
}

impl Closing {
    fn work(&self) {
        let mut queue = self.queue();
        loop {
            if let Some(fd) = queue.descriptors.pop_front() {
                drop(queue);
                drop(fd);
                queue = self.queue();
            } else if queue.idle > 0 {
                // One waits already.
                queue.threads -= 1;
                return;
            } else {
                queue.idle += 1;
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A descriptor that is closed by a thread which may hang.
#[derive(Debug)]
pub(crate) struct Taken {
    /// There until it is dropped.
    fd: Option<OwnedFd>,
    closer: Closer,
}

impl AsFd for Taken {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("it has not been dropped").as_fd()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            self.closer.close(fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// A socket whose close takes until the other end reads on.
    fn lingering() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut sender = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
        let (receiver, _) = listener.accept().expect("accept");
        rustix::net::sockopt::set_socket_linger(&sender, Some(std::time::Duration::from_secs(1000)))
            .expect("linger");
        sender.set_nonblocking(true).expect("nonblocking");
        while sender.write(&[0; 65536]).is_ok() {}
        (sender, receiver)
    }

    #[test]
    fn what_takes_long_to_close_holds_nobody_up() {
        let closer = Closer::start().expect("a thread");
        let mut receivers = Vec::new();
        for _ in 0..3 {
            let (sender, receiver) = lingering();
            drop(closer.take(OwnedFd::from(sender)));
            receivers.push(receiver);
        }
        let (pipe, mut other) = std::io::pipe().expect("a pipe");
        drop(closer.take(OwnedFd::from(other.try_clone().expect("a copy"))));
        other.write_all(b"x").expect("write");
        drop(other);
        // The end comes when the copy is closed, though three others hang.
        let mut pipe = pipe;
        pipe.read_to_end(&mut Vec::new()).expect("an end");
        for mut receiver in receivers {
            receiver.read_to_end(&mut Vec::new()).expect("all that was sent");
        }
    }
}
