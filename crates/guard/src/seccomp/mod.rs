//! The seccomp side: which system calls stop at the guard, and how it answers.

mod builder;
pub(crate) mod rings;
#[cfg(target_arch = "x86_64")]
pub(crate) mod split;

use libc::{sock_filter, sock_fprog};
use ringwarden_uapi::arch::{AUDIT_ARCH, MARKS};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use std::mem::size_of;

/// Upper half of the opcode that marks an `io_uring_register` call which the guard itself injects. The
/// kernel reads only the lower half. It is no secret: a program that uses it enables its own ring, or
/// registers one whose index the guard then does not know.
pub(crate) const INJECTED: u64 = 0x5257_0000;

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
const SYNC_WAKE_UP: usize = 1;

/// Installs a filter on the calling thread and gives its listener's descriptor number, which is
/// close-on-exec. Makes system calls only, and allocates nothing.
///
/// # Errors
/// `EBUSY` when the thread is already under another supervisor's listener; others as from `seccomp(2)`.
pub(crate) fn install(program: &[sock_filter]) -> Result<RawFd, Errno> {
    let fprog = sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    let install = |flags: libc::c_ulong| {
        // SAFETY: `fprog` names `program`, alive for the call; the kernel copies it.
        let ret = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog)
        };
        if ret < 0 { Err(last_errno()) } else { Ok(ret as RawFd) }
    };
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // A call that was received is not interrupted any more, from Linux 5.19 on.
    match install(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::INVAL) => install(listener),
        result => result,
    }
}

/// The listener: notifications come in, answers go out.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

/// One system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notification {
    /// The cookie that answers carry.
    pub(crate) id: u64,
    /// The thread, in the guard's pid namespace; 0 when it is outside.
    pub(crate) tid: u32,
    /// The system call's architecture and number.
    pub(crate) arch: u32,
    pub(crate) number: i32,
    /// Its arguments, as in the registers.
    pub(crate) args: [u64; 6],
}

impl Notification {
    /// Whether this is a call of the 64-bit table proper.
    pub(crate) fn is_native(&self) -> bool {
        self.arch == AUDIT_ARCH && MARKS.iter().all(|mark| self.number as u32 & mark == 0)
    }
}

impl Listener {
    /// Takes the listener over and asks for synchronous wake-ups (Linux 6.6): the guard then runs on
    /// the core of the thread that it serves, at once.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let listener = Self(fd);
        // Older kernels refuse; everything works there, ten times slower.
        let flags = std::ptr::without_provenance_mut(SYNC_WAKE_UP);
        let _ = listener.ioctl(libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags);
        listener
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        rustix::fd::AsFd::as_fd(&self.0)
    }

    fn ioctl(&self, request: u64, argument: *mut libc::c_void) -> Result<i32, Errno> {
        // SAFETY: every caller passes what its request takes: a pointer to a live structure of the
        // request's size, or an integer for SET_FLAGS.
        let call = || unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument) };
        loop {
            match call() {
                // Rings that end interrupt the thread that made them (`io_ring_exit_work`).
                -1 if last_errno() == Errno::INTR => {}
                -1 => return Err(last_errno()),
                ret => return Ok(ret),
            }
        }
    }

    /// Waits for the next notification.
    ///
    /// # Errors
    /// `EINTR` and `ENOENT` (the caller died meanwhile) are worth another try; others are final.
    pub(crate) fn receive(&self) -> Result<Notification, Errno> {
        // SAFETY: plain integers; the kernel insists on zeroes.
        let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_RECV, (&raw mut raw).cast())?;
        Ok(Notification {
            id: raw.id,
            tid: raw.pid,
            arch: raw.data.arch,
            number: raw.data.nr,
            args: raw.data.args,
        })
    }

    /// Whether a notification is there to be received.
    pub(crate) fn has_more(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&Timespec::default()));
        fds[0].revents().contains(PollFlags::IN)
    }

    /// Whether no guarded task is left.
    pub(crate) fn is_abandoned(&self) -> bool {
        is_abandoned(self.as_fd())
    }

    /// Whether the notification still waits: then its thread is alive, and its number nobody else's.
    pub(crate) fn is_valid(&self, id: u64) -> bool {
        is_valid(self.as_fd(), id)
    }

    /// Makes the call return `value`.
    pub(crate) fn answer(&self, id: u64, value: i64) {
        self.respond(id, value, 0, 0);
    }

    /// Lets the call go on in the kernel as the registers have it.
    pub(crate) fn proceed(&self, id: u64) {
        self.respond(id, 0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32);
    }

    /// Makes the call fail.
    pub(crate) fn fail(&self, id: u64, error: Errno) {
        self.respond(id, 0, -error.raw_os_error(), 0);
    }

    fn respond(&self, id: u64, val: i64, error: i32, flags: u32) {
        let mut response = libc::seccomp_notif_resp { id, val, error, flags };
        // The thread may have died: ENOENT, and nothing is left to answer.
        let _ = self.ioctl(libc::SECCOMP_IOCTL_NOTIF_SEND, (&raw mut response).cast());
    }

    /// Installs a copy of `fd` in the process that waits, close-on-exec, and gives its number there.
    ///
    /// `SECCOMP_ADDFD_FLAG_SEND`, which would answer the call in the same step, is of no use here:
    /// when the guard is interrupted in it the call returns 0 and no descriptor is installed.
    pub(crate) fn add_fd(&self, id: u64, fd: BorrowedFd<'_>) -> Result<i32, Errno> {
        let mut request = libc::seccomp_notif_addfd {
            id,
            flags: 0,
            srcfd: fd.as_raw_fd() as u32,
            newfd: 0,
            newfd_flags: libc::O_CLOEXEC as u32,
        };
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_ADDFD, (&raw mut request).cast())
    }
}

/// Whether no task is left under a listener's filter.
pub(crate) fn is_abandoned(listener: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(listener, PollFlags::empty())];
    let _ = poll(&mut fds, Some(&Timespec::default()));
    fds[0].revents().contains(PollFlags::HUP)
}

/// Whether the notification `id` of a listener still waits for its answer.
pub(crate) fn is_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the request reads a `u64`, which lives for the call.
    let ret = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) };
    ret == 0
}

/// Takes a copy of descriptor `fd` of the process that `pidfd` names.
pub(crate) fn listener_of(pidfd: BorrowedFd<'_>, fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: integers only; the result is a new descriptor of ours.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    if ret < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(ret as RawFd) })
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

const _: () = assert!(size_of::<libc::seccomp_notif>() == 80);
