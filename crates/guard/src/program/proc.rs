//! Texts of `/proc` about tasks. Programs choose the names and paths in them, which are bytes: what is not
//! UTF-8 becomes U+FFFD. They cannot choose where a line ends, since those of names are escaped
//! (`proc_task_name`, `seq_file_path`).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A pidfd of a thread, not of its process (`PIDFD_THREAD`, Linux 6.9).
pub(crate) const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(rustix::fs::OFlags::EXCL.bits());

/// The file `name` of the task `tid`.
///
/// # Errors
/// `ENOENT` or `ESRCH` when the task is gone, `EACCES` or `EPERM` where it may not be looked into.
pub(crate) fn text(tid: Pid, name: &str) -> Result<String, Errno> {
    read(&path(tid, name))
}

/// The same, to be asked for more than its text.
///
/// # Errors
/// Those of opening it.
pub(crate) fn open(tid: Pid, name: &str) -> Result<File, Errno> {
    File::open(path(tid, name)).map_err(errno)
}

fn path(tid: Pid, name: &str) -> PathBuf {
    format!("/proc/{}/{name}", tid.as_raw_nonzero()).into()
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Any such file.
///
/// # Errors
/// Those of opening and reading it.
pub(crate) fn read(path: &Path) -> Result<String, Errno> {
    // Most are shorter than this. Such files have no size; of a file itself the library would ask for it.
    let mut bytes = Vec::with_capacity(8 << 10);
    File::open(path).map_err(errno)?.take(u64::MAX).read_to_end(&mut bytes).map_err(errno)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// What a line of `/proc/PID/status` says after `name`, which includes the colon.
pub(crate) fn status_of(tid: Pid, name: &str) -> Result<String, Errno> {
    let status = text(tid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim().to_owned()).ok_or(Errno::SRCH)
}

/// The process that a thread belongs to.
///
/// # Errors
/// `ESRCH` when the thread is gone.
pub(crate) fn thread_group(tid: Pid) -> Result<Pid, Errno> {
    let tgid = status_of(tid, "Tgid:").map_err(|_| Errno::SRCH)?;
    tgid.parse().ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)
}

/// The process of a pidfd, unless it has been reaped.
pub(crate) fn process_of(pidfd: impl AsFd) -> Option<Pid> {
    let info = read(Path::new(&format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd()))).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    // -1 when it is gone, 0 in another namespace (`pidfd_show_fdinfo`).
    Pid::from_raw(pid.trim().parse().ok().filter(|pid| *pid > 0)?)
}

/// Whether the thread or process of a pidfd has not ended; it may still have to be waited for when it has.
pub(crate) fn is_alive(pidfd: impl AsFd) -> bool {
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&Timespec::default())) == Ok(0)
}

/// The thread that traces that one.
pub(crate) fn tracer_of(tid: Pid) -> Option<Pid> {
    Pid::from_raw(status_of(tid, "TracerPid:").ok()?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_need_not_be_text() {
        // Threads have names of their own.
        std::thread::spawn(|| {
            let tid = rustix::thread::gettid();
            rustix::thread::set_name(c"a\xff\nTgid:\t1").expect("a name");
            assert!(text(tid, "comm").expect("a name").starts_with("a\u{fffd}"));
            let own = rustix::process::getpid().as_raw_nonzero().to_string();
            assert_eq!(status_of(tid, "Tgid:").as_deref(), Ok(&*own));
        })
        .join()
        .expect("a thread");
    }
}
