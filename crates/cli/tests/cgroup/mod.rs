//! Control groups for tests to put processes in, of whatever version this machine has (cgroups(7)).

#![allow(dead_code, reason = "each test file uses a part")]

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io, process};
use tempfile::TempDir;

/// What a test wants of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Version 2, where processes can be frozen and events be told by group.
    Version2,
    /// Its memory limited, by either version.
    Memory,
}

/// A group without processes, gone when this is dropped.
pub(crate) struct Group {
    pub(crate) folder: PathBuf,
    /// What was mounted for it.
    _mounted: Option<Mounted>,
}

impl Group {
    /// # Errors
    /// Every place that was tried and what is wrong with it: not every machine lets root make groups.
    pub(crate) fn new(of: Of) -> Result<Self, String> {
        let mut wrong = Vec::new();
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(at), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let suits = match kind {
                "cgroup2" => true,
                "cgroup" => of == Of::Memory && options.split(',').any(|option| option == "memory"),
                _ => false,
            };
            if suits {
                match Self::below(Path::new(at), of, None) {
                    Ok(group) => return Ok(group),
                    Err(error) => wrong.push(format!("{at}: {error}")),
                }
            }
        }
        // What is mounted may be read-only, or a part of it.
        for (kind, options) in [("cgroup2", ""), ("cgroup", "memory")] {
            if kind == "cgroup2" || of == Of::Memory {
                let group = Mounted::new(kind, options).and_then(|mounted| {
                    let at = mounted.0.path().to_owned();
                    Self::below(&at, of, Some(mounted))
                });
                match group {
                    Ok(group) => return Ok(group),
                    Err(error) => wrong.push(format!("a {kind} of its own: {error}")),
                }
            }
        }
        Err(wrong.join("; "))
    }

    fn below(at: &Path, of: Of, mounted: Option<Mounted>) -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        // In version 2, those above say what those below have; whether it can be had shows below. Without one that was
        // handed down there are no perf events, either.
        for controller in ["+pids", "+memory"] {
            let _ = fs::write(at.join("cgroup.subtree_control"), controller);
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = at.join(format!("ringwarden-test-{}-{number}", process::id()));
        fs::create_dir(&folder)?;
        let group = Self { folder, _mounted: mounted };
        if of == Of::Memory {
            fs::metadata(group.memory_limit())?;
        }
        Ok(group)
    }

    /// The file that limits its memory, in bytes.
    pub(crate) fn memory_limit(&self) -> PathBuf {
        let first = self.folder.join("memory.limit_in_bytes");
        if first.exists() { first } else { self.folder.join("memory.max") }
    }

    /// Whether perf events of processes in it are told by its number: version 2 has to have handed down a controller.
    pub(crate) fn is_told_of(&self) -> bool {
        let above = self.folder.parent().map(|above| above.join("cgroup.subtree_control"));
        above.and_then(|file| fs::read_to_string(file).ok()).is_some_and(|handed| !handed.trim().is_empty())
    }

    /// The file that has the processes, and takes one more.
    pub(crate) fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What version 1 does not have, it does not need.
        let _ = fs::write(self.folder.join("cgroup.freeze"), "0");
        let _ = fs::write(self.folder.join("cgroup.kill"), "1");
        while fs::read_to_string(self.processes()).is_ok_and(|list| !list.is_empty()) {
            std::thread::yield_now();
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A hierarchy that is mounted for a test.
struct Mounted(TempDir);

impl Mounted {
    fn new(kind: &str, options: &str) -> io::Result<Self> {
        let at = tempfile::tempdir()?;
        let options = CString::new(options)?;
        mount("none", at.path(), kind, MountFlags::empty(), Some(options.as_c_str()))?;
        Ok(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}
