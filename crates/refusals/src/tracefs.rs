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

const FORMAT: &str = "events/io_uring/io_uring_req_failed/format";
/// The tree of tracepoints is there whatever events there are.
const EVENTS: &str = "events";
/// Where it is mounted; the second is mounted by looking at it.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The description of the tracepoint.
///
/// # Errors
/// Why there is none.
pub(crate) fn find() -> Result<Format, Unavailable> {
    let mut closed = None;
    for place in PLACES {
        match read_from(CWD, Path::new(place)) {
            Ok(text) => return Format::parse(&text?).map_err(Unavailable::Format),
            Err(Errno::ACCESS | Errno::PERM) => closed = closed.or(Some(place)),
            // Nothing is mounted there.
            Err(_) => {}
        }
    }
    // A mount of this process's own, which is in no folder.
    match mounted() {
        Ok(root) => match read_from(root.as_fd(), Path::new("")) {
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
fn read_from(base: BorrowedFd<'_>, root: &Path) -> Result<Result<String, Unavailable>, Errno> {
    let flags = OFlags::CLOEXEC | OFlags::RDONLY;
    openat(base, root.join(EVENTS), flags | OFlags::DIRECTORY, Mode::empty())?;
    let path = root.join(FORMAT);
    let read = |file: OwnedFd| {
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).map(|_| text)
    };
    Ok(match openat(base, &path, flags, Mode::empty()) {
        Ok(file) => read(file).map_err(Unavailable::Failed),
        Err(Errno::NOENT) => Err(Unavailable::NoTracepoint),
        Err(error) => Err(Unavailable::Closed { path, error: error.into() }),
    })
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
        let found = read_from(CWD, &folder);
        let nothing = read_from(CWD, &folder.join("events/io_uring"));
        std::fs::remove_dir_all(&folder).expect("removed");
        assert!(matches!(found, Ok(Err(Unavailable::NoTracepoint))), "{found:?}");
        assert!(matches!(nothing, Err(Errno::NOENT)), "{nothing:?}");
    }

    #[test]
    fn the_running_kernel_s_format_is_understood() {
        match find() {
            Ok(format) => {
                crate::record::Layout::of(&format).expect("a layout");
            }
            Err(Unavailable::Format(what)) => panic!("{what}"),
            Err(unavailable) => eprintln!("skipped: {unavailable}"),
        }
    }
}
