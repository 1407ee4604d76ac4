//! Files that hang, and memory of one whose reads are never answered.

use crate::process::{fork, wait};
use crate::pulse::Pulse;
use crate::{Attempts, checked, own, requests};
use ringwarden_testring::{Ring, SetupFlags, Sqe};
use ringwarden_uapi::{Opcode, RegisterOp};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::ptr::null_mut;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Each kind of memory that the guard reads.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Argument {
    /// OPENAT2's `open_how`
    Openat2,
    /// CONNECT's address
    Connect,
    /// The parameters of a ring
    Setup,
    /// A filter of the program's own
    Filter,
    /// The instructions of one
    Instructions,
    /// Restrictions of the program's own
    Restrictions,
    /// Rings to be used by index
    Rings,
}

/// A page of it.
fn memory(file: &Path) -> io::Result<*mut libc::c_void> {
    let file = File::open(file)?;
    // Until somebody asks, it is empty.
    file.metadata()?;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
    // SAFETY: a new mapping.
    let memory = unsafe { libc::mmap(null_mut(), 4096, protection, flags, file.as_raw_fd(), 0) };
    checked(memory as i64)?;
    Ok(memory)
}

/// Has the guard read such memory, beside a sibling.
pub(crate) fn argument(argument: Argument, file: &Path, asked: &Path, escapes: bool) -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    let pulse = Pulse::limited(asked)?;
    let child = fork(|| if escapes { escape(argument, file, asked) } else { read(argument, memory(file)?) })?;
    // 40 s are what the documentation grants, on a machine that is busy.
    let status = wait(child, Duration::from_secs(45))?;
    attempts.record("ended in time", status.ok_or_else(|| io::ErrorKind::TimedOut.into()));
    pulse.stop(&mut attempts)?;
    Ok(attempts)
}

/// Leaves the guard with the call of a thread that another's exec ends, and lives on as that.
fn escape(argument: Argument, file: &Path, asked: &Path) -> io::Result<i32> {
    let asked = asked.to_owned();
    thread::spawn(move || {
        while !asked.exists() {
            thread::sleep(Duration::from_millis(5));
        }
        Command::new("/proc/self/exe").arg("live-on").exec()
    });
    read(argument, memory(file)?)
}

/// Forks, and is at work until it is killed.
pub(crate) fn live_on() -> ! {
    // Whether or not it may.
    let _ = fork(|| Ok(0));
    loop {
        std::hint::spin_loop();
    }
}

fn read(argument: Argument, memory: *mut libc::c_void) -> io::Result<i32> {
    let ring = requests::ring()?;
    let (fd, address) = (ring.as_fd().as_raw_fd(), memory.addr() as u64);
    let register = |fd: i32, op: RegisterOp| {
        // SAFETY: memory that the kernel may only wait for.
        unsafe { checked(libc::syscall(libc::SYS_io_uring_register, fd, op.0, memory, 1)) }
    };
    match argument {
        Argument::Openat2 => {
            let (opcode, path) = (Opcode::OPENAT2.0, c"/dev/null".as_ptr() as u64);
            let sqe = Sqe { opcode, fd: libc::AT_FDCWD, addr: path, off: address, len: 24, ..Sqe::default() };
            requests::perform(&ring, &sqe)?;
        }
        Argument::Connect => {
            let (one, _other) = UnixStream::pair()?;
            let (opcode, fd) = (Opcode::CONNECT.0, one.as_raw_fd());
            requests::perform(&ring, &Sqe { opcode, fd, addr: address, off: 16, ..Sqe::default() })?;
        }
        Argument::Setup => {
            // SAFETY: memory that the kernel may only wait for.
            checked(unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, memory) })?;
        }
        Argument::Filter => drop(register(fd, RegisterOp::REGISTER_BPF_FILTER)?),
        Argument::Instructions => {
            // SAFETY: never dereferenced here.
            let program = unsafe { std::slice::from_raw_parts(memory.cast::<[u8; 8]>(), 4) };
            own::filter(fd, Opcode::NOP, program)?;
        }
        Argument::Restrictions => drop(register(own::TASK, RegisterOp::REGISTER_RESTRICTIONS)?),
        Argument::Rings => drop(register(fd, RegisterOp::REGISTER_RING_FDS)?),
    }
    Ok(0)
}

