//! Makes rings and register calls, and prints what comes of each: sizes of the ring, or an errno.

use io_uring::{IoUring, Probe};
use ringwarden_testring::{Ring, SetupFlags};
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::ring::Params;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

fn main() -> io::Result<()> {
    for (name, entries, flags, cq_entries) in [
        ("plain", 64, SetupFlags::empty(), 0),
        ("odd", 33, SetupFlags::empty(), 0),
        ("large", 65, SetupFlags::empty(), 0),
        ("clamped", 4096, SetupFlags::CLAMP, 0),
        ("long CQ", 64, SetupFlags::CQSIZE, 129),
        ("clamped CQ", 64, SetupFlags::CQSIZE | SetupFlags::CLAMP, 4096),
        ("SQPOLL", 8, SetupFlags::SQPOLL, 0),
        ("R_DISABLED", 8, SetupFlags::R_DISABLED, 0),
    ] {
        let params = Params { flags: flags.bits(), cq_entries, ..Params::default() };
        let made = Ring::with_params(entries, params);
        said(name, made.map(|ring| format!("{}/{}", ring.params().sq_entries, ring.params().cq_entries)));
    }
    let done = |result: io::Result<()>| result.map(|()| "done".to_owned());
    let ring = IoUring::new(8)?;
    let mut submitter = ring.submitter();
    said("probe", done(submitter.register_probe(&mut Probe::new())));
    said("files", done(submitter.register_files(&[-1])));
    said("unregister_files", done(submitter.unregister_files()));
    said("iowq_max_workers", done(submitter.register_iowq_max_workers(&mut [0, 0])));
    // From here on calls go by index.
    said("ring_fds", done(submitter.register_ring_fd()));
    said("probe by index", done(submitter.register_probe(&mut Probe::new())));
    said("files by index", done(submitter.register_files(&[-1])));
    said("marked ring_fds", marked(RegisterOp::REGISTER_RING_FDS, ring.as_raw_fd()));
    Ok(())
}

/// A register call with something in the half of the opcode that kernels do not look at, as a guard may
/// mark its own calls.
fn marked(op: RegisterOp, ring: RawFd) -> io::Result<String> {
    let op = 0x5257_0000 << 32 | u64::from(op.0);
    // `struct io_uring_rsrc_update`: at any index, this ring.
    let mut update = [u64::from(u32::MAX), ring as u64];
    // SAFETY: one update, which the call reads and writes.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_register, ring, op, update.as_mut_ptr(), 1) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(format!("{result}")) }
}

fn said(what: &str, result: io::Result<String>) {
    match result {
        Ok(text) => println!("{what}: {text}"),
        Err(error) => println!("{what}: errno {}", error.raw_os_error().unwrap_or_default()),
    }
}
