//! Threads that cannot run, and so are not to blame for what takes long.

use crate::program::proc;
use rustix::process::Pid;
use std::path::{Path, PathBuf};

/// Where the freezers of control groups are.
#[derive(Debug, Default)]
pub(crate) struct Freezers {
    /// Control groups of version 2.
    unified: Option<PathBuf>,
    /// The hierarchy of version 1 with the freezer.
    legacy: Option<PathBuf>,
}

impl Freezers {
    /// As this process sees them mounted.
    pub(crate) fn find() -> Self {
        mounted(&proc::read("/proc/self/mountinfo".as_ref()).unwrap_or_default())
    }

    /// Whether `tid` waits for nothing of its own: its control group is frozen, or it is to run and no
    /// processor takes it.
    pub(crate) fn cannot_run(&self, tid: Pid) -> bool {
        is_runnable(&proc::text(tid, "stat").unwrap_or_default()) || self.freeze(tid)
    }

    /// Whether its control group is frozen.
    pub(crate) fn freeze(&self, tid: Pid) -> bool {
        proc::text(tid, "cgroup").unwrap_or_default().lines().any(|line| self.is_frozen(line))
    }

    /// Whether the group that a line of `/proc/PID/cgroup` names is frozen, or one above it.
    fn is_frozen(&self, line: &str) -> bool {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            let Some(root) = &self.unified else { return false };
            let group = root.join(path);
            return group
                .ancestors()
                .take_while(|group| group.starts_with(root))
                .any(|group| says(&group.join("cgroup.freeze"), &["1"]));
        }
        let Some(root) = &self.legacy else { return false };
        controllers.split(',').any(|controller| controller == "freezer")
            && says(&root.join(path).join("freezer.state"), &["FROZEN", "FREEZING"])
    }
}

fn says(file: &Path, words: &[&str]) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| words.contains(&text.trim()))
}

/// Whether a thread's `stat` has it in state R. Its name, in parentheses, may hold anything.
fn is_runnable(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('R'))
}

/// The mounts of the first root of each kind in the text of a `mountinfo` file.
fn mounted(mounts: &str) -> Freezers {
    let mut freezers = Freezers::default();
    for line in mounts.lines() {
        let Some((place, kind)) = line.split_once(" - ") else { continue };
        let Some(at) = place.split(' ').nth(4).map(PathBuf::from) else { continue };
        let mut kind = kind.split(' ');
        match (kind.next(), kind.nth(1)) {
            (Some("cgroup2"), _) => drop(freezers.unified.get_or_insert(at)),
            (Some("cgroup"), Some(options)) if options.split(',').any(|option| option == "freezer") => {
                freezers.legacy.get_or_insert(at);
            }
            _ => {}
        }
    }
    freezers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freezers_are_found_among_mounts() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
                      32 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      33 30 0:29 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n";
        let freezers = mounted(mounts);
        assert_eq!(freezers.unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(freezers.legacy.as_deref(), Some(Path::new("/sys/fs/cgroup/freezer")));
    }

    #[test]
    fn a_group_is_frozen_when_one_above_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().to_owned();
        std::fs::create_dir_all(root.join("a/b")).expect("groups");
        let freezers = Freezers { unified: Some(root.clone()), legacy: Some(root.clone()) };
        assert!(!freezers.is_frozen("0::/a/b"));
        std::fs::write(root.join("a/b/cgroup.freeze"), "0\n").expect("write");
        std::fs::write(root.join("a/cgroup.freeze"), "1\n").expect("write");
        assert!(freezers.is_frozen("0::/a/b") && freezers.is_frozen("0::/a"));
        assert!(!freezers.is_frozen("0::/"));
        std::fs::write(root.join("a/freezer.state"), "FREEZING\n").expect("write");
        assert!(freezers.is_frozen("3:devices,freezer:/a") && !freezers.is_frozen("3:devices:/a"));
        for text in ["", "0", "0:", "x:y", "0::/nowhere"] {
            assert!(!freezers.is_frozen(text), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_no_state() {
        assert!(is_runnable("7 (sh) R 1 7 7"));
        assert!(!is_runnable("7 (a) R b) S 1 7 7"));
        assert!(!is_runnable(""));
    }
}
