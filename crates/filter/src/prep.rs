//! The operation's own preparation, which comes before its filters: a malformed request gets its
//! error even where a filter would deny it (conformance/preparation.toml).
//!
//! Modelled is what the SQE and the memory it points at decide. What else a kernel looks at here
//! (registered personalities, buffers and interfaces) is taken to be absent, and the rarer checks of
//! flags inside an operation are left out: a request may pass here that a kernel refuses, where a
//! filter then has its say.

use crate::{Context, Errno, KernelModel, Payload, UserMemory};
use ringwarden_uapi::open::O_CLOEXEC;
use ringwarden_uapi::payload::Sizes;
use ringwarden_uapi::ring::{Pointer, SetupFlags, Sqe, SqeFlags};
use ringwarden_uapi::{OpTraits, Opcode, PayloadKind};

mod copied;
mod rules;

pub use copied::Copied;

use rules::Rule;

/// `PATH_MAX`, the longest path with its final NUL.
const PATH_MAX: usize = 4096;
/// The smallest page any kernel has: memory is readable or not in such units.
const PAGE: u64 = 4096;
/// `MAX_BIDS_PER_BGID`: the most buffers in a group.
const MAX_BUFFERS: i32 = 65535;
/// `FUTEX_WAITV_MAX`.
const FUTEX_WAITV_MAX: u32 = 128;
/// `SOCK_TYPE_MASK`, `SOCK_NONBLOCK` and `SOCK_CLOEXEC`: what a socket type is made of.
const SOCK_TYPE_BITS: u32 = 0xf | 0o4000 | 0o2000000;

/// What preparation copies from the program's memory.
#[derive(Clone, Copy, Debug)]
enum Read {
    /// A path or name, up to its NUL.
    Path(Pointer),
    /// A struct of that many bytes.
    Struct(Pointer, usize),
    /// Something that begins there, which is not kept.
    Start(Pointer),
}

/// A request that is through its preparation.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What filters then see of it.
    pub(crate) context: Context,
    /// What was read on the way.
    pub(crate) copied: Copied,
}

/// Prepares a request and gives what filters then see of it.
///
/// # Errors
/// The errno that the request's CQE carries, whatever filters say.
pub fn prepare(
    model: KernelModel,
    sqe: &Sqe,
    setup: SetupFlags,
    memory: &impl UserMemory,
) -> Result<Context, Errno> {
    prepare_copies(model, sqe, setup, memory).map(|prepared| prepared.context)
}

/// The same, with what was read. Nothing is read twice.
pub(crate) fn prepare_copies(
    model: KernelModel,
    sqe: &Sqe,
    setup: SetupFlags,
    memory: &impl UserMemory,
) -> Result<Prepared, Errno> {
    check_common(sqe, setup)?;
    let opcode = Opcode(sqe.opcode);
    let rule = rules::of(sqe);
    let mut bytes = if rule.copies_first { argument(memory, sqe)? } else { Vec::new() };
    check_fields(&rule, sqe)?;
    if !rule.copies_first {
        bytes = argument(memory, sqe)?;
    }
    let mut copied = Copied::default();
    for read in rule.reads {
        match *read {
            Read::Path(at) => copied.put(at, path(memory, at.get(sqe))?),
            Read::Struct(at, len) => copied.put(at, copy(memory, at.get(sqe), len)?),
            Read::Start(at) => drop(copy(memory, at.get(sqe), 1)?),
        }
    }
    check_slot(sqe, open_flags(sqe, &bytes))?;
    let context = Context::new(model, sqe, Payload::of(opcode, &bytes))?;
    if let Some(place) = opcode.argument() {
        copied.put(place.pointer, bytes);
    }
    Ok(Prepared { context, copied })
}

/// Whether a request whose argument in memory is a good one fails with EINVAL for what its SQE says,
/// whatever is registered: it does not get as far as filters.
pub fn is_malformed(sqe: &Sqe, setup: SetupFlags) -> bool {
    // What a personality or a RECV_ZC names may be registered.
    let sqe = Sqe { personality: 0, ..*sqe };
    let checked = check_common(&sqe, setup).and_then(|()| check_fields(&rules::of(&sqe), &sqe));
    sqe.opcode != Opcode::RECV_ZC.0 && checked == Err(Errno::EINVAL)
}

