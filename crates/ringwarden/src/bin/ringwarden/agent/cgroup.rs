//! The control group that a container's memory is counted in.

use rustix::process::Pid;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A group of our own in the container's: a group with processes may have no controllers for those below it, which a
/// service manager inside wants to have (cgroups(7), "no internal processes").
const OWN: &str = "ringwarden";

/// Moves the calling process to the group in which the memory of `process` is counted.
///
/// # Errors
/// What the system says.
pub(super) fn join(process: Pid) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let group = memory_of(&groups_of(process)?, &mounts).ok_or_else(not_found)?;
    let path = match group {
        Group::Unified(path) => {
            let own = path.join(OWN);
            match fs::create_dir(&own) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => own,
            }
        }
        Group::Legacy(path) => path,
    };
    fs::write(path.join("cgroup.procs"), "0")
}

/// The path of that group below the root of its hierarchy, whether it is mounted or not.
///
/// # Errors
/// What the system says.
pub(super) fn path_of(process: Pid) -> io::Result<PathBuf> {
    let groups = groups_of(process)?;
    let path = path_in(&groups, Some("memory")).or_else(|| path_in(&groups, None));
    path.map(Path::to_owned).ok_or_else(not_found)
}

fn groups_of(process: Pid) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{}/cgroup", process.as_raw_nonzero()))
}

fn not_found() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "it is in no control group that is mounted here")
}

/// The path in version 1's hierarchy with a controller, or in version 2's, as `/proc/PID/cgroup` has it.
fn path_in<'a>(groups: &'a str, controller: Option<&str>) -> Option<&'a Path> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let is = match controller {
            None => controllers.is_empty(),
            Some(controller) => controllers.split(',').any(|other| other == controller),
        };
        is.then(|| Path::new(path.trim_start_matches('/')))
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Group {
    /// Of version 2.
    Unified(PathBuf),
    /// Of the memory controller of version 1.
    Legacy(PathBuf),
}

/// Where the memory of a process is counted whose `/proc/PID/cgroup` is `groups`. The mounts are those of the root of a
/// hierarchy; version 1 has the memory controller where it is mounted.
fn memory_of(groups: &str, mounts: &str) -> Option<Group> {
    let place_of = |kind: &str, option: Option<&str>| {
        mounts.lines().find_map(|line| {
            let (place, described) = line.split_once(" - ")?;
            let (mut place, mut described) = (place.split(' '), described.split(' '));
            let (root, at) = (place.nth(3)?, place.next()?);
            let options = (described.next()? == kind).then(|| described.nth(1))??;
            let has = option.is_none_or(|option| options.split(',').any(|other| other == option));
            (has && root == "/").then(|| PathBuf::from(at))
        })
    };
    let legacy = path_in(groups, Some("memory")).zip(place_of("cgroup", Some("memory")));
    let unified = || path_in(groups, None).zip(place_of("cgroup2", None));
    match legacy {
        Some((path, at)) => Some(Group::Legacy(at.join(path))),
        None => unified().map(|(path, at)| Group::Unified(at.join(path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_in_version_1_where_that_has_the_controller() {
        let v2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let v1 = "31 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                  32 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                  33 30 0:29 / /sys/fs/cgroup/memory rw shared:7 - cgroup cgroup rw,memory\n";
        let bound = "33 30 0:29 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let groups = "4:memory:/c/x\n1:cpu,cpuacct:/c/y\n0::/c/z\n";
        let unified = |path: &str| Some(Group::Unified(path.into()));
        assert_eq!(memory_of(groups, v1), Some(Group::Legacy("/sys/fs/cgroup/memory/c/x".into())));
        assert_eq!(memory_of(groups, v2), unified("/sys/fs/cgroup/c/z"));
        assert_eq!(memory_of("0::/c/z\n", v1), unified("/sys/fs/cgroup/unified/c/z"));
        assert_eq!(memory_of(groups, bound), None);
        assert_eq!(memory_of("", v2), None);
    }
}
