//! How much memory control groups leave to this process, version 1 (cgroup-v1/memory.rst in the kernel's
//! documentation) or 2 (cgroup-v2.rst).

use std::fs;
use std::path::{Path, PathBuf};

/// The limit that leaves the least.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// The file that sets it.
    pub(super) file: PathBuf,
    /// In bytes, as what follows.
    pub(super) limit: u64,
    /// Not in use, or in use for copies of files that have not been read for a while.
    pub(super) left: u64,
}

/// The names of files that say so.
struct Version {
    limit: &'static str,
    usage: &'static str,
    /// In `memory.stat`.
    reclaimable: &'static str,
}

const V1: Version = Version {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};
const V2: Version = Version { limit: "memory.max", usage: "memory.current", reclaimable: "inactive_file" };

/// `None` where no group of this process has a limit.
pub(super) fn tightest() -> Option<Limit> {
    let read = |name| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (version, mount_point, group) = locate(&read("mountinfo"), &read("cgroup"))?;
    let groups = group.ancestors().take_while(|group| group.starts_with(&mount_point));
    groups.filter_map(|group| limit(group, version)).min_by_key(|limit| limit.left)
}

/// Where the hierarchy with the memory controller is mounted, and the group of the process in it.
fn locate(mounts: &str, groups: &str) -> Option<(&'static Version, PathBuf, PathBuf)> {
    let group_of = |matches: &dyn Fn(&str) -> bool| {
        // NUMBER:CONTROLLERS:PATH
        groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            matches(controllers).then_some(path)
        })
    };
    let is_memory = |list: &str| list.split(',').any(|name| name == "memory");
    let (version, path) = match group_of(&is_memory) {
        Some(path) => (&V1, path),
        None => (&V2, group_of(&str::is_empty)?),
    };
    // NUMBER PARENT DEVICE ROOT MOUNT_POINT OPTIONS … - TYPE SOURCE OPTIONS (proc_pid_mountinfo(5))
    let (root, mount_point) = mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let is_it = match version.limit == V1.limit {
            true => file_system.starts_with("cgroup ") && is_memory(file_system.rsplit(' ').next()?),
            false => file_system.starts_with("cgroup2 "),
        };
        let mut fields = mount.split(' ').skip(3);
        is_it.then_some((fields.next()?, fields.next()?))
    })?;
    let mount_point = PathBuf::from(mount_point);
    // In a container without a namespace of its own for them, only its own group is mounted.
    let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    let group = match path.contains("..") {
        true => mount_point.clone(),
        // Without a slash at its end where nothing is below.
        false => mount_point.join(below).components().collect(),
    };
    Some((version, mount_point, group))
}

/// Of one group, if it has one.
fn limit(group: &Path, version: &Version) -> Option<Limit> {
    /// Beyond any memory: how version 1 says that there is none.
    const UNLIMITED: u64 = 1 << 60;
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let limit = number(version.limit).filter(|&limit| limit < UNLIMITED)?;
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let reclaimable = stat.lines().find_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        if name == version.reclaimable { bytes.parse().ok() } else { None }
    });
    let used = number(version.usage)?.saturating_sub(reclaimable.unwrap_or(0));
    Some(Limit { file: group.join(version.limit), limit, left: limit.saturating_sub(used) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(mounts: &str, groups: &str) -> (&'static str, String) {
        let (version, _, group) = locate(mounts, groups).expect("a hierarchy");
        (version.limit, group.display().to_string())
    }

    #[test]
    fn groups_are_found_as_hosts_and_containers_have_them() {
        let v2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(located(v2, "0::/user.slice/a\n"), ("memory.max", "/sys/fs/cgroup/user.slice/a".into()));
        // A process whose group is outside of its namespace.
        assert_eq!(located(v2, "0::/../b\n"), ("memory.max", "/sys/fs/cgroup".into()));
        let v1 = "35 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                  36 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let both = "4:memory:/docker/c\n1:cpu,cpuacct:/d\n0::/\n";
        assert_eq!(located(v1, both), ("memory.limit_in_bytes", "/sys/fs/cgroup/memory/docker/c".into()));
        let inside = v1.replace(" / /sys/fs/cgroup/memory", " /docker/c /sys/fs/cgroup/memory");
        assert_eq!(located(&inside, both), ("memory.limit_in_bytes", "/sys/fs/cgroup/memory".into()));
        assert!(locate("", both).is_none() && locate(v1, "").is_none());
    }
}
