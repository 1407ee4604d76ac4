//! Which ring a descriptor of the program is, without keeping that ring alive.
//!
//! The guard holds no descriptor of any ring: closing the program's last one must cancel requests
//! and free memory at once, as it does natively. What it keeps is an epoll registration. Epoll takes
//! no reference to a file, drops the registration when the file is closed for the last time, and
//! `kcmp(KCMP_EPOLL_TFD)` (Linux 4.13) compares a descriptor with a registration. So a `Watch` is an
//! identity that cannot be forged, and tells when its ring is gone.
//!
//! All rings are registered with one epoll file, each by a number of its own, since the number is what a
//! registration is found by.

use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

const KCMP_EPOLL_TFD: libc::c_int = 7;
/// Registrations begin here: above the descriptors that the guard opens and closes all the time.
const FIRST: i32 = 64;

/// `struct kcmp_epoll_slot`.
#[repr(C)]
struct Slot {
    efd: u32,
    tfd: u32,
    toff: u32,
}

/// Where rings are registered; clones share.
#[derive(Clone, Debug)]
pub(crate) struct Watches(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    epoll: OwnedFd,
    numbers: Mutex<Numbers>,
}

#[derive(Debug)]
struct Numbers {
    /// Those of registrations that there are, or may be.
    taken: HashSet<i32>,
    /// Where to look for another.
    next: i32,
}

impl Watches {
    pub(crate) fn new() -> Result<Self, Errno> {
        let numbers = Mutex::new(Numbers { taken: HashSet::new(), next: FIRST });
        Ok(Self(Arc::new(Registry { epoll: create(CreateFlags::CLOEXEC)?, numbers })))
    }

    /// Registers `ring`, a descriptor that may be closed afterwards.
    ///
    /// # Errors
    /// No number is left.
    pub(crate) fn watch(&self, ring: BorrowedFd<'_>) -> Result<Watch, Errno> {
        let mut numbers = self.0.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wrapped = false;
        // The number is needed for a moment only, in which nobody else has it.
        let copy = loop {
            match fcntl_dupfd_cloexec(ring, numbers.next) {
                Ok(copy) => {
                    let number = copy.as_raw_fd();
                    numbers.next = number + 1;
                    if !numbers.taken.contains(&number) || !self.0.is_registered(number) {
                        break copy;
                    }
                }
                // Beyond the limit of open files.
                Err(Errno::INVAL | Errno::MFILE) if !wrapped => {
                    numbers.next = FIRST;
                    wrapped = true;
                }
                Err(Errno::INVAL) => return Err(Errno::MFILE),
                Err(error) => return Err(error),
            }
        };
        // No events: nothing is ever read from it.
        add(&self.0.epoll, &copy, EventData::new_u64(0), EventFlags::empty())?;
        let number = copy.as_raw_fd();
        numbers.taken.insert(number);
        Ok(Watch { registry: Arc::clone(&self.0), number })
    }
}

impl Registry {
    /// Whether the ring that was registered by that number is still open anywhere.
    fn is_registered(&self, number: i32) -> bool {
        // Any descriptor will do: a registration that is gone is reported before the comparison.
        !matches!(self.compare(number, self.epoll.as_fd()), Err(Errno::NOENT))
    }

    fn compare(&self, number: i32, fd: BorrowedFd<'_>) -> Result<i64, Errno> {
        let slot = Slot { efd: self.epoll.as_raw_fd() as u32, tfd: number as u32, toff: 0 };
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

/// The lasting identity of one ring.
#[derive(Debug)]
pub(crate) struct Watch {
    registry: Arc<Registry>,
    /// The number that the ring's descriptor had when it was registered: the key.
    number: i32,
}

impl Watch {
    /// Whether `fd` is that ring.
    pub(crate) fn is(&self, fd: BorrowedFd<'_>) -> bool {
        matches!(self.registry.compare(self.number, fd), Ok(0))
    }

    /// Whether the ring is still open anywhere.
    pub(crate) fn is_alive(&self) -> bool {
        self.registry.is_registered(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_uapi::{ring::Params, sys};

    fn ring() -> OwnedFd {
        // SAFETY: without NO_MMAP the kernel is given no memory.
        unsafe { sys::setup(4, &mut Params::default()) }.expect("a ring")
    }

    #[test]
    fn a_watch_knows_its_ring_through_any_descriptor_and_sees_it_go() {
        let watches = Watches::new().expect("watches");
        let (one, other) = (ring(), ring());
        let watch = watches.watch(one.as_fd()).expect("a watch");
        let second = watches.watch(other.as_fd()).expect("a watch");
        let duplicate = one.try_clone().expect("a duplicate");
        drop(one);
        assert!(watch.is(duplicate.as_fd()) && !watch.is(other.as_fd()));
        assert!(second.is(other.as_fd()) && !second.is(duplicate.as_fd()));
        assert!(watch.is_alive());
        drop(duplicate);
        assert!(!watch.is_alive(), "the watch keeps the ring open");
        assert!(second.is_alive());
    }

    #[test]
    fn a_reused_descriptor_number_is_not_the_old_ring() {
        let watches = Watches::new().expect("watches");
        let one = ring();
        let watch = watches.watch(one.as_fd()).expect("a watch");
        let other = ring();
        rustix::io::dup2(&other, &mut { one }).expect("dup2 over the ring");
        // `dup2` dropped the only descriptor; its number now is the other ring.
        assert!(!watch.is(other.as_fd()));
        assert!(!watch.is_alive());
    }

    #[test]
    fn numbers_are_used_again_when_their_ring_is_gone_and_not_before() {
        let watches = Watches::new().expect("watches");
        let keeper = ring();
        let kept = watches.watch(keeper.as_fd()).expect("a watch");
        let again = watches.watch(keeper.as_fd()).expect("another number");
        assert_ne!(kept.number, again.number);
        for _ in 0..3 {
            // As if all others had been tried.
            watches.0.numbers.lock().expect("numbers").next = FIRST;
            let passing = ring();
            let watch = watches.watch(passing.as_fd()).expect("a watch");
            assert!(![kept.number, again.number].contains(&watch.number));
            drop(passing);
            assert!(!watch.is_alive());
        }
        assert!(watches.0.numbers.lock().expect("numbers").taken.len() <= 4);
        assert!(kept.is(keeper.as_fd()) && again.is(keeper.as_fd()));
    }
}
