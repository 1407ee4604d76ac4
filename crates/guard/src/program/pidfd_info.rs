//! What the kernel says of the thread behind a pidfd (`PIDFD_GET_INFO`, Linux 6.13): less than `/proc/TID/status`, at a
//! tenth of the price.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::Pid;

/// `PIDFD_GET_INFO`, of a `struct pidfd_info` as first released (`include/uapi/linux/pidfd.h`).
const PIDFD_GET_INFO: u64 = 0xc040_ff0b;
/// `PIDFD_INFO_PID` and `PIDFD_INFO_CREDS`.
const NUMBERS_AND_IDS: u64 = 1 | 2;

/// `struct pidfd_info`, 64 bytes.
#[derive(Default)]
#[repr(C)]
struct Raw {
    mask: u64,
    cgroupid: u64,
    pid: i32,
    tgid: i32,
    ppid: i32,
    /// Real, effective, saved and of the file system; the user's and the group's each.
    ids: [[u32; 2]; 4],
    exit_code: i32,
}

const _: () = assert!(size_of::<Raw>() == 64);

/// A thread that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PidfdInfo {
    pub(crate) tid: Pid,
    pub(crate) process: Pid,
    /// Real, effective and saved user and group.
    pub(crate) ids: [[u32; 2]; 3],
}

impl PidfdInfo {
    /// # Errors
    /// `ESRCH` when the thread is gone; `ENOTTY` and such on kernels that do not say.
    pub(crate) fn of(thread: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut raw = Raw { mask: NUMBERS_AND_IDS, ..Raw::default() };
        // SAFETY: the request names the structure's size.
        if unsafe { libc::ioctl(thread.as_raw_fd(), PIDFD_GET_INFO, &raw mut raw) } == -1 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        if raw.mask & NUMBERS_AND_IDS != NUMBERS_AND_IDS {
            return Err(Errno::OPNOTSUPP);
        }
        let number = |number| Pid::from_raw(number).ok_or(Errno::SRCH);
        let [real, effective, saved, _] = raw.ids;
        Ok(Self { tid: number(raw.pid)?, process: number(raw.tgid)?, ids: [real, effective, saved] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::proc::PIDFD_THREAD;
    use rustix::fd::AsFd;
    use rustix::process::{getegid, geteuid, getgid, getpid, getuid, pidfd_open};

    #[test]
    fn a_thread_is_told_of_until_it_is_gone() {
        let (own, pidfd) = std::thread::spawn(|| {
            let tid = rustix::thread::gettid();
            let pidfd = pidfd_open(tid, PIDFD_THREAD).expect("a pidfd of a thread");
            let info = PidfdInfo::of(pidfd.as_fd());
            let real = [getuid().as_raw(), getgid().as_raw()];
            let effective = [geteuid().as_raw(), getegid().as_raw()];
            match info {
                Ok(info) => {
                    assert_eq!((info.tid, info.process), (tid, getpid()));
                    assert_eq!(info.ids[..2], [real, effective]);
                }
                // Before Linux 6.13.
                Err(error) => assert_eq!(error, Errno::NOTTY),
            }
            (info, pidfd)
        })
        .join()
        .expect("a thread");
        // Whoever joins a thread can be a little ahead of its end.
        while own.is_ok() && PidfdInfo::of(pidfd.as_fd()) != Err(Errno::SRCH) {
            std::thread::yield_now();
        }
    }
}
