//! A System V segment in the place of the page of arguments: its inode number is its identifier, which
//! a program can choose.

use crate::page::Page;
use crate::process::{fork, wait};
use crate::{Attempts, checked, requests};
use std::ffi::CString;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::Duration;

const PAGE: usize = 4096;
/// The size of an argument's slot.
const SLOT: usize = 128;
const SYS_MSEAL: i64 = 462;

/// The segment, attached twice: as the page, and writable.
struct Forgery {
    writable: *mut u8,
    len: usize,
}

impl Forgery {
    /// Has every argument be that.
    fn fill(&self, argument: &[u8]) {
        for slot in (PAGE..PAGE + self.len).step_by(SLOT) {
            for (index, byte) in argument.iter().enumerate() {
                // SAFETY: inside the segment, which has a page more than `len`.
                unsafe { self.writable.add(slot + index).write_volatile(*byte) };
            }
        }
    }
}

/// Puts a segment with the number of the page's file where the page would be, and has the kernel read
/// other arguments there than those that were approved.
pub(crate) fn attack(folder: &Path) -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    let page = page_of_a_child(folder)?;
    attempts.record("namespace", namespace());
    let forgery = match forge(&page) {
        Ok(forgery) => forgery,
        Err(error) => {
            attempts.record("segment", Err::<(), _>(error));
            return Ok(attempts);
        }
    };
    attempts.record("segment", Ok(()));
    let ring = requests::ring()?;
    let path = folder.join("forbidden");
    forgery.fill(&[(libc::O_CREAT | libc::O_WRONLY) as u64, 0o600, 0].map(u64::to_ne_bytes).concat());
    attempts.record("open", requests::open(&ring, &path, libc::O_RDONLY));
    attempts.count("created", usize::from(path.exists()));

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    forgery.fill(&requests::address(Ipv4Addr::LOCALHOST, port));
    attempts.record("connect", requests::connect(&ring, Ipv4Addr::new(10, 0, 0, 1), port));
    attempts.count("connected", usize::from(listener.accept().is_ok()));
    Ok(attempts)
}

/// The page as a child has it, which is where it would be here.
fn page_of_a_child(folder: &Path) -> io::Result<Page> {
    let (mut out, mut into) = io::pipe()?;
    let child = fork(|| {
        let file = folder.join("file");
        fs::write(&file, "")?;
        requests::open(&requests::ring()?, &file, libc::O_RDONLY)?;
        let page = Page::find()?;
        into.write_all(format!("{} {} {}", page.start, page.len, page.inode).as_bytes())?;
        Ok(0)
    })?;
    drop(into);
    let mut text = String::new();
    out.read_to_string(&mut text)?;
    wait(child, Duration::from_secs(10))?;
    let numbers: Vec<_> = text.split(' ').filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [start, len, inode] => Ok(Page { start, len, inode }),
        _ => Err(io::Error::other("no page of arguments")),
    }
}

/// Namespaces in which the next identifier can be chosen.
fn namespace() -> io::Result<i64> {
    // SAFETY: takes numbers.
    let root = unsafe { libc::geteuid() } == 0;
    let users = if root { 0 } else { libc::CLONE_NEWUSER };
    // SAFETY: takes numbers.
    checked(unsafe { libc::unshare(libc::CLONE_NEWIPC | users) })
}

fn forge(page: &Page) -> io::Result<Forgery> {
    fs::write("/proc/sys/kernel/shm_next_id", page.inode.to_string())?;
    // SAFETY: a new segment, attached below the page, where nothing is, and anywhere; then only its
    // first page is taken away again.
    unsafe {
        let id = checked(libc::shmget(libc::IPC_PRIVATE, page.len + PAGE, 0o600))? as i32;
        if id as usize != page.inode {
            return Err(io::Error::other("another number"));
        }
        let below = (page.start - PAGE) as *mut libc::c_void;
        checked(libc::shmat(id, below, libc::SHM_RDONLY) as i64)?;
        let writable = libc::shmat(id, null(), 0);
        checked(writable as i64)?;
        libc::shmctl(id, libc::IPC_RMID, null_mut());
        checked(libc::munmap(below, PAGE))?;
        checked(libc::syscall(SYS_MSEAL, page.start, page.len, 0))?;
        Ok(Forgery { writable: writable.cast(), len: page.len })
    }
}

/// Mounts a text of its own over what the kernel says of this process, and puts writable memory in the
/// page's place. Takes root, in the guard's own mount namespace.
pub(crate) fn mount(folder: &Path) -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    let page = page_of_a_child(folder)?;
    let (start, end, inode) = (page.start, page.start + page.len, page.inode);
    let text = format!(
        "{start:08x}-{end:08x} r--s 00001000 00:01 {inode}    /memfd:io_uring-arguments (deleted)\n\
         VmFlags: rd sh mr me ms sl \n"
    );
    let forged = folder.join("smaps");
    fs::write(&forged, text)?;
    let paths = [forged, format!("/proc/{}/smaps", std::process::id()).into()];
    let [from, to] = paths.map(|path| CString::new(path.into_os_string().into_vec()).unwrap_or_default());
    // SAFETY: strings that end with a NUL.
    let mounted = unsafe { libc::mount(from.as_ptr(), to.as_ptr(), null(), libc::MS_BIND, null()) };
    attempts.record("mount", checked(mounted));
    ask_with_own_memory(&mut attempts, &page, folder)?;
    Ok(attempts)
}

/// Maps a file of that folder, whose name has forged lines of `smaps` in it, and then the page's own
/// file without a seal.
pub(crate) fn names(folder: &Path) -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    let page = page_of_a_child(folder)?;
    let (start, end) = (page.start, page.start + page.len);
    let line = format!("{start:08x}-{end:08x} r--s 00001000 00:01 {}", page.inode);
    for (name, text) in [
        ("line", format!("x\n{line} \nVmFlags: rd sh sl \n")),
        ("return", format!("x\r{line} \rVmFlags: sl ")),
    ] {
        let text = CString::new(text)?;
        // SAFETY: a name that ends with a NUL, and numbers.
        let fd = checked(unsafe { libc::memfd_create(text.as_ptr(), 0) })? as i32;
        // SAFETY: a descriptor that was just made, and a new mapping of its first page below the page's
        // place; nobody uses it.
        unsafe {
            checked(libc::ftruncate(fd, PAGE as i64))?;
            let at = (page.start - 16 * PAGE) as *mut libc::c_void;
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            attempts.record(name, checked(libc::mmap(at, PAGE, libc::PROT_READ, flags, fd, 0) as i64));
        }
    }
    ask_with_own_memory(&mut attempts, &page, folder)?;
    Ok(attempts)
}

/// Puts writable memory in the page's place, and has the kernel read it there if it will.
fn ask_with_own_memory(attempts: &mut Attempts, page: &Page, folder: &Path) -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: only takes addresses where nothing is mapped.
    let place = unsafe { libc::mmap(page.start as *mut _, page.len, writable, flags, -1, 0) };
    attempts.record("place", checked(place as i64));
    let forgery = Forgery { writable: (page.start - PAGE) as *mut u8, len: page.len };
    forgery.fill(&[(libc::O_CREAT | libc::O_WRONLY) as u64, 0o600, 0].map(u64::to_ne_bytes).concat());
    let path = folder.join("forbidden");
    let ring = requests::ring()?;
    attempts.record("open", requests::open(&ring, &path, libc::O_RDONLY));
    attempts.count("created", usize::from(path.exists()));
    Ok(())
}
