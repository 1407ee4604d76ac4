//! An ordinary program on the `io-uring` crate: files, sockets, timeouts, links, registered and
//! provided buffers, in several kinds of rings.
//!
//! Prints one line for every group of requests with their results in order of submission: counts as
//! they are, descriptors as `fd`, errors by number. The lines are the same on every run, so that a
//! run under a guard can be compared with a native one.

use io_uring::opcode::*;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{BufRingEntry, Fd, Fixed, OpenHow, Timespec};
use io_uring::{Builder, IoUring, cqueue};
use std::alloc::{Layout, alloc_zeroed};
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};

const TIMED_OUT: Timespec = Timespec::new().nsec(1_000_000);
const NEVER: Timespec = Timespec::new().sec(1000);

type Configure = fn(&mut Builder) -> &mut Builder;

fn main() -> io::Result<()> {
    let kinds: [(&str, Configure); 5] = [
        ("plain", |builder| builder),
        ("submit-all", |builder| builder.setup_submit_all()),
        ("cooperative", |builder| builder.setup_coop_taskrun().setup_taskrun_flag()),
        ("deferred", |builder| builder.setup_single_issuer().setup_defer_taskrun()),
        ("sqpoll", |builder| builder.setup_sqpoll(50)),
    ];
    for (kind, configure) in kinds {
        let ring = configure(&mut IoUring::builder()).build(32)?;
        let mut client = Client { kind, ring };
        client.files()?;
        client.registered()?;
        client.links()?;
        client.timeouts()?;
        client.sockets()?;
        client.provided_buffers()?;
        client.drained()?;
    }
    Ok(())
}

struct Client {
    kind: &'static str,
    ring: IoUring,
}

impl Client {
    /// Performs all `entries` at once, prints their results, and gives these.
    fn perform(&mut self, group: &str, entries: impl IntoIterator<Item = Entry>) -> io::Result<Vec<i32>> {
        let entries: Vec<_> =
            entries.into_iter().zip(0..).map(|(entry, number)| entry.user_data(number)).collect();
        // All become visible at once: a submission thread must not find half a chain.
        // SAFETY: everything that the entries point at outlives this function, at whose end the
        // requests have completed.
        unsafe { self.ring.submission().push_multiple(&entries) }.map_err(io::Error::other)?;
        let mut completions: Vec<cqueue::Entry> = Vec::new();
        while completions.len() < entries.len() {
            // A batch that ends at a failed request leaves the rest for the next call.
            self.ring.submit_and_wait(1)?;
            completions.extend(self.ring.completion());
        }
        completions.sort_by_key(cqueue::Entry::user_data);
        let results: Vec<i32> = completions.iter().map(cqueue::Entry::result).collect();
        println!("{} {group}: {results:?}", self.kind);
        Ok(results)
    }

