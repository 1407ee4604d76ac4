//! A driver that maps sealed memory for writing.
//!
//! `/dev/udmabuf` makes a DMA buffer of the pages of a memfd. Before Linux 6.13, and without the fix that
//! older series got in December 2024, it looked at F_SEAL_WRITE only, so that a memfd with
//! F_SEAL_FUTURE_WRITE, opened for reading, could be mapped for writing through it: the arena's arguments
//! would be the program's to change.

use crate::mapping::page_size;
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create, open};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::BorrowedFd;
use std::ptr::null_mut;

/// `UDMABUF_CREATE`: `_IOW('u', 0x42, struct udmabuf_create)`.
const CREATE: libc::c_ulong = 0x4018_7542;

/// `struct udmabuf_create`.
#[repr(C)]
struct Create {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

/// What `/dev/udmabuf` does to sealed memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Udmabuf {
    /// The kernel has no such device.
    Absent,
    /// It refuses memory that may not be written to any more.
    KeepsSeals,
    /// It maps such memory for writing.
    DefeatsSeals,
    /// The kernel has the device, and this process cannot open it: nor can a program of the same user and
    /// groups that has no privilege, but what others would find is not known.
    Untried,
}

impl Udmabuf {
    /// Tries it on a page that nobody needs.
    pub fn find() -> Self {
        match open("/dev/udmabuf", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            // What else goes wrong than a refusal is no proof of one.
            Ok(device) => match writes_through(&device) {
                Ok(true) => Self::DefeatsSeals,
                Ok(false) => Self::KeepsSeals,
                Err(_) => Self::Untried,
            },
            Err(_) if kernel_has_device() => Self::Untried,
            Err(_) => Self::Absent,
        }
    }
}

fn kernel_has_device() -> bool {
    // Without the list there is no telling.
    std::fs::read_to_string("/proc/misc")
        .map_or(true, |list| list.lines().any(|line| line.split_whitespace().nth(1) == Some("udmabuf")))
}

/// Whether a byte of a page that is sealed as the arena is can be changed through the device.
fn writes_through(device: &OwnedFd) -> Result<bool, Errno> {
    let writable = memfd_create("io_uring-trial", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&writable, page_size() as u64)?;
    fcntl_add_seals(
        &writable,
        SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    let path = format!("/proc/self/fd/{}", writable.as_raw_fd());
    let sealed = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let create = Create { memfd: sealed.as_raw_fd() as u32, flags: 1, offset: 0, size: page_size() as u64 };
    // SAFETY: the request reads a `struct udmabuf_create`, which lives for the call.
    let buffer = unsafe { libc::ioctl(device.as_raw_fd(), CREATE, &raw const create) };
    if buffer < 0 {
        let error = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
        return if error == Errno::INVAL { Ok(false) } else { Err(error) };
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    let buffer = unsafe { OwnedFd::from_raw_fd(buffer) };
    match write(rustix::fd::AsFd::as_fd(&buffer)) {
        Ok(()) => {}
        Err(Errno::ACCESS | Errno::PERM) => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut byte = [0];
    rustix::io::pread(&sealed, &mut byte, 0)?;
    Ok(byte == [1])
}

fn write(buffer: BorrowedFd<'_>) -> Result<(), Errno> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let page = unsafe { mmap(null_mut(), page_size(), access, MapFlags::SHARED, buffer, 0) }?;
    // SAFETY: a byte of the mapping just made, which this function alone knows and takes down again.
    unsafe {
        page.cast::<u8>().write_volatile(1);
        munmap(page, page_size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it must be, where the machine has the device, later kernels say; that it is told apart from
    /// having none does not depend on them.
    #[test]
    fn a_device_that_is_there_is_not_absent() {
        let found = Udmabuf::find();
        assert_eq!(found == Udmabuf::Absent, !kernel_has_device() && open_fails(), "{found:?}");
    }

    fn open_fails() -> bool {
        open("/dev/udmabuf", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).is_err()
    }
}
