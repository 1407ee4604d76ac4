//! The control groups of processes, version 1 (cgroup-v1/ in the kernel's documentation) or 2 (cgroup-v2.rst), above all
//! those in which their memory is counted.

use ringwarden::guard::ControlGroups;
use ringwarden::policy::Release;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A group of our own in a container's: a group with processes may have no controllers for those below it, which a
/// service manager inside wants to have (cgroups(7), "no internal processes").
const OWN: &str = "ringwarden";

/// The limit that leaves the least.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// The file that sets it.
    pub(crate) file: PathBuf,
    /// In bytes, as what follows.
    pub(crate) limit: u64,
    /// Not in use, or in use for copies of files that have not been read for a while.
    pub(crate) left: u64,
}

/// The names of files that say so.
#[derive(Debug, PartialEq, Eq)]
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

/// A group of a process.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    version: &'static Version,
    /// Of its hierarchy.
    mount_point: PathBuf,
    /// The group, unless it is outside of what is mounted.
    group: Option<PathBuf>,
}

/// The tightest limit of this process; `None` where no group of it has one.
pub(crate) fn tightest() -> Option<Limit> {
    let read = |name| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let Place { version, mount_point, group } = locate(&read("mountinfo"), &read("cgroup"), "memory")?;
    // In a container without a namespace of its own for them, only its own group is mounted.
    let group = group.unwrap_or_else(|| mount_point.clone());
    let groups = group.ancestors().take_while(|group| group.starts_with(&mount_point));
    groups.filter_map(|group| limit(group, version)).min_by_key(|limit| limit.left)
}

/// The groups of `process` that pay for its rings: those in which its memory and its time are counted.
///
/// # Errors
/// What the system says, such as where memory is counted in a group that is not mounted here. One that counts time is left
/// out then, and where it would hold up others.
pub(crate) fn that_pay_for(process: Pid) -> io::Result<ControlGroups> {
    let (mounts, groups) = (fs::read_to_string("/proc/self/mountinfo")?, groups_of(process)?);
    let mut paying = ControlGroups::default();
    let memory = locate(&mounts, &groups, "memory").ok_or_else(not_found)?;
    let group = memory.group.ok_or_else(not_found)?;
    match *memory.version == V1 {
        true => paying.tasks.push(tasks(&group)?),
        false => paying.folder = Some(folder(&group.join(OWN))?),
    }
    let time = locate(&mounts, &groups, "cpu").filter(|place| *place.version == V1);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    if let Some(group) = time.and_then(|place| place.group)
        && finishes_beyond_quota(&release)
    {
        paying.tasks.push(tasks(&group)?);
    }
    Ok(paying)
}

/// Whether a task whose group has used up its quota of time finishes what it does in the kernel, as from Linux 6.18 on
/// (`throttle_cfs_rq_work`, `kernel/sched/fair.c`). Otherwise one that moves itself into such a group of version 1 may have
/// to wait in the middle, and with it everybody who changes control groups: for seconds, seen in 6.1.
fn finishes_beyond_quota(release: &str) -> bool {
    let numbers = |text: &str| text.trim().parse::<Release>().ok();
    numbers(release).is_some_and(|release| Some(release) >= numbers("6.18"))
}

/// What moves processes into a group of version 1.
fn tasks(group: &Path) -> io::Result<OwnedFd> {
    Ok(open(group.join("tasks"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A group of version 2, which is made if need be.
fn folder(group: &Path) -> io::Result<OwnedFd> {
    match fs::create_dir(group) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(open(group, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?),
    }
}

/// Where a process is, for whoever hears of it later.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Membership {
    /// See [`path_of`].
    #[serde(rename = "group")]
    pub(crate) path: Option<PathBuf>,
    /// The folder of the group by which perf events tell of it, if it is mounted here.
    #[serde(default)]
    pub(crate) events: Option<PathBuf>,
}

impl Membership {
    /// As far as that can be seen.
    pub(crate) fn of(process: Pid) -> Self {
        let Ok(groups) = groups_of(process) else { return Self::default() };
        let folder = || {
            let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
            locate(&mounts, &groups, "perf_event")?.group
        };
        Self { path: memory_path(&groups), events: folder() }
    }
}

/// The path of the group that counts the memory of `process`, below the root of its hierarchy, whether it is mounted or not.
///
/// # Errors
/// What the system says.
pub(crate) fn path_of(process: Pid) -> io::Result<PathBuf> {
    memory_path(&groups_of(process)?).ok_or_else(not_found)
}

fn memory_path(groups: &str) -> Option<PathBuf> {
    let (_, path) = path_in(groups, "memory")?;
    Some(path.strip_prefix("/").map(Path::to_owned).unwrap_or(path))
}

fn groups_of(process: Pid) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{}/cgroup", process.as_raw_nonzero()))
}

fn not_found() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "it is in no control group that is mounted here")
}