    /// Performs one request that makes a descriptor.
    fn open(&mut self, group: &str, entry: Entry) -> io::Result<Option<OwnedFd>> {
        // SAFETY: as in `perform`; callers pass pointers to their own locals.
        unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
        self.ring.submit_and_wait(1)?;
        let result = self.ring.completion().next().map_or(-libc::EIO, |completion| completion.result());
        let shown = if result < 0 { result.to_string() } else { "fd".to_owned() };
        println!("{} {group}: {shown}", self.kind);
        // SAFETY: the request has just made this descriptor for us alone.
        Ok((result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) }))
    }

    fn files(&mut self) -> io::Result<()> {
        let file = tempfile::tempfile()?;
        let fd = Fd(file.as_raw_fd());
        let mut buffer = [0u8; 8];
        self.perform("write", [Write::new(fd, c"contents".as_ptr().cast(), 8).build()])?;
        self.perform("fsync", [Fsync::new(fd).build()])?;
        self.perform("read", [Read::new(fd, buffer.as_mut_ptr(), 8).build()])?;
        self.perform("fallocate", [Fallocate::new(fd, 4096).build()])?;
        let how = OpenHow::new().flags(libc::O_RDONLY as u64);
        let directory = Fd(libc::AT_FDCWD);
        self.open("openat2", OpenAt2::new(directory, c"/dev/null".as_ptr(), &how).build())?;
        self.open("openat", OpenAt::new(directory, c"/dev/zero".as_ptr()).build())?;
        self.open("openat missing", OpenAt::new(directory, c"/nonexistent".as_ptr()).build())?;
        Ok(())
    }

    fn registered(&mut self) -> io::Result<()> {
        let file = tempfile::tempfile()?;
        let mut buffer = *b"fixed   ";
        let vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: the buffer is unregistered below, before it goes.
        unsafe { self.ring.submitter().register_buffers(&[vector])? };
        self.ring.submitter().register_files(&[file.as_raw_fd()])?;
        self.perform("write_fixed", [WriteFixed::new(Fixed(0), buffer.as_ptr(), 8, 0).build()])?;
        self.perform("read_fixed", [ReadFixed::new(Fixed(0), buffer.as_mut_ptr(), 8, 0).build()])?;
        self.ring.submitter().unregister_files()?;
        self.ring.submitter().unregister_buffers()
    }

    fn links(&mut self) -> io::Result<()> {
        let file = tempfile::tempfile()?;
        let fd = Fd(file.as_raw_fd());
        let text = c"linked".as_ptr().cast();
        let mut buffer = [0u8; 6];
        let at = buffer.as_mut_ptr();
        let write = || Write::new(fd, text, 6).build();
        let read = || Read::new(fd, at, 6).build();
        let fsync = || Fsync::new(fd).build();
        let bad = || Read::new(Fd(-1), at, 6).build();
        self.perform("link", [write().flags(Flags::IO_LINK), fsync().flags(Flags::IO_LINK), read()])?;
        self.perform("broken link", [bad().flags(Flags::IO_LINK), fsync().flags(Flags::IO_LINK), read()])?;
        self.perform("hard link", [bad().flags(Flags::IO_HARDLINK), fsync(), read()])?;
        Ok(())
    }

    /// Performed last: for a while after a drained request, where some are refused before they are issued, the kernel may issue
    /// one after the next (7.2.13 and 7.3-rc7 natively, once in 18,000 rings).
    fn drained(&mut self) -> io::Result<()> {
        let file = tempfile::tempfile()?;
        let fd = Fd(file.as_raw_fd());
        let mut buffer = [0u8; 6];
        let write = Write::new(fd, c"linked".as_ptr().cast(), 6).build();
        let fsync = Fsync::new(fd).build().flags(Flags::IO_DRAIN);
        self.perform("drain", [write, fsync, Read::new(fd, buffer.as_mut_ptr(), 6).build()])?;
        Ok(())
    }

    fn timeouts(&mut self) -> io::Result<()> {
        let (reader, _writer) = io::pipe()?;
        let mut byte = 0u8;
        let read = Read::new(Fd(reader.as_raw_fd()), &mut byte, 1).build();
        let limit = LinkTimeout::new(&TIMED_OUT).build();
        self.perform("timeout", [Timeout::new(&TIMED_OUT).build()])?;
        self.perform("link_timeout", [read.flags(Flags::IO_LINK), limit])?;
        self.perform("timeout_remove", [Timeout::new(&NEVER).build(), TimeoutRemove::new(0).build()])?;
        Ok(())
    }

    fn sockets(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: listener.local_addr()?.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        let socket = Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build();
        let Some(socket) = self.open("socket", socket)? else { return Ok(()) };
        let client = Fd(socket.as_raw_fd());
        let length = size_of_val(&address) as u32;
        let connected =
            self.perform("connect", [Connect::new(client, (&raw const address).cast(), length).build()])?;
        if connected != [0] {
            return Ok(());
        }
        let null = std::ptr::null_mut();
        let accept = Accept::new(Fd(listener.as_raw_fd()), null, null.cast()).build();
        let Some(accepted) = self.open("accept", accept)? else { return Ok(()) };
        let server = Fd(accepted.as_raw_fd());
        let mut buffer = [0u8; 5];
        self.perform("send", [Send::new(client, c"hello".as_ptr().cast(), 5).build()])?;
        self.perform("recv", [Recv::new(server, buffer.as_mut_ptr(), 5).build()])?;
        self.perform("poll", [PollAdd::new(server, libc::POLLOUT as u32).build()])?;
        self.perform("shutdown", [Shutdown::new(client, libc::SHUT_RDWR).build()])?;
        Ok(())
    }

    /// A buffer ring of one entry, from which a read picks.
    fn provided_buffers(&mut self) -> io::Result<()> {
        const GROUP: u16 = 7;
        let zeroes = File::open("/dev/zero")?;
        let layout = Layout::from_size_align(4096, 4096).map_err(io::Error::other)?;
        // SAFETY: the layout has a size. Never freed: the ring may pick from it until it is gone.
        let entries = unsafe { alloc_zeroed(layout) }.cast::<BufRingEntry>();
        let buffer = Box::leak(Box::new([1u8; 16]));
        // SAFETY: a page of our own, as large as the entry, the first of which holds the tail.
        unsafe {
            (*entries).set_addr(buffer.as_mut_ptr() as u64);
            (*entries).set_len(16);
            let tail = BufRingEntry::tail(entries).cast::<AtomicU16>();
            (*tail).store(1, Ordering::Release);
            self.ring.submitter().register_buf_ring_with_flags(entries as u64, 1, GROUP, 0)?;
        }
        let fd: RawFd = zeroes.as_raw_fd();
        let read = || Read::new(Fd(fd), std::ptr::null_mut(), 16).buf_group(GROUP).build();
        self.perform("buffer select", [read().flags(Flags::BUFFER_SELECT)])?;
        self.perform("no buffer left", [read().flags(Flags::BUFFER_SELECT)])?;
        self.ring.submitter().unregister_buf_ring(GROUP)
    }
}
