//! Where the kernel describes its tracepoints.

use crate::Unavailable;
use crate::format::Format;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Of a request that fails before it is issued (Linux 5.16).
pub(crate) const FAILED: &[&str] = &["io_uring_req_failed"];
/// Of a request that is taken: once it is made ready and filters have let it pass, before it is issued (`io_submit_sqe` in
/// io_uring/io_uring.c of 6.18; filters come in between in 7.0). The second is its name in older kernels, as 6.1.
pub(crate) const TAKEN: &[&str] = &["io_uring_submit_req", "io_uring_submit_sqe"];

/// The tree of tracepoints is there whatever events there are.
const EVENTS: &str = "events";
/// Where it is mounted; the second is mounted by looking at it.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The description of a tracepoint of io_uring, by the first of its names that this kernel has.
///
/// # Errors
/// Why there is none.
pub(crate) fn find(names: &'static [&'static str]) -> Result<Format, Unavailable> {
    let mut closed = None;
    for place in PLACES {
        match read_from(CWD, Path::new(place), names) {
            Ok(text) => return Format::parse(&text?).map_err(Unavailable::Format),
            Err(Errno::ACCESS | Errno::PERM) => closed = closed.or(Some(place)),
            // Nothing is mounted there.
            Err(_) => {}
        }
    }
    // A mount of this process's own, which is in no folder.
    match mounted() {
        Ok(root) => match read_from(root.as_fd(), Path::new(""), names) {
            Ok(text) => Format::parse(&text?).map_err(Unavailable::Format),
            Err(error) => Err(Unavailable::NoTracefs(error.into())),
        },
        Err(_) if closed.is_some() => {
            Err(Unavailable::Closed { path: closed.unwrap_or_default().into(), error: Errno::ACCESS.into() })
        }
        Err(error) => Err(Unavailable::NoTracefs(error.into())),
    }
}

/// The text of the description below `root`, where a tracefs is.
///
/// # Errors
/// There is none, or it is closed.
fn read_from(
    base: BorrowedFd<'_>,
    root: &Path,
    names: &'static [&'static str],
) -> Result<Result<String, Unavailable>, Errno> {
    let flags = OFlags::CLOEXEC | OFlags::RDONLY;
    openat(base, root.join(EVENTS), flags | OFlags::DIRECTORY, Mode::empty())?;
    let read = |file: OwnedFd| {
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).map(|_| text)
    };
    for name in names {
        let path = root.join(EVENTS).join("io_uring").join(name).join("format");
        match openat(base, &path, flags, Mode::empty()) {
            Ok(file) => return Ok(read(file).map_err(Unavailable::Failed)),
            Err(Errno::NOENT) => {}
            Err(error) => return Ok(Err(Unavailable::Closed { path, error: error.into() })),
        }
    }
    Ok(Err(Unavailable::NoTracepoint(names[0])))
}

fn mounted() -> Result<OwnedFd, Errno> {
    let filesystem = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&filesystem)?;
    fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this finds depends on the machine and the user; a kernel before 5.16 is played by a folder.
    #[test]
    fn a_kernel_without_the_tracepoint_is_told_from_one_without_tracefs() {
        let folder = std::env::temp_dir().join(format!("ringwarden-tracefs-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("events/io_uring/io_uring_create")).expect("a folder");
        let found = read_from(CWD, &folder, FAILED);
        let nothing = read_from(CWD, &folder.join("events/io_uring"), FAILED);
        let older = folder.join("events/io_uring/io_uring_submit_sqe");
        std::fs::create_dir_all(&older).expect("a folder");
        std::fs::write(older.join("format"), "the older").expect("written");
        let named_otherwise = read_from(CWD, &folder, TAKEN);
        std::fs::remove_dir_all(&folder).expect("removed");
        assert!(matches!(named_otherwise, Ok(Ok(text)) if text == "the older"));
        assert!(matches!(found, Ok(Err(Unavailable::NoTracepoint("io_uring_req_failed")))), "{found:?}");
        assert!(matches!(nothing, Err(Errno::NOENT)), "{nothing:?}");
    }

    #[test]
    fn the_running_kernel_s_format_is_understood() {
        for names in [FAILED, TAKEN] {
            match find(names) {
                Ok(format) if names == FAILED => {
                    crate::record::Layout::of(&format).expect("a layout");
                }
                Ok(format) => {
                    crate::record::TakenLayout::of(&format).expect("a layout");
                }
                Err(Unavailable::Format(what)) => panic!("{what}"),
                Err(unavailable) => eprintln!("skipped: {unavailable}"),
            }
        }
    }
}
