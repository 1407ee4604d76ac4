//! One process that keeps the guard busy, beside a sibling that wants to go on.

use crate::process::{fork, shared_number, wait};
use crate::pulse::Pulse;
use crate::stub::Stub;
use crate::{Attempts, checked, requests};
use ringwarden_testring::{Params, SetupFlags};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// For how long a process tries; it may be killed before.
const TIME: Duration = Duration::from_secs(4);
/// A call that takes longer is being held up.
const HELD: Duration = Duration::from_millis(5);

/// Runs `attack` in a process beside a sibling. It counts what it has tried.
fn beside_a_sibling(attack: impl FnOnce(&'static AtomicU64) -> io::Result<i32>) -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    let pulse = Pulse::start()?;
    let tried = shared_number()?;
    let child = fork(|| attack(tried))?;
    let status = wait(child, 4 * TIME)?;
    attempts.count("status", status.map_or(0xffff, |status| status as usize));
    attempts.count("tried", tried.load(Ordering::Relaxed) as usize);
    pulse.stop(&mut attempts)?;
    Ok(attempts)
}

/// What the thread calls whose `syscall` instruction is taken away.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Injected {
    /// `io_uring_setup` of a ring for the calling thread alone
    Setup,
    /// `mmap` of a ring
    Map,
}

/// Puts a jump to itself in the place of the instruction by which the guard makes calls.
pub(crate) fn jump(injected: Injected, garbled: bool) -> io::Result<Attempts> {
    beside_a_sibling(|tried| {
        let stub = Arc::new(Stub::new()?);
        let (turn, caller) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let thread = (stub.clone(), turn.clone(), caller.clone());
        thread::spawn(move || {
            let (stub, turn, caller) = thread;
            // SAFETY: takes nothing.
            caller.store(unsafe { libc::gettid() } as u64, Ordering::SeqCst);
            let ring = requests::ring().expect("a ring");
            let fd = ring_number(&ring);
            if garbled {
                // SAFETY: a name that ends with a NUL.
                unsafe { libc::prctl(libc::PR_SET_NAME, c"\xff".as_ptr()) };
            }
            loop {
                turn.fetch_add(1, Ordering::SeqCst);
                call(&stub, injected, fd);
            }
        });
        while turn.load(Ordering::SeqCst) == 0 {
            std::hint::spin_loop();
        }
        let status = format!("/proc/self/task/{}/status", caller.load(Ordering::SeqCst));
        let traced = || {
            let status = std::fs::read(&status).unwrap_or_default();
            String::from_utf8_lossy(&status)
                .lines()
                .any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        };
        let (start, mut spins) = (Instant::now(), 0);
        while start.elapsed() < TIME {
            let before = turn.load(Ordering::SeqCst);
            while turn.load(Ordering::SeqCst) == before {
                std::hint::spin_loop();
            }
            for _ in 0..spins {
                std::hint::spin_loop();
            }
            stub.hold(true);
            tried.fetch_add(1, Ordering::Relaxed);
            let (now, since) = (turn.load(Ordering::SeqCst), Instant::now());
            while turn.load(Ordering::SeqCst) == now && since.elapsed() < HELD {
                std::hint::spin_loop();
            }
            // Either the thread itself goes round, or the guard waits for it to be done.
            while traced() && start.elapsed() < 2 * TIME {
                thread::sleep(HELD);
            }
            stub.hold(false);
            spins = (spins + 50) % 3000;
        }
        Ok(0)
    })
}

fn ring_number(ring: &ringwarden_testring::Ring) -> i32 {
    use std::os::fd::AsFd;
    ring.as_fd().as_raw_fd()
}

fn call(stub: &Stub, injected: Injected, ring: i32) {
    match injected {
        Injected::Setup => {
            let mut params = Params { flags: SetupFlags::SINGLE_ISSUER.bits(), ..Params::default() };
            let argument = (&raw mut params).addr() as u64;
            let made = stub.call(libc::SYS_io_uring_setup, [4, argument, 0, 0, 0, 0]);
            if made >= 0 {
                // SAFETY: a descriptor that was just made.
                unsafe { libc::close(made as i32) };
            }
        }
        Injected::Map => {
            let protection = (libc::PROT_READ | libc::PROT_WRITE) as u64;
            let args = [0, 4096, protection, libc::MAP_SHARED as u64, ring as u64, 0];
            let mapped = stub.call(libc::SYS_mmap, args);
            if mapped > 0 {
                // SAFETY: a mapping that was just made, which nobody uses.
                unsafe { libc::munmap(mapped as *mut _, 4096) };
            }
        }
    }
}