/// The path in the hierarchy with that controller, as `/proc/PID/cgroup` has it: version 2, unless it is in one of
/// version 1.
fn path_in(groups: &str, controller: &str) -> Option<(&'static Version, PathBuf)> {
    let path_of = |matches: &dyn Fn(&str) -> bool| {
        // NUMBER:CONTROLLERS:PATH
        groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            matches(controllers).then(|| PathBuf::from(path))
        })
    };
    match path_of(&|controllers| has(controllers, controller)) {
        Some(path) => Some((&V1, path)),
        None => Some((&V2, path_of(&str::is_empty)?)),
    }
}

/// Whether a list of controllers has that one.
fn has(controllers: &str, controller: &str) -> bool {
    controllers.split(',').any(|name| name == controller)
}

/// The group that counts what `controller` does of a process whose `/proc/PID/cgroup` is `groups`. Where several mounts
/// show its hierarchy, one that has its group counts.
fn locate(mounts: &str, groups: &str, controller: &str) -> Option<Place> {
    let (version, path) = path_in(groups, controller)?;
    // NUMBER PARENT DEVICE ROOT MOUNT_POINT OPTIONS … - TYPE SOURCE OPTIONS (proc_pid_mountinfo(5))
    let places = mounts.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let is_it = match *version == V1 {
            true => file_system.starts_with("cgroup ") && has(file_system.rsplit(' ').next()?, controller),
            false => file_system.starts_with("cgroup2 "),
        };
        let mut fields = mount.split(' ').skip(3);
        let (root, mount_point) = is_it.then_some((fields.next()?, fields.next()?))?;
        let mount_point = PathBuf::from(mount_point);
        // Outside of its namespace a group's path begins with `/..`.
        let below = path.strip_prefix(root).ok().filter(|below| !below.starts_with(".."));
        // Without a slash at its end where nothing is below.
        let group = below.map(|below| mount_point.join(below).components().collect());
        Some(Place { version, mount_point, group })
    });
    // The first of those that have it, or else the first.
    places.reduce(|first, next| if first.group.is_none() && next.group.is_some() { next } else { first })
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

    fn located(mounts: &str, groups: &str) -> (&'static str, Option<String>) {
        let place = locate(mounts, groups, "memory").expect("a hierarchy");
        (place.version.limit, place.group.map(|group| group.display().to_string()))
    }

    #[test]
    fn time_is_paid_for_where_nobody_waits_for_it() {
        for (release, finishes) in
            [("6.1.0-50-amd64\n", false), ("6.17.13", false), ("6.18.44-a", true), ("7.2", true), ("", false)]
        {
            assert_eq!(finishes_beyond_quota(release), finishes, "{release}");
        }
    }

    #[test]
    fn groups_are_found_as_hosts_and_containers_have_them() {
        let v2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let at = |path: &str| Some(path.to_owned());
        assert_eq!(located(v2, "0::/user.slice/a\n"), ("memory.max", at("/sys/fs/cgroup/user.slice/a")));
        // A process whose group is outside of its namespace.
        assert_eq!(located(v2, "0::/../b\n"), ("memory.max", None));
        let v1 = "34 31 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                  35 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                  36 31 0:31 / /sys/fs/cgroup/memory rw shared:7 - cgroup cgroup rw,memory\n";
        let both = "4:memory:/docker/c\n1:cpu,cpuacct:/d\n0::/e\n";
        assert_eq!(located(v1, both), ("memory.limit_in_bytes", at("/sys/fs/cgroup/memory/docker/c")));
        let time = locate(v1, both, "cpu").expect("a hierarchy");
        assert_eq!((time.version, time.group), (&V1, Some(PathBuf::from("/sys/fs/cgroup/cpu/d"))));
        // Version 1 is there, and has not the memory controller.
        assert_eq!(located(v1, "1:cpu,cpuacct:/d\n0::/e\n"), ("memory.max", at("/sys/fs/cgroup/unified/e")));
        let inside = v1.replace(" / /sys/fs/cgroup/memory", " /docker/c /sys/fs/cgroup/memory");
        assert_eq!(located(&inside, both), ("memory.limit_in_bytes", at("/sys/fs/cgroup/memory")));
        // Another's group is mounted, and then all of them.
        let other = inside.replace("/docker/c ", "/docker/d ");
        assert_eq!(located(&other, both), ("memory.limit_in_bytes", None));
        let all = other + "37 31 0:31 / /all rw - cgroup cgroup rw,memory\n";
        assert_eq!(located(&all, both), ("memory.limit_in_bytes", at("/all/docker/c")));
        assert!(locate("", both, "memory").is_none() && locate(v1, "", "memory").is_none());
    }
}
