//! The files and sockets that the baits aim at, and what shows that a forbidden request executed.
//!
//! Only effects count that no approved request can have: a folder that appears, a file that is
//! gone or changed, a descriptor that the program itself never opened that way, a peer address.
//! Completions are hearsay, since the program forges the queue they come through.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The port of 127.0.0.1 that the policy lets CONNECT reach, and one that it does not.
pub(crate) const PORT_APPROVED: u16 = 40001;
pub(crate) const PORT_FORBIDDEN: u16 = 40002;

/// Descriptors are looked for below this number, which is also the limit of the process.
const FD_LIMIT: RawFd = 256;

/// The program's own files; everything lies in one folder.
pub(crate) struct Arena {
    inside: PathBuf,
    dir: File,
    null: File,
    canary: File,
    udp: UdpSocket,
    openat: Inode,
    openat2: Inode,
    outside: Inode,
}

/// A file wherever it is met: file systems number theirs by themselves, and sockets have numbers, too.
#[derive(PartialEq, Eq)]
struct Inode {
    dev: u64,
    number: u64,
}

impl Inode {
    fn of(metadata: &Metadata) -> Self {
        Self { dev: metadata.dev(), number: metadata.ino() }
    }
}

impl Arena {
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let inside = folder.join("inside");
        fs::create_dir(&inside)?;
        let inode = |path: PathBuf| {
            fs::write(&path, "")?;
            fs::metadata(&path).map(|metadata| Inode::of(&metadata))
        };
        let (openat, openat2, outside) =
            (inode(inside.join("openat"))?, inode(inside.join("openat2"))?, inode(folder.join("outside"))?);
        fs::write(inside.join("bait"), "")?;
        fs::write(inside.join("canary"), [0])?;
        let canary = File::options().read(true).write(true).open(inside.join("canary"))?;
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        udp.connect(("127.0.0.1", PORT_APPROVED))?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let dir = File::open(&inside)?;
        Ok(Self { inside, dir, null, canary, udp, openat, openat2, outside })
    }

    pub(crate) fn dir_fd(&self) -> RawFd {
        self.dir.as_raw_fd()
    }

    pub(crate) fn null_fd(&self) -> RawFd {
        self.null.as_raw_fd()
    }

    pub(crate) fn canary_fd(&self) -> RawFd {
        self.canary.as_raw_fd()
    }

    pub(crate) fn udp_fd(&self) -> RawFd {
        self.udp.as_raw_fd()
    }

    /// Calls `violated` with a bait's name for every effect found, and undoes the effect.
    pub(crate) fn inspect(&self, mut violated: impl FnMut(&'static str)) -> io::Result<()> {
        if fs::remove_dir(self.inside.join("made")).is_ok() {
            violated("mkdirat");
        }
        let bait = self.inside.join("bait");
        if !bait.exists() {
            violated("unlinkat");
            // Created by a link, not by an open: no descriptor for the sweep to stumble on.
            fs::hard_link(self.inside.join("canary"), &bait)?;
        }
        let mut canary = [0];
        self.canary.read_exact_at(&mut canary, 0)?;
        if canary != [0] {
            violated("writev");
            self.canary.write_all_at(&[0], 0)?;
        }
        if self.udp.peer_addr().is_ok_and(|peer| peer.port() == PORT_FORBIDDEN) {
            violated("connect");
            self.udp.connect(("127.0.0.1", PORT_APPROVED))?;
        }
        Ok(())
    }

    /// Closes every descriptor that is not `known`: the ring opened them. Reports those that an
    /// approved request cannot have opened.
    pub(crate) fn sweep(&self, known: &BTreeSet<RawFd>, mut violated: impl FnMut(&'static str)) {
        for fd in (0..FD_LIMIT).filter(|fd| !known.contains(fd)) {
            let Some(flags) = descriptor_flags(fd) else { continue };
            // SAFETY: open, and nobody's: this thread is the only one that opens or closes
            // descriptors now, apart from requests, which only open them.
            let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
            let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
            let inode = file.metadata().ok().map(|metadata| Inode::of(&metadata));
            let is = |bait: &Inode| inode.as_ref() == Some(bait);
            if is(&self.outside) {
                violated("openat2-resolve");
            } else if is(&self.openat) && writable {
                violated("openat");
            } else if is(&self.openat2) && writable {
                violated("openat2-flags");
            } else if socket_family(&file) == Some(libc::AF_UNIX) {
                violated("socket");
            }
        }
    }
}

/// `F_GETFL`, or `None` where nothing is open.
fn descriptor_flags(fd: RawFd) -> Option<libc::c_int> {
    // SAFETY: F_GETFL takes any number and no pointer.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    (flags >= 0).then_some(flags)
}

fn socket_family(file: &File) -> Option<libc::c_int> {
    let mut family: libc::c_int = 0;
    let mut len = size_of_val(&family) as libc::socklen_t;
    let value = (&raw mut family).cast();
    // SAFETY: `value` points at `len` writable bytes.
    let ret =
        unsafe { libc::getsockopt(file.as_raw_fd(), libc::SOL_SOCKET, libc::SO_DOMAIN, value, &mut len) };
    (ret == 0).then_some(family)
}

/// The descriptors that are open now.
pub(crate) fn open_descriptors() -> BTreeSet<RawFd> {
    (0..FD_LIMIT).filter(|&fd| descriptor_flags(fd).is_some()).collect()
}

/// Lets requests open no descriptor that a sweep does not look at.
pub(crate) fn limit_descriptors() -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: FD_LIMIT as u64, rlim_max: FD_LIMIT as u64 };
    // SAFETY: a valid struct that is only read.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
