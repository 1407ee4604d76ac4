//! The page from which the kernel reads arguments that the guard has approved.

use crate::requests::{self, is_writable};
use crate::{Attempts, checked};
use ringwarden_testring::Ring;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

/// Where the page is in this process.
pub(crate) struct Page {
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Its file's.
    pub(crate) inode: usize,
}

impl Page {
    /// The only shared mapping of a memfd that cannot be written to. It is there once a request with
    /// such an argument was made.
    pub(crate) fn find() -> io::Result<Self> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        let line = maps.lines().find(|line| line.contains(" r--s ") && line.contains("/memfd:"));
        let mut words = line.unwrap_or_default().split_whitespace();
        let range = words.next().and_then(|range| range.split_once('-'));
        let parse = |hex| usize::from_str_radix(hex, 16).ok();
        let inode = words.nth(3).and_then(|inode| inode.parse().ok());
        match range.map(|(start, end)| (parse(start), parse(end), inode)) {
            Some((Some(start), Some(end), Some(inode))) => Ok(Self { start, len: end - start, inode }),
            _ => Err(io::Error::other("no page of arguments")),
        }
    }

    fn pointer(&self) -> *mut libc::c_void {
        self.start as *mut libc::c_void
    }
}

fn target(folder: &Path) -> io::Result<(Ring, PathBuf)> {
    let path = folder.join("file");
    fs::write(&path, "")?;
    let ring = requests::ring()?;
    requests::open(&ring, &path, libc::O_RDONLY)?;
    Ok((ring, path))
}

/// Tries to get at the page by every system call that changes memory.
pub(crate) fn attack(folder: &Path) -> io::Result<Attempts> {
    let (ring, path) = target(folder)?;
    let page = Page::find()?;
    let mut attempts = Attempts::default();
    let (at, len) = (page.pointer(), page.len);
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let moving = libc::MREMAP_MAYMOVE;
    let mut how = [libc::O_RDWR as u64, 0, 0];
    let local = libc::iovec { iov_base: how.as_mut_ptr().cast(), iov_len: 24 };
    let remote = libc::iovec { iov_base: at, iov_len: 24 };
    let pid = std::process::id() as i32;
    // SAFETY: no reference of this program points into the page; should a call succeed, the guard
    // is broken and nothing else matters.
    unsafe {
        attempts.record("mprotect", checked(libc::mprotect(at, len, writable)));
        attempts
            .record("pkey_mprotect", checked(libc::syscall(libc::SYS_pkey_mprotect, at, len, writable, -1)));
        attempts.record("munmap", checked(libc::munmap(at, len)));
        attempts.record("mremap", checked(libc::mremap(at, len, 2 * len, moving) as i64));
        attempts.record("mremap shrink", checked(libc::mremap(at, len, len / 2, 0) as i64));
        let fixed = anonymous | libc::MAP_FIXED;
        attempts.record("mmap fixed", checked(libc::mmap(at, len, writable, fixed, -1, 0) as i64));
        attempts.record("madvise remove", checked(libc::madvise(at, len, libc::MADV_REMOVE)));
        attempts
            .record("remap_file_pages", checked(libc::syscall(libc::SYS_remap_file_pages, at, len, 0, 1, 0)));
        attempts.record(
            "process_vm_writev",
            checked(libc::process_vm_writev(pid, &local, 1, &remote, 1, 0) as i64),
        );
    }
    let bytes = how.map(u64::to_ne_bytes).concat();
    let memory = File::options().write(true).open("/proc/self/mem");
    attempts
        .record("/proc/self/mem", memory.and_then(|memory| memory.write_all_at(&bytes, page.start as u64)));
    let name = format!("/proc/self/map_files/{:x}-{:x}", page.start, page.start + page.len);
    match File::options().read(true).write(true).open(name) {
        Ok(file) => {
            attempts.record("reopened: write", file.write_all_at(&bytes, 0));
            // SAFETY: a new mapping that nobody uses.
            let again =
                unsafe { libc::mmap(null_mut(), len, writable, libc::MAP_SHARED, file.as_raw_fd(), 0) };
            attempts.record("reopened: mmap", checked(again as i64));
            attempts.record("reopened: truncate", file.set_len(0));
        }
        Err(error) => attempts.record("reopened: write", Err::<(), _>(error)),
    }
    attempts.record("afterwards: open for writing", requests::open(&ring, &path, libc::O_RDWR));
    attempts.count(
        "afterwards: opens for reading",
        usize::from(requests::open(&ring, &path, libc::O_RDONLY).is_ok()),
    );
    Ok(attempts)
}

/// Keeps the page out of a forked child and puts memory in its place that says "open for writing".
/// In the child, approved requests must be refused or read what was approved.
pub(crate) fn replace(folder: &Path) -> io::Result<Attempts> {
    let (ring, path) = target(folder)?;
    let page = Page::find()?;
    let mut attempts = Attempts::default();
    // SAFETY: changes what a child gets, nothing here.
    attempts.record(
        "madvise dontfork",
        checked(unsafe { libc::madvise(page.pointer(), page.len, libc::MADV_DONTFORK) }),
    );
    // SAFETY: this process has a single thread.
    let child = checked(unsafe { libc::fork() })?;
    if child == 0 {
        let opened = in_place_of(&page, &ring, &path);
        // 0: none was writable. 1: one was. 2: the attack itself failed.
        std::process::exit(opened.map_or(2, i32::from));
    }
    let mut status = 0;
    // SAFETY: a valid place for the status.
    checked(unsafe { libc::waitpid(child as i32, &mut status, 0) })?;
    attempts.count("status", status as usize);
    Ok(attempts)
}

fn in_place_of(page: &Page, ring: &Ring, path: &Path) -> io::Result<bool> {
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    for _ in 0..100 {
        // SAFETY: only takes addresses where nothing is mapped.
        let ours = unsafe { libc::mmap(page.pointer(), page.len, writable, flags, -1, 0) };
        if ours == page.pointer() {
            for at in (page.start..page.start + page.len).step_by(128) {
                // SAFETY: within the mapping that was just made.
                unsafe { (at as *mut u64).write_volatile(libc::O_RDWR as u64) };
            }
        }
        if requests::open(ring, path, libc::O_RDONLY).is_ok_and(|file| is_writable(&file)) {
            return Ok(true);
        }
    }
    Ok(false)
}