/// What all operations have in common.
fn check_common(sqe: &Sqe, setup: SetupFlags) -> Result<(), Errno> {
    let traits = Opcode(sqe.opcode).traits();
    let polled = setup.contains(SetupFlags::IOPOLL) && !traits.contains(OpTraits::IOPOLL);
    let prioritised = sqe.ioprio != 0 && !traits.contains(OpTraits::IOPRIO);
    if polled || prioritised || sqe.personality != 0 { Err(Errno::EINVAL) } else { Ok(()) }
}

/// What an operation asks of the fields of its SQE.
fn check_fields(rule: &Rule, sqe: &Sqe) -> Result<(), Errno> {
    if rule.zero.iter().any(|field| field.value(sqe) != 0) {
        return Err(Errno::EINVAL);
    }
    if rule.no_fixed_file && has(sqe, SqeFlags::FIXED_FILE) {
        return Err(Errno::EBADF);
    }
    let opcode = Opcode(sqe.opcode);
    check_values(opcode, sqe)?;
    if opcode.argument().is_some_and(|place| !place.takes(place.len(sqe))) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

fn has(sqe: &Sqe, flag: SqeFlags) -> bool {
    SqeFlags::from_bits_retain(sqe.flags).contains(flag)
}

/// What single operations ask of their fields beyond being zero.
fn check_values(opcode: Opcode, sqe: &Sqe) -> Result<(), Errno> {
    let (valid, errno) = match opcode {
        Opcode::TIMEOUT | Opcode::LINK_TIMEOUT => (sqe.len == 1, Errno::EINVAL),
        Opcode::TIMEOUT_REMOVE => (!has(sqe, SqeFlags::FIXED_FILE), Errno::EINVAL),
        Opcode::FILES_UPDATE => (sqe.len != 0 && !has(sqe, SqeFlags::FIXED_FILE), Errno::EINVAL),
        Opcode::PROVIDE_BUFFERS => ((1..=MAX_BUFFERS).contains(&sqe.fd), Errno::E2BIG),
        Opcode::REMOVE_BUFFERS => ((1..=MAX_BUFFERS).contains(&sqe.fd), Errno::EINVAL),
        Opcode::READ_MULTISHOT => (has(sqe, SqeFlags::BUFFER_SELECT), Errno::EINVAL),
        Opcode::FUTEX_WAIT | Opcode::FUTEX_WAKE => (is_futex2(sqe.fd), Errno::EINVAL),
        Opcode::FUTEX_WAITV => ((1..=FUTEX_WAITV_MAX).contains(&sqe.len), Errno::EINVAL),
        Opcode::FIXED_FD_INSTALL => (has(sqe, SqeFlags::FIXED_FILE), Errno::EBADF),
        Opcode::SOCKET => {
            let kind = sqe.off as u32;
            let closes = u64::from(kind) & O_CLOEXEC != 0;
            (kind & !SOCK_TYPE_BITS == 0 && !(closes && sqe.file_index != 0), Errno::EINVAL)
        }
        // It names an interface that must have been registered.
        Opcode::RECV_ZC => (false, Errno::EINVAL),
        _ => (true, Errno::EINVAL),
    };
    if valid { Ok(()) } else { Err(errno) }
}

/// `FUTEX2_*` flags: a 32-bit futex, private, on a NUMA node or with a memory policy.
fn is_futex2(flags: i32) -> bool {
    flags & !0x8f == 0 && flags & 3 == 2
}

/// The flags of a file that is to be opened; none of other requests.
fn open_flags(sqe: &Sqe, argument: &[u8]) -> u64 {
    match Opcode(sqe.opcode).payload() {
        Some(PayloadKind::Openat) => sqe.op_flags.into(),
        Some(PayloadKind::OpenHow) => argument.first_chunk().map_or(0, |flags| u64::from_ne_bytes(*flags)),
        Some(PayloadKind::Socket | PayloadKind::Sockaddr) | None => 0,
    }
}

/// A descriptor that goes into the table of registered files has no close-on-exec flag.
fn check_slot(sqe: &Sqe, open_flags: u64) -> Result<(), Errno> {
    if sqe.file_index != 0 && open_flags & O_CLOEXEC != 0 { Err(Errno::EINVAL) } else { Ok(()) }
}

fn copy(memory: &impl UserMemory, address: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    if len > 0 {
        memory.read(address, &mut bytes)?;
    }
    Ok(bytes)
}

/// What filters see of the program's memory, as far as the kernel knows it; nothing of operations without.
fn argument(memory: &impl UserMemory, sqe: &Sqe) -> Result<Vec<u8>, Errno> {
    let Some(place) = Opcode(sqe.opcode).argument() else { return Ok(Vec::new()) };
    let (address, len) = (place.pointer.get(sqe), place.len(sqe));
    match place.sizes {
        _ if !place.takes(len) => Err(Errno::EINVAL),
        Sizes::UpTo(_) => copy(memory, address, len),
        Sizes::From(known) => {
            zeros(memory, address.wrapping_add(known as u64), len - known)?;
            copy(memory, address, known)
        }
    }
}

/// Makes sure that there is nothing else (`copy_struct_from_user`, `include/linux/uaccess.h`).
fn zeros(memory: &impl UserMemory, mut address: u64, mut len: usize) -> Result<(), Errno> {
    while len > 0 {
        let step = ((PAGE - address % PAGE) as usize).min(len);
        if copy(memory, address, step)?.iter().any(|&byte| byte != 0) {
            return Err(Errno::E2BIG);
        }
        address = address.wrapping_add(step as u64);
        len -= step;
    }
    Ok(())
}

/// Reads a path as far as its NUL, not into a page that it does not reach. Gives it with the NUL.
fn path(memory: &impl UserMemory, mut address: u64) -> Result<Vec<u8>, Errno> {
    let mut path = Vec::new();
    while path.len() < PATH_MAX {
        let step = (PAGE - address % PAGE).min((PATH_MAX - path.len()) as u64) as usize;
        let mut bytes = [0; PAGE as usize];
        memory.read(address, &mut bytes[..step])?;
        let end = bytes[..step].iter().position(|&byte| byte == 0);
        path.extend_from_slice(&bytes[..end.map_or(step, |end| end + 1)]);
        match end {
            Some(0) if path.len() == 1 => return Err(Errno::ENOENT),
            Some(_) => return Ok(path),
            None => {}
        }
        address = address.wrapping_add(step as u64);
    }
    Err(Errno::ENAMETOOLONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zeros up to some address, and one byte that is none.
    struct Zeros {
        end: u64,
        one: Option<u64>,
    }

    impl UserMemory for Zeros {
        fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
            let range = address..address + bytes.len() as u64;
            if range.end > self.end {
                return Err(Errno::EFAULT);
            }
            bytes.fill(0);
            let one = self.one.filter(|one| range.contains(one));
            one.into_iter().for_each(|one| bytes[(one - address) as usize] = 1);
            Ok(())
        }

        fn write(&mut self, _: u64, _: &[u8]) -> Result<(), Errno> {
            Err(Errno::EFAULT)
        }
    }

    /// The system call takes a page of it at most, the request as much as there is.
    #[test]
    fn an_open_how_can_be_longer_than_a_page() {
        let how = |len, one, end| {
            let sqe = Sqe { opcode: Opcode::OPENAT2.0, off: 16, len, ..Sqe::default() };
            argument(&Zeros { end, one }, &sqe).map(|how| <[u8; 24]>::try_from(how).expect("24 bytes"))
        };
        const END: u64 = 0x10000;
        assert_eq!(how(3 * 4096, None, END), Ok([0; 24]));
        assert_eq!(how(3 * 4096, Some(2 * 4096), END), Err(Errno::E2BIG));
        assert_eq!(how(3 * 4096, Some(16 + 3 * 4096), END), Ok([0; 24]));
        // What comes first decides: the page that is not there, or the byte that is not 0.
        assert_eq!(how(3 * 4096, None, 2 * 4096), Err(Errno::EFAULT));
        assert_eq!(how(3 * 4096, Some(2 * 4096 - 1), 2 * 4096), Err(Errno::E2BIG));
    }
}
