//! Which ring a descriptor of the program is, without keeping that ring alive.
//!
//! The guard holds no descriptor of any ring: closing the program's last one must cancel requests
//! and free memory at once, as it does natively. What it keeps is an epoll registration. Epoll takes
//! no reference to a file, drops the registration when the file is closed for the last time, and
//! `kcmp(KCMP_EPOLL_TFD)` (Linux 4.13) compares a descriptor with a registration. So a `Watch` is an
//! identity that cannot be forged, and tells when its ring is gone.

use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

const KCMP_EPOLL_TFD: libc::c_int = 7;

/// `struct kcmp_epoll_slot`.
#[repr(C)]
struct Slot {
    efd: u32,
    tfd: u32,
    toff: u32,
}

/// The lasting identity of one ring.
#[derive(Debug)]
pub(crate) struct Watch {
    epoll: OwnedFd,
    /// The number that the ring's descriptor had when it was registered: part of the key.
    tfd: u32,
}

impl Watch {
    /// Registers `ring`, a descriptor that may be closed afterwards.
    pub(crate) fn new(ring: BorrowedFd<'_>) -> Result<Self, Errno> {
        let epoll = create(CreateFlags::CLOEXEC)?;
        // No events: nothing is ever read from it.
        add(&epoll, ring, EventData::new_u64(0), EventFlags::empty())?;
        Ok(Self { epoll, tfd: ring.as_raw_fd() as u32 })
    }

    /// Whether `fd` is that ring.
    pub(crate) fn is(&self, fd: BorrowedFd<'_>) -> bool {
        matches!(self.compare(fd), Ok(0))
    }

    /// Whether the ring is still open anywhere.
    pub(crate) fn is_alive(&self) -> bool {
        // Any descriptor will do: a registration that is gone is reported before the comparison.
        !matches!(self.compare(rustix::fd::AsFd::as_fd(&self.epoll)), Err(Errno::NOENT))
    }

    fn compare(&self, fd: BorrowedFd<'_>) -> Result<i64, Errno> {
        let slot = Slot { efd: self.epoll.as_raw_fd() as u32, tfd: self.tfd, toff: 0 };
        let own = rustix::process::getpid().as_raw_nonzero().get();
        // SAFETY: `slot` is a valid `struct kcmp_epoll_slot` for the call, which only reads it.
        let ret = unsafe {
            libc::syscall(libc::SYS_kcmp, own, own, KCMP_EPOLL_TFD, fd.as_raw_fd(), &raw const slot)
        };
        if ret < 0 {
            Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
        } else {
            Ok(ret)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_uapi::{ring::Params, sys};
    use rustix::fd::AsFd;

    fn ring() -> OwnedFd {
        // SAFETY: without NO_MMAP the kernel is given no memory.
        unsafe { sys::setup(4, &mut Params::default()) }.expect("a ring")
    }

    #[test]
    fn a_watch_knows_its_ring_through_any_descriptor_and_sees_it_go() {
        let (one, other) = (ring(), ring());
        let watch = Watch::new(one.as_fd()).expect("a watch");
        let duplicate = one.try_clone().expect("a duplicate");
        drop(one);
        assert!(watch.is(duplicate.as_fd()));
        assert!(!watch.is(other.as_fd()));
        assert!(watch.is_alive());
        drop(duplicate);
        assert!(!watch.is_alive(), "the watch keeps the ring open");
    }

    #[test]
    fn a_reused_descriptor_number_is_not_the_old_ring() {
        let one = ring();
        let watch = Watch::new(one.as_fd()).expect("a watch");
        let number = one.as_raw_fd();
        let other = ring();
        rustix::io::dup2(&other, &mut { one }).expect("dup2 over the ring");
        // `dup2` dropped the only descriptor; its number now is the other ring.
        let _ = number;
        assert!(!watch.is(other.as_fd()));
        assert!(!watch.is_alive());
    }
}
