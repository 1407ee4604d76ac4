//! Requests that are approved as they stand, and the words that turn them into forbidden ones.

use crate::arena::{Arena, PORT_APPROVED, PORT_FORBIDDEN};
use ringwarden_testring::{Sqe, words};
use ringwarden_uapi::Opcode;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that the torn request writes; a read of `/dev/null` never returns them.
pub(crate) const TORN_LEN: i32 = 13;
/// `user_data` with which the policy forbids WRITE.
pub(crate) const TORN_USER_DATA: u64 = 9;
/// `user_data` of the ordinary requests whose completions prove that work goes on.
pub(crate) const PROGRESS_USER_DATA: u64 = 1;

/// What is written where nothing may be. Memory that takes no writes: a request that is torn between READV and WRITEV
/// would read the canary into it, and from then on write what is there already.
static WRITTEN: [u64; 2] = [u64::MAX; 2];

/// Where a flipping word lies.
enum Place {
    /// Word of the shared SQE.
    Sqe(usize),
    /// Memory that the request points at.
    Memory(&'static AtomicU64),
}

/// A word with the two values it changes between.
pub(crate) struct Flip {
    place: Place,
    approved: u64,
    forbidden: u64,
}

impl Flip {
    pub(crate) fn set(&self, slot: &[AtomicU64; 8], forbidden: bool) {
        let word = match self.place {
            Place::Sqe(index) => &slot[index],
            Place::Memory(word) => word,
        };
        word.store(if forbidden { self.forbidden } else { self.approved }, Ordering::Relaxed);
    }
}

/// An approved request with its flips.
pub(crate) struct Bait {
    /// What is violated when the forbidden form executes; a key of the report.
    pub(crate) name: &'static str,
    pub(crate) approved: [u64; 8],
    pub(crate) flips: Vec<Flip>,
}

impl Bait {
    fn new(name: &'static str, approved: &Sqe) -> Self {
        Self { name, approved: words(approved), flips: Vec::new() }
    }

    /// Adds a flip for every word in which `forbidden` differs.
    fn or(mut self, forbidden: &Sqe) -> Self {
        for (index, (&approved, &forbidden)) in self.approved.iter().zip(&words(forbidden)).enumerate() {
            if approved != forbidden {
                self.flips.push(Flip { place: Place::Sqe(index), approved, forbidden });
            }
        }
        self
    }

    /// Adds a flip of pointed-to memory.
    fn or_memory(mut self, word: &'static AtomicU64, forbidden: u64) -> Self {
        let approved = word.load(Ordering::Relaxed);
        self.flips.push(Flip { place: Place::Memory(word), approved, forbidden });
        self
    }
}

/// Memory that lives for as long as the process: requests in flight may use it at any time.
fn leak<const N: usize>(words: [u64; N]) -> &'static [AtomicU64; N] {
    Box::leak(Box::new(words.map(AtomicU64::new)))
}

fn address<const N: usize>(words: &'static [AtomicU64; N]) -> u64 {
    words.as_ptr() as u64
}

fn path(text: &'static std::ffi::CStr) -> u64 {
    text.as_ptr() as u64
}

/// All baits, as laid out in `arena`; the NOP that shows progress comes first.
pub(crate) fn table(arena: &Arena) -> Vec<Bait> {
    let sqe = |opcode: Opcode, fd: i32| Sqe { opcode: opcode.0, fd, ..Sqe::default() };
    let dir = arena.dir_fd();
    let null = arena.null_fd();
    let buffer = WRITTEN.as_ptr() as u64;
    let vector = address(leak([buffer, 1]));

    let how = leak([libc::O_RDONLY as u64, 0, libc::RESOLVE_BENEATH]);
    let how_writing = address(leak([libc::O_RDWR as u64, 0, libc::RESOLVE_BENEATH]));
    let how_inside = leak([libc::O_RDONLY as u64, 0, libc::RESOLVE_BENEATH]);
    let how_anywhere = address(leak([libc::O_RDONLY as u64, 0, 0]));
    let openat2 = |path, how| Sqe { addr: path, off: how, len: 24, ..sqe(Opcode::OPENAT2, dir) };
    let loopback = leak([inet(PORT_APPROVED), 0]);
    let loopback_forbidden = address(leak([inet(PORT_FORBIDDEN), 0]));
    let connect = |to| Sqe { addr: to, off: 16, ..sqe(Opcode::CONNECT, arena.udp_fd()) };
    let socket = |family| Sqe { off: libc::SOCK_DGRAM as u64, ..sqe(Opcode::SOCKET, family) };
    let torn = |opcode, user_data| Sqe { addr: buffer, len: TORN_LEN as u32, user_data, ..sqe(opcode, null) };
    let openat =
        |flags: i32| Sqe { addr: path(c"openat"), op_flags: flags as u32, ..sqe(Opcode::OPENAT, dir) };
    let vectored = |opcode, fd| Sqe { addr: vector, len: 1, ..sqe(opcode, fd) };
    let at = |opcode, name, len| Sqe { addr: path(name), len, ..sqe(opcode, dir) };

    vec![
        Bait::new("progress", &Sqe { user_data: PROGRESS_USER_DATA, ..sqe(Opcode::NOP, -1) }),
        Bait::new("mkdirat", &at(Opcode::NOP, c"made", 0o700)).or(&at(Opcode::MKDIRAT, c"made", 0o700)),
        Bait::new("unlinkat", &at(Opcode::NOP, c"bait", 0)).or(&at(Opcode::UNLINKAT, c"bait", 0)),
        Bait::new("writev", &vectored(Opcode::READV, null)).or(&vectored(Opcode::WRITEV, arena.canary_fd())),
        Bait::new("write", &torn(Opcode::READ, TORN_USER_DATA)).or(&torn(Opcode::WRITE, 7)),
        // The same request in its approved form, for slots that mix the two.
        Bait::new("write", &torn(Opcode::WRITE, 7)),
        Bait::new("openat", &openat(libc::O_RDONLY)).or(&openat(libc::O_RDWR)),
        Bait::new("openat2-flags", &openat2(path(c"openat2"), address(how)))
            .or(&openat2(path(c"openat2"), how_writing))
            .or_memory(&how[0], libc::O_RDWR as u64),
        Bait::new("openat2-resolve", &openat2(path(c"../outside"), address(how_inside)))
            .or(&openat2(path(c"../outside"), how_anywhere))
            .or_memory(&how_inside[2], 0),
        Bait::new("socket", &socket(libc::AF_INET)).or(&socket(libc::AF_UNIX)),
        Bait::new("connect", &connect(address(loopback)))
            .or(&connect(loopback_forbidden))
            .or_memory(&loopback[0], inet(PORT_FORBIDDEN)),
    ]
}

/// The first word of a `sockaddr_in` for a port of 127.0.0.1.
fn inet(port: u16) -> u64 {
    let [high, low] = port.to_be_bytes();
    let family = libc::AF_INET as u8;
    u64::from_ne_bytes([family, 0, high, low, 127, 0, 0, 1])
}
