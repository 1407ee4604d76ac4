//! A file with one kind of request that is never answered. Memory that is mapped from one that is never
//! read hangs whoever touches it.
//!
//! A file system of one file, in a mount namespace of the calling thread and what it starts; spoken by
//! hand (`include/uapi/linux/fuse.h`, version 7.31), since no more than a few kinds of requests ever come.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = Held::Read as u32;
const RELEASE: u32 = 18;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
/// Who waits for a page waits in a way that can be killed.
const ASYNC_READ: u32 = 1;
const MODE: u32 = libc::S_IFREG | 0o666;
const SIZE: u64 = 1 << 20;
/// `FUSE_MIN_READ_BUFFER` and to spare.
const BUFFER: usize = 1 << 16;
/// A test that takes longer has failed: its readers are let go, so that it can end.
const LONG: Duration = Duration::from_secs(40);

/// What is never answered.
#[derive(Clone, Copy)]
pub(crate) enum Held {
    Read = 15,
    /// Waited for by whoever unmaps what was written, with the lock of the address space.
    Write = 16,
    /// Comes with every close.
    Flush = 25,
}

/// The mounted file; gone when dropped, and those who wait for it wait no longer.
pub(crate) struct Hanging {
    path: PathBuf,
    asked: PathBuf,
}

impl Hanging {
    /// Mounts it in that folder. The calling thread has mounts of its own from then on.
    ///
    /// # Errors
    /// What `unshare(2)`, the device or `mount(2)` said.
    pub(crate) fn mount(folder: &Path, held: Held) -> io::Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
        let (path, asked) = (folder.join("hanging"), folder.join("asked"));
        fs::write(&path, "")?;
        let target = CString::new(path.as_os_str().as_bytes())?;
        let options = format!("fd={},rootmode={MODE:o},user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let options = CString::new(options)?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        // SAFETY: strings that end with a NUL, and numbers.
        unsafe {
            checked(libc::unshare(libc::CLONE_NEWNS))?;
            let private = libc::MS_REC | libc::MS_PRIVATE;
            checked(libc::mount(
                c"none".as_ptr(),
                c"/".as_ptr(),
                std::ptr::null(),
                private,
                std::ptr::null(),
            ))?;
            let fuse = c"fuse".as_ptr();
            checked(libc::mount(fuse, target.as_ptr(), fuse, flags, options.as_ptr().cast()))?;
        }
        let mark = asked.clone();
        thread::spawn(move || serve(device, held, &mark));
        Ok(Self { path, asked })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Comes to be with the first request that is not answered. When it is removed, whoever waits is let go.
    pub(crate) fn asked(&self) -> &Path {
        &self.asked
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        if let Ok(target) = CString::new(self.path.as_os_str().as_bytes()) {
            // SAFETY: a string that ends with a NUL. Those who still wait are given an error.
            unsafe { libc::umount2(target.as_ptr(), libc::MNT_FORCE | libc::MNT_DETACH) };
        }
    }
}

/// Answers everything but what is held, until the file is unmounted or nobody should be waiting any more.
fn serve(mut device: File, held: Held, asked: &Path) {
    let mut request = vec![0; BUFFER];
    let mut since = None;
    loop {
        if since.is_some_and(|since: Instant| since.elapsed() > LONG || !asked.exists()) {
            return;
        }
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&device, PollFlags::IN)], Some(&second)) == Ok(0) {
            continue;
        }
        match device.read(&mut request) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The kernel has taken the request back; or it is the end.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
            Err(_) => return,
        }
        let word =
            |at: usize| u32::from_ne_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]]);
        let answer = match word(4) {
            FORGET | BATCH_FORGET | INTERRUPT => continue,
            opcode if opcode == held as u32 => {
                if since.is_none() {
                    let _ = fs::write(asked, "");
                    since = Some(Instant::now());
                }
                continue;
            }
            // Zeroes, as many as the request says behind its header, handle and offset.
            READ => Ok(vec![0; word(56) as usize]),
            INIT => Ok(words(&[7, 31, BUFFER as u32, ASYNC_READ, 0, 4096, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            GETATTR => Ok(attributes()),
            OPEN => Ok(words(&[0; 4])),
            RELEASE => Ok(Vec::new()),
            _ => Err(-libc::ENOSYS),
        };
        let (error, body) = answer.map_or_else(|error| (error, Vec::new()), |body| (0, body));
        let mut reply = words(&[16 + body.len() as u32, error as u32, word(8), word(12)]);
        reply.extend(body);
        let _ = device.write(&reply);
    }
}

/// `struct fuse_attr_out`.
fn attributes() -> Vec<u8> {
    // For how long they hold; the inode and its size.
    let mut bytes: Vec<u8> =
        [u64::MAX >> 1, 0, 1, SIZE, 0, 0, 0, 0].into_iter().flat_map(u64::to_ne_bytes).collect();
    bytes.extend(words(&[0, 0, 0, MODE, 1, 0, 0, 0, 4096, 0]));
    bytes
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn checked(ret: i32) -> io::Result<()> {
    if ret == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