/// What a process can hold for as long as a file hangs.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Lock {
    /// That of an exec, which closes the file
    Exec,
    /// That of its address space, in which something takes the place of what was written to the file
    Map,
}

/// Holds a lock of a process that has a ring, beside a sibling.
pub(crate) fn hold(lock: Lock, file: &Path, asked: &Path, limited: bool) -> io::Result<Attempts> {
    /// The guard looks around once a second.
    const TIME: Duration = Duration::from_secs(3);
    let mut attempts = Attempts::default();
    let pulse = if limited { Pulse::limited(asked)? } else { Pulse::of_rings()? };
    let child = fork(|| match lock {
        Lock::Exec => exec(file),
        Lock::Map => map_over(file),
    })?;
    while !asked.exists() {
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(TIME);
    pulse.stop(&mut attempts)?;
    std::fs::remove_file(asked)?;
    let status = wait(child, Duration::from_secs(20))?;
    attempts.count("status", status.map_or(0xffff, |status| status as usize));
    Ok(attempts)
}

fn exec(file: &Path) -> io::Result<i32> {
    // Closed in the order of their numbers.
    let _file = File::open(file)?;
    let _ring = Ring::new(4, SetupFlags::SINGLE_ISSUER)?;
    Err(Command::new("true").exec())
}

fn map_over(file: &Path) -> io::Result<i32> {
    let file = OpenOptions::new().read(true).write(true).open(file)?;
    file.metadata()?;
    let ring = requests::ring()?;
    requests::register(ring.as_fd())?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let (shared, fixed) = (libc::MAP_SHARED, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED);
    // SAFETY: a new mapping, and another in its place.
    unsafe {
        let page = libc::mmap(null_mut(), 4096, protection, shared, file.as_raw_fd(), 0);
        checked(page as i64)?;
        page.cast::<u8>().write_volatile(1);
        checked(libc::mmap(page, 4096, protection, fixed, -1, 0) as i64)?;
    }
    Ok(0)
}

/// Leaves the guard with the last descriptor of a ring whose lock is held for good: by task work that fills
/// a buffer in such memory. `asked` exists once the file is being read. Prints a line then, and goes on
/// until it is killed.
pub(crate) fn close(file: &Path, asked: &Path) -> io::Result<Attempts> {
    let buffer = memory(file)?.addr() as u64;
    let (ring, other) = (requests::ring()?, requests::ring()?);
    let held = ring.as_fd().as_raw_fd();
    // A thread that has the ring by index, and does nothing with it.
    let (registered, is_registered) = channel();
    let (end, ended) = channel::<()>();
    let by_index = other.as_fd().as_raw_fd();
    let holder = thread::spawn(move || {
        let mut update = [u64::from(u32::MAX), held as u64];
        let op = RegisterOp::REGISTER_RING_FDS.0;
        // SAFETY: one entry, which is read and written.
        let done = unsafe { libc::syscall(libc::SYS_io_uring_register, by_index, op, &raw mut update, 1) };
        let _ = registered.send(checked(done));
        let _ = ended.recv();
    });
    is_registered.recv().map_err(io::Error::other)??;
    // A thread whose task work will hang.
    let (mut sender, receiver) = UnixStream::pair()?;
    let (submitted, is_submitted) = channel();
    thread::spawn(move || {
        let (opcode, fd) = (Opcode::RECV.0, receiver.as_raw_fd());
        ring.push(&Sqe { opcode, fd, addr: buffer, len: 4096, ..Sqe::default() });
        // SAFETY: the buffer is never unmapped.
        let _ = submitted.send(unsafe { ring.enter(1, 0) });
        drop(ring);
        let _ = (&receiver).read(&mut [0; 1]);
        drop(receiver);
    });
    is_submitted.recv().map_err(io::Error::other)??;
    sender.write_all(&[1; 4096])?;
    while !asked.exists() {
        thread::sleep(Duration::from_millis(5));
    }
    drop(end);
    let _ = holder.join();
    let pulse = Pulse::start()?;
    thread::sleep(Duration::from_secs(2));
    let mut attempts = Attempts::default();
    pulse.stop(&mut attempts)?;
    println!("{}", serde_json::Value::Object(attempts.0));
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}
