//! Random requests that end at once whatever becomes of them.
//!
//! Only what the engine claims to know of an operation's preparation (`prep` in `ringwarden-filter`) is
//! varied; beyond that kernels check flags that the engine leaves to them. Descriptors are -1, paths are
//! those of a device or of nothing, sockets are made and closed.

use crate::case::{Object, Request};
use crate::memory::UNMAPPED;
use fastrand::Rng;
use ringwarden_uapi::open::{O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EMPTYPATH, O_PATH, O_TMPFILE_BIT, O_TRUNC};
use ringwarden_uapi::ring::{Pointer, Sqe, SqeFlags};
use ringwarden_uapi::{KernelModel, OpTraits, Opcode, PayloadKind};

/// A field that an operation may want to be zero.
#[derive(Clone, Copy, Debug)]
enum Field {
    Off,
    Addr,
    Len,
    OpFlags,
    BufIndex,
    FileIndex,
}
use Field::{Addr, BufIndex, FileIndex, Len, Off, OpFlags};

/// Other operations, with fields in which a 1 does no harm.
const OTHERS: &[(Opcode, &[Field])] = &[
    (Opcode::FSYNC, &[Off, Addr, Len, BufIndex, FileIndex]),
    (Opcode::SYNC_FILE_RANGE, &[Off, Addr, Len, BufIndex, FileIndex]),
    (Opcode::POLL_ADD, &[Off, Addr, BufIndex]),
    (Opcode::ACCEPT, &[Len, BufIndex]),
    (Opcode::FALLOCATE, &[Off, Addr, Len, OpFlags, BufIndex, FileIndex]),
    (Opcode::CLOSE, &[Off, Addr, Len, OpFlags, BufIndex]),
    (Opcode::READ, &[Off]),
    (Opcode::WRITE, &[Off]),
    (Opcode::FADVISE, &[Off, Addr, Len, OpFlags, BufIndex, FileIndex]),
    (Opcode::MADVISE, &[Off, BufIndex, FileIndex]),
    (Opcode::TEE, &[Off, Addr]),
    (Opcode::SHUTDOWN, &[Off, Addr, Len, OpFlags, BufIndex, FileIndex]),
    (Opcode::FTRUNCATE, &[Off, Addr, Len, OpFlags, BufIndex, FileIndex]),
    (Opcode::LISTEN, &[Off, Addr, Len, OpFlags, BufIndex, FileIndex]),
    (Opcode::BIND, &[Len, OpFlags, BufIndex, FileIndex]),
    (Opcode::FIXED_FD_INSTALL, &[Off, Addr, Len, BufIndex, FileIndex]),
    (Opcode::ASYNC_CANCEL, &[Off, FileIndex]),
    (Opcode::TIMEOUT_REMOVE, &[Len, BufIndex, FileIndex]),
    (Opcode::REMOVE_BUFFERS, &[Off, Addr, Len, OpFlags, FileIndex]),
    (Opcode::EPOLL_WAIT, &[Off, OpFlags, BufIndex, FileIndex]),
    (Opcode::FILES_UPDATE, &[Len, OpFlags, FileIndex]),
    (Opcode::NOP128, &[]),
];

/// Other operations that begin with the path at `addr`.
const PATHS: &[(Opcode, &[Field])] = &[
    (Opcode::STATX, &[BufIndex, FileIndex]),
    (Opcode::UNLINKAT, &[Off, Len, BufIndex, FileIndex]),
    (Opcode::MKDIRAT, &[Off, OpFlags, BufIndex, FileIndex]),
];

/// A request that no other has the `number` of: it is in the low byte of its `user_data`.
pub(crate) fn request(rng: &mut Rng, number: u8) -> Request {
    let mut request = match rng.u8(..100) {
        0..80 => main(rng),
        80..90 => other(rng),
        90..98 => path_taker(rng),
        _ => any(rng),
    };
    let sqe = &mut request.sqe;
    sqe.user_data = (super::value(rng) << 32) | (super::value(rng) << 8 & 0xffff_ff00) | u64::from(number);
    spoil(rng, sqe);
    request
}