/// Puts a socket that lingers in the place of the descriptor that the guard maps and closes.
pub(crate) fn linger() -> io::Result<Attempts> {
    beside_a_sibling(|tried| {
        let ring = requests::ring()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let start = Instant::now();
        while start.elapsed() < TIME {
            let (receiver, sender) = lingering(&listener)?;
            tried.fetch_add(1, Ordering::Relaxed);
            // The next descriptor that this process gets: the number of one that was just closed.
            let next = std::fs::File::open("/dev/null")?.as_raw_fd();
            let going = Arc::new(AtomicU64::new(1));
            let (still, socket) = (going.clone(), sender.into_raw_fd());
            let robber = thread::spawn(move || {
                while still.load(Ordering::SeqCst) == 1 {
                    // SAFETY: numbers only; the socket is this thread's, and has one descriptor after.
                    unsafe {
                        if libc::fcntl(next, libc::F_GETFD) >= 0 {
                            libc::dup2(socket, next);
                            libc::close(socket);
                            return true;
                        }
                    }
                }
                false
            });
            let flags = libc::MAP_SHARED;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a new mapping, which nobody uses.
            unsafe {
                let mapped = libc::mmap(null_mut(), 4096, protection, flags, ring_number(&ring), 0);
                if mapped != libc::MAP_FAILED {
                    libc::munmap(mapped, 4096);
                }
            }
            going.store(0, Ordering::SeqCst);
            let robbed = robber.join().unwrap_or_default();
            // Without a receiver nobody lingers.
            drop(receiver);
            // SAFETY: whichever of the two is left.
            unsafe { libc::close(if robbed { next } else { socket }) };
        }
        Ok(0)
    })
}

/// A socket that takes very long to close, and its other end.
fn lingering(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, _) = listener.accept()?;
    let linger = libc::linger { l_onoff: 1, l_linger: 1000 };
    let (value, len) = ((&raw const linger).cast(), size_of_val(&linger) as u32);
    // SAFETY: a valid option of that size.
    checked(unsafe { libc::setsockopt(sender.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, len) })?;
    sender.set_nonblocking(true)?;
    while sender.write(&[0; 65536]).is_ok() {}
    Ok((receiver, sender))
}

/// Holds the lock of its own address space, which whoever reads its memory has to wait for.
pub(crate) fn lock() -> io::Result<Attempts> {
    /// Of address space: every page of it is the same one.
    const LEN: usize = 24 << 30;
    beside_a_sibling(|tried| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: new memory, which nobody looks at.
        let memory = unsafe {
            let memory = libc::mmap(null_mut(), LEN, libc::PROT_READ, flags, -1, 0);
            checked(memory as i64)?;
            libc::madvise(memory, LEN, libc::MADV_NOHUGEPAGE);
            checked(libc::madvise(memory, LEN, libc::MADV_POPULATE_READ))?;
            memory.expose_provenance()
        };
        thread::spawn(|| {
            loop {
                let _ = requests::ring();
            }
        });
        let start = Instant::now();
        while start.elapsed() < TIME {
            for protection in [libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ] {
                let memory = std::ptr::with_exposed_provenance_mut(memory);
                // SAFETY: memory that nobody looks at.
                checked(unsafe { libc::mprotect(memory, LEN, protection) })?;
                tried.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(0)
    })
}

/// Keeps the page of arguments from being mapped, and has so much else mapped that it takes long to see.
pub(crate) fn much() -> io::Result<Attempts> {
    /// Address space below the page, all of it of one file.
    const BLOCK: usize = 1 << 30;
    const BLOCKS: usize = 32;
    const BELOW: usize = 0x1000_0000_0000;
    beside_a_sibling(|tried| {
        // SAFETY: a new file, and mappings below the page of arguments, where nothing is.
        unsafe {
            let fd = checked(libc::memfd_create(c"much".as_ptr(), 0))? as i32;
            checked(libc::ftruncate(fd, BLOCK as i64))?;
            let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
            for block in 0..BLOCKS {
                // Not one after the other, which would be one mapping.
                let at = (BELOW + 2 * block * BLOCK) as *mut libc::c_void;
                checked(libc::mmap(at, BLOCK, libc::PROT_READ, flags, fd, 0) as i64)?;
                checked(libc::madvise(at, BLOCK, libc::MADV_POPULATE_READ))?;
            }
            let place = 0x2000_0000_0000usize as *mut libc::c_void;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            checked(libc::mmap(place, 4096, libc::PROT_READ, flags, -1, 0) as i64)?;
        }
        // The guard may end this while it makes the ring: all that it sees then takes too long.
        tried.fetch_add(1, Ordering::Relaxed);
        let ring = requests::ring()?;
        let start = Instant::now();
        while start.elapsed() < TIME {
            let _ = requests::nop(&ring);
            tried.fetch_add(1, Ordering::Relaxed);
        }
        Ok(0)
    })
}
