//! Who submits to the ring.

use crate::emulator::Call;
use crate::memory::Memory;
use crate::ring::Ring;
use ringwarden::filter::{Errno, UserMemory};
use ringwarden::uapi::Opcode;
use ringwarden::uapi::ring::{Cqe, Sqe, SqeFlags};
use rustix::fs::OFlags;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{self, Sender};

pub(crate) struct Submitter<'a> {
    ring: &'a Ring,
    memory: &'a Memory,
    calls: Sender<Call>,
    count: u64,
    /// Submitted, but not taken.
    queued: u32,
    lines: Vec<String>,
}

impl<'a> Submitter<'a> {
    pub(crate) fn new(ring: &'a Ring, memory: &'a Memory, calls: Sender<Call>) -> Self {
        Self { ring, memory, calls, count: 0, queued: 0, lines: Vec::new() }
    }

    /// Submits some requests, and tells what comes of them.
    pub(crate) fn go_on(mut self, path: &Path) -> Result<Vec<String>, String> {
        use SqeFlags as F;
        let (none, link) = (F::empty(), F::IO_LINK);
        let path = self.memory.place(&[path.as_os_str().as_bytes(), &[0]].concat());
        let (text, read_into) = (self.memory.place(b"hello"), self.memory.place(&[0; 64]));
        let op = |opcode: Opcode| Sqe { opcode: opcode.0, ..Sqe::default() };
        let open = |addr, flags: OFlags| Sqe { fd: -100, addr, op_flags: flags.bits(), ..op(Opcode::OPENAT) };
        let read = |len| Sqe { addr: read_into, len, ..op(Opcode::READ) };
        let write = |len| Sqe { addr: text, len, ..op(Opcode::WRITE) };
        let (nop, socket) = (op(Opcode::NOP), Sqe { fd: 2, off: 1, ..op(Opcode::SOCKET) });

        self.enter(&[(open(path, OFlags::RDWR), none)])?;
        self.enter(&[(write(5), link), (read(5), link), (nop, none)])?;
        let mut bytes = [0; 5];
        self.memory.read(read_into, &mut bytes).map_err(|errno| errno.to_string())?;
        self.lines.push(format!("it has read {:?}", String::from_utf8_lossy(&bytes)));
        self.enter(&[(write(17), link), (read(5), none), (nop, none)])?;
        self.enter(&[(read(5), link), (write(17), none)])?;
        self.enter(&[(socket, none), (nop, none)])?;
        self.enter(&[])?;
        self.enter(&[(op(Opcode(200)), none), (nop, none)])?;
        self.enter(&[])?;
        self.enter(&[(open(0x1000, OFlags::CREATE), none)])?;
        self.enter(&[(open(path, OFlags::CREATE), none)])?;
        self.enter(&[(read(5), F::ASYNC), (nop, F::IO_DRAIN), (nop, none)])?;
        self.enter(&[(read(64), link), (nop, none)])?;
        self.enter(&[(read(64), F::IO_HARDLINK), (nop, none)])?;
        Ok(self.lines)
    }

    fn enter(&mut self, requests: &[(Sqe, SqeFlags)]) -> Result<(), String> {
        for &(sqe, flags) in requests {
            self.count += 1;
            let sqe = Sqe { flags: flags.bits(), user_data: self.count, ..sqe };
            if !self.ring.push(&sqe) {
                return Err("the queue is full".to_owned());
            }
            self.queued += 1;
        }
        let (returns, returned) = mpsc::channel();
        let gone = |_| "nobody serves the ring".to_owned();
        self.calls.send(Call { to_submit: self.queued, returns }).map_err(|_| gone(mpsc::RecvError))?;
        let taken = returned.recv().map_err(gone)?;
        self.queued = self.queued.saturating_sub(taken);
        let asked: Vec<_> = requests.iter().map(described).collect();
        let asked = if asked.is_empty() { "nothing new".to_owned() } else { asked.join(", ") };
        let cqes: Vec<_> = std::iter::from_fn(|| self.ring.pop()).map(|cqe| completed(&cqe)).collect();
        self.lines.push(format!("{asked} -> {taken}: {}", cqes.join(" ")));
        Ok(())
    }
}

/// A request in the words of the tables.
fn described((sqe, flags): &(Sqe, SqeFlags)) -> String {
    let flags: String =
        flags.iter_names().map(|(name, _)| format!(" +{}", name.trim_start_matches("IO_"))).collect();
    format!("{}{}", Opcode(sqe.opcode), flags.to_lowercase())
}

fn completed(cqe: &Cqe) -> String {
    let errno = u16::try_from(cqe.res.unsigned_abs()).ok().filter(|_| cqe.res < 0).map(Errno);
    match errno.and_then(Errno::name) {
        Some(name) => format!("{}={name}", cqe.user_data),
        None => format!("{}={}", cqe.user_data, cqe.res),
    }
}