/// One that filters of the newest kernel see a payload of, or NOP.
fn main(rng: &mut Rng) -> Request {
    let shown = KernelModel::default().facts().payloads;
    let opcode = shown.get(rng.usize(..=shown.len())).map_or(Opcode::NOP, |(opcode, _)| *opcode);
    match opcode.payload() {
        Some(PayloadKind::Socket) => socket(rng, opcode),
        Some(PayloadKind::Openat) => openat(rng, opcode),
        Some(PayloadKind::OpenHow) => openat2(rng, opcode),
        Some(PayloadKind::Sockaddr) => address(rng, opcode),
        None => {
            let mut request = plain(opcode);
            if rng.bool() {
                let sqe = &mut request.sqe;
                // Nothing of it means anything as long as there are no flags.
                (sqe.fd, sqe.off, sqe.addr, sqe.len) = (rng.i32(..), rng.u64(..), rng.u64(..), rng.u32(..));
            }
            request
        }
    }
}

/// Some operation, or none. Those that also tell when they are through with a buffer are left out.
fn any(rng: &mut Rng) -> Request {
    let opcode = Opcode(rng.u8(..));
    plain(if matches!(opcode, Opcode::SEND_ZC | Opcode::SENDMSG_ZC) { Opcode::NOP } else { opcode })
}

fn plain(opcode: Opcode) -> Request {
    Request { sqe: Sqe { opcode: opcode.0, fd: -1, ..Sqe::default() }, objects: Vec::new() }
}

fn socket(rng: &mut Rng, opcode: Opcode) -> Request {
    const FAMILIES: [i32; 6] = [1, 2, 10, 16, 46, -1];
    const KINDS: [u64; 6] = [1, 2, 3, 5, 0, 10];
    const PROTOCOLS: [u32; 6] = [0, 6, 17, 1, 58, u32::MAX];
    // Datagrams of these are only for a group of users: the socket itself may be EACCES.
    const PINGS: [u32; 2] = [1, 58];
    let mut request = plain(opcode);
    let sqe = &mut request.sqe;
    sqe.fd = FAMILIES[rng.usize(..FAMILIES.len())];
    sqe.off = KINDS[rng.usize(..KINDS.len())];
    sqe.len = PROTOCOLS[rng.usize(..PROTOCOLS.len())];
    match rng.u8(..8) {
        0 => sqe.off |= 0o4000,
        1 => sqe.off |= O_CLOEXEC,
        2 => sqe.off |= 1 << rng.u8(..64),
        3 => sqe.fd = super::value(rng) as i32,
        4 => sqe.len = super::value(rng) as u32,
        _ => {}
    }
    if sqe.off & 0xf == 2 && PINGS.contains(&sqe.len) {
        sqe.len = 0;
    }
    maybe_slot(rng, sqe);
    spoil_one(rng, sqe, &[Addr, OpFlags, BufIndex]);
    request
}

fn openat(rng: &mut Rng, opcode: Opcode) -> Request {
    let mut request = plain(opcode);
    request.sqe.fd = -100;
    request.sqe.op_flags = open_flags(rng) as u32;
    request.sqe.len = super::value(rng) as u32;
    maybe_slot(rng, &mut request.sqe);
    spoil_one(rng, &mut request.sqe, &[BufIndex]);
    point_to_path(rng, &mut request);
    request
}

fn openat2(rng: &mut Rng, opcode: Opcode) -> Request {
    let mut request = plain(opcode);
    request.sqe.fd = -100;
    let mode = if rng.bool() { 0 } else { super::value(rng) };
    let resolve = if rng.bool() { rng.u64(..0x40) } else { super::value(rng) };
    let mut how = [open_flags(rng), mode, resolve].map(u64::to_ne_bytes).as_flattened().to_vec();
    match rng.u8(..16) {
        0 => how.truncate(rng.usize(..24)),
        1 => how.resize(rng.usize(24..80), 0),
        2 => how.resize(rng.usize(24..80), 1),
        3 => how.resize(rng.usize(4090..4100), 0),
        _ => {}
    }
    request.sqe.len = how.len() as u32;
    if rng.u8(..16) == 0 {
        request.sqe.len = (how.len() + rng.usize(..40)) as u32;
    }
    maybe_slot(rng, &mut request.sqe);
    spoil_one(rng, &mut request.sqe, &[BufIndex]);
    point(rng, &mut request, Pointer::Off, how);
    point_to_path(rng, &mut request);
    request
}

