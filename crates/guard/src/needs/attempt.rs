//! Ways to try a system call that change nothing.

use crate::mapping::page_size;
use ringwarden_launch::tree;
use ringwarden_uapi::ring::{Params, SetupFlags, Sqe};
use ringwarden_uapi::sys;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::fs::File;
use std::io;
use std::ptr::null_mut;

/// How something is tried.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attempt {
    /// By a call that the kernel has to answer so, which no seccomp filter would.
    Call { number: i64, args: [u64; 6], answer: Answer },
    /// By becoming the supervisor of a child that is about to end.
    Listener,
    /// By making a ring of several pages there.
    RingInOwnMemory,
    /// By opening a file.
    Readable(&'static str),
    /// By asking it who the caller is.
    OwnProc,
}

/// What the kernel answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Succeeds,
    /// The arguments are wrong in this way.
    Fails(i32),
    FailsEither(i32, i32),
}

impl Attempt {
    /// Tries it. Only to be done in a throw-away child.
    ///
    /// # Errors
    /// An answer that is not the kernel's, or EPROTO for a success that cannot be.
    pub(super) fn make(self) -> io::Result<()> {
        match self {
            Self::Call { number, args, answer } => {
                let [a, b, c, d, e, f] = args;
                // SAFETY: `NEEDS` holds no call that reads or writes memory with these arguments: all
                // pointers are null.
                let ret = unsafe { libc::syscall(number, a, b, c, d, e, f) };
                let error = if ret < 0 { Some(io::Error::last_os_error()) } else { None };
                let errno = error.as_ref().and_then(io::Error::raw_os_error);
                match (answer, errno) {
                    (Answer::Succeeds, None) => Ok(()),
                    (Answer::Fails(expected), Some(errno)) if errno == expected => Ok(()),
                    (Answer::FailsEither(one, other), Some(errno)) if errno == one || errno == other => {
                        Ok(())
                    }
                    _ => Err(error.unwrap_or_else(|| Errno::PROTO.into())),
                }
            }
            Self::Listener => listen(),
            Self::RingInOwnMemory => ring_in_own_memory(),
            Self::Readable(path) => File::open(path).map(drop),
            Self::OwnProc => tree::proc_is_ours().map_err(io::Error::from),
        }
    }
}

/// Becomes the supervisor of the calling thread, and lets everything pass.
fn listen() -> io::Result<()> {
    let allow = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let program = libc::sock_fprog { len: 1, filter: (&raw const allow).cast_mut() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: `program` names one instruction, alive for the call; the kernel copies it.
    let ret =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Before Linux 6.10 such memory had to be one piece for the processor, too.
fn ring_in_own_memory() -> io::Result<()> {
    // Two pages of SQEs; header and CQEs fit into as many.
    let len = 2 * page_size();
    let entries = (len / size_of::<Sqe>()) as u32;
    let pages = || {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice, for as long as this child lives.
        unsafe { mmap_anonymous(null_mut(), len, access, MapFlags::PRIVATE) }.map(|base| base.addr() as u64)
    };
    let flags = SetupFlags::NO_MMAP | SetupFlags::NO_SQARRAY | SetupFlags::R_DISABLED | SetupFlags::CQSIZE;
    let mut params = Params { flags: flags.bits(), cq_entries: entries, ..Params::default() };
    params.cq_off.user_addr = pages()?;
    params.sq_off.user_addr = pages()?;
    // SAFETY: both mappings are as long as so many entries need, and stay.
    match unsafe { sys::setup(entries, &mut params) } {
        // What rings are charged to comes back a moment after they are closed: that it is used up now says
        // nothing about the call.
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => Ok(()),
        made => made.map(drop),
    }
}