fn address(rng: &mut Rng, opcode: Opcode) -> Request {
    const FAMILIES: [u16; 5] = [2, 10, 1, 0, 7];
    const LENGTHS: [usize; 14] = [16, 28, 24, 110, 0, 1, 2, 3, 15, 17, 23, 25, 128, 129];
    let mut request = plain(opcode);
    let len = if rng.bool() { 28 } else { LENGTHS[rng.usize(..LENGTHS.len())] };
    let mut address = vec![0; len.max(2)];
    address.iter_mut().for_each(|byte| *byte = super::value(rng) as u8);
    let family = if rng.u8(..8) == 0 { rng.u16(..) } else { FAMILIES[rng.usize(..FAMILIES.len())] };
    address[..2].copy_from_slice(&family.to_ne_bytes());
    address.truncate(len);
    request.sqe.off = len as u64;
    match rng.u8(..16) {
        // It is an int.
        0 => request.sqe.off |= rng.u64(..) << 32,
        1 => request.sqe.off = super::value(rng),
        2 => request.sqe.off += rng.u64(..4),
        _ => {}
    }
    spoil_one(rng, &mut request.sqe, &[Len, BufIndex, OpFlags, FileIndex]);
    point(rng, &mut request, Pointer::Addr, address);
    request
}

fn other(rng: &mut Rng) -> Request {
    let (opcode, fields) = OTHERS[rng.usize(..OTHERS.len())];
    let mut request = plain(opcode);
    spoil_one(rng, &mut request.sqe, fields);
    request
}

fn path_taker(rng: &mut Rng) -> Request {
    let (opcode, fields) = PATHS[rng.usize(..PATHS.len())];
    let mut request = plain(opcode);
    spoil_one(rng, &mut request.sqe, fields);
    // Removing a device would have an effect.
    let path = if rng.u8(..8) == 0 { b"\0".to_vec() } else { b"/none/there\0".to_vec() };
    point(rng, &mut request, Pointer::Addr, path);
    request
}

fn open_flags(rng: &mut Rng) -> u64 {
    const FLAGS: [u64; 9] =
        [1, 2, O_CREAT, O_TRUNC, O_CLOEXEC, O_PATH, O_TMPFILE_BIT, O_DIRECTORY, O_EMPTYPATH];
    let mut flags = 0;
    for _ in 0..rng.u8(..4) {
        flags |= FLAGS[rng.usize(..FLAGS.len())];
    }
    if rng.u8(..6) == 0 { flags | super::value(rng) } else { flags }
}

/// A slot in the table of registered files, of which there is none.
fn maybe_slot(rng: &mut Rng, sqe: &mut Sqe) {
    if rng.u8(..12) == 0 {
        sqe.file_index = if rng.bool() { 1 } else { u32::MAX };
    }
}

fn point_to_path(rng: &mut Rng, request: &mut Request) {
    let path = match rng.u8(..20) {
        0..14 => b"/dev/null\0".to_vec(),
        14..16 => b"/none/there\0".to_vec(),
        16 => b"/tmp\0".to_vec(),
        17 => b"\0".to_vec(),
        18 => b"/no/end".to_vec(),
        _ => vec![b'x'; rng.usize(4090..4200)],
    };
    point(rng, request, Pointer::Addr, path);
}

/// Leads a pointer to bytes: mostly.
fn point(rng: &mut Rng, request: &mut Request, pointer: Pointer, bytes: Vec<u8>) {
    if rng.u8(..32) == 0 {
        let address = if rng.bool() { 0 } else { UNMAPPED };
        pointer.set(&mut request.sqe, address);
        return;
    }
    let has_length = request.opcode().argument().is_some_and(|place| place.pointer == pointer);
    let open_ended = !has_length && !bytes.ends_with(&[0]);
    let at_the_end = rng.bool() || open_ended;
    request.objects.push(Object { pointer, bytes, at_the_end });
}

/// Puts a 1 into one of the fields, now and then.
fn spoil_one(rng: &mut Rng, sqe: &mut Sqe, fields: &[Field]) {
    if fields.is_empty() || rng.u8(..8) != 0 {
        return;
    }
    match fields[rng.usize(..fields.len())] {
        Off => sqe.off = 1,
        Addr => sqe.addr = 1,
        Len => sqe.len = 1,
        OpFlags => sqe.op_flags = 1,
        BufIndex => sqe.buf_index = 1,
        FileIndex => sqe.file_index = 1,
    }
}

/// What no operation, or only some, can have.
fn spoil(rng: &mut Rng, sqe: &mut Sqe) {
    match rng.u8(..64) {
        0..4 => sqe.flags |= SqeFlags::ASYNC.bits(),
        4 => sqe.flags |= SqeFlags::FIXED_FILE.bits(),
        5 => sqe.flags |= SqeFlags::BUFFER_SELECT.bits(),
        6 => sqe.flags |= 1 << 7,
        7 => sqe.personality = 1,
        8 if !Opcode(sqe.opcode).traits().contains(OpTraits::IOPRIO) => sqe.ioprio = 1,
        _ => {}
    }
}
