//! Control groups of containers by number, as the kernel names them where it tells of a process that may have ended since.

use super::container::Container;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The root of each hierarchy (`kernfs_create_root` in fs/kernfs/dir.c of 6.18), in which everybody is who is in no group.
const ROOT: u64 = 1;
/// So many are remembered.
const MOST_KNOWN: usize = 4096;
/// So many groups of one container are looked at: it may make them as it likes.
const MOST_BELOW: usize = 1024;
/// For so long a container's groups are known to be its when it has ended: what was refused to it is heard of by then.
const AFTER_THE_END: Duration = Duration::from_secs(10);

/// A container's group: its number, and its folder, where others are below it.
#[derive(Clone, Debug)]
pub(super) struct Group {
    number: u64,
    folder: PathBuf,
}

impl Group {
    /// The one with that folder; none for a root, in which everybody is.
    pub(super) fn at(folder: PathBuf) -> Option<Self> {
        let number = fs::metadata(&folder).ok()?.ino();
        (number != ROOT).then_some(Self { number, folder })
    }
}

/// Whose a group is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// That container's, or nobody's.
    Known(Option<Container>),
    /// One that has to be [looked for](look_for).
    Unknown,
}

/// What is known of groups beyond those of containers that are there: no number comes twice, and no group changes its place.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Of containers that have ended, and below those of others.
    containers: HashMap<u64, Container>,
    /// Their numbers, in the order in which they became known.
    order: VecDeque<u64>,
    /// No container's.
    foreign: HashSet<u64>,
    /// When containers have ended.
    ended: VecDeque<(Instant, Container)>,
}

impl Groups {
    /// A container has begun: its groups may have been looked for before it was there.
    pub(super) fn begin(&mut self) {
        self.foreign.clear();
    }

    /// It has ended.
    pub(super) fn end(&mut self, now: Instant, group: Option<&Group>, container: Container) {
        if let Some(group) = group {
            self.remember(group.number, &container);
        }
        self.ended.push_back((now, container));
        self.forget(now);
    }

    /// What has ended long enough ago.
    fn forget(&mut self, now: Instant) {
        while self.ended.front().is_some_and(|(end, _)| now.duration_since(*end) > AFTER_THE_END)
            && let Some((_, gone)) = self.ended.pop_front()
        {
            self.containers.retain(|_, container| *container != gone);
            self.order.retain(|number| self.containers.contains_key(number));
        }
    }

    fn remember(&mut self, number: u64, container: &Container) {
        if self.order.len() >= MOST_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.containers.remove(&oldest);
        }
        if self.containers.insert(number, container.clone()).is_none() {
            self.order.push_back(number);
        }
    }

    /// Whose the group of that number is, as far as that is known. `there` are the containers that are there.
    pub(super) fn whose<'a>(
        &mut self,
        now: Instant,
        wanted: u64,
        mut there: impl Iterator<Item = (&'a Group, &'a Container)>,
    ) -> Whose {
        if wanted == ROOT {
            return Whose::Known(None);
        }
        self.forget(now);
        if let Some((_, container)) = there.find(|(group, _)| group.number == wanted) {
            return Whose::Known(Some(container.clone()));
        }
        match self.containers.get(&wanted) {
            Some(container) => Whose::Known(Some(container.clone())),
            None if self.foreign.contains(&wanted) => Whose::Known(None),
            None => Whose::Unknown,
        }
    }

    /// That has been found out.
    pub(super) fn found(&mut self, number: u64, container: Option<&Container>) {
        match container {
            Some(container) => self.remember(number, container),
            None => {
                if self.foreign.len() >= MOST_KNOWN {
                    self.foreign.clear();
                }
                self.foreign.insert(number);
            }
        }
    }
}

/// The container in whose group that one is, the innermost.
pub(super) fn look_for(wanted: u64, there: &[(Group, Container)]) -> Option<&Container> {
    let above = there.iter().filter(|(group, _)| has_below(&group.folder, wanted));
    above.max_by_key(|(group, _)| group.folder.components().count()).map(|(_, container)| container)
}

/// Whether a group of that number is below that folder.
fn has_below(folder: &Path, wanted: u64) -> bool {
    let mut left = MOST_BELOW;
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for group in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if group.ino() == wanted {
                return true;
            }
            if left == 0 {
                return false;
            }
            left -= 1;
            folders.push(group.path());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str) -> Container {
        Container { id: id.into(), pod: None, namespace: None, policy: String::new() }
    }

    /// Folders of any file system have numbers.
    fn group(root: &Path, name: &str) -> Group {
        let folder = root.join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Group::at(folder).expect("a number")
    }

    /// As who asks for it does.
    fn whose(groups: &mut Groups, now: Instant, number: u64, there: &[(Group, Container)]) -> Option<String> {
        let known = groups.whose(now, number, there.iter().map(|(group, container)| (group, container)));
        let container = match known {
            Whose::Known(container) => container,
            Whose::Unknown => {
                let found = look_for(number, there);
                groups.found(number, found);
                found.cloned()
            }
        };
        container.map(|container| container.id)
    }

    #[test]
    fn a_group_is_the_innermost_containers_above_it_and_for_a_while_when_that_has_ended() {
        let root = tempfile::tempdir().expect("a folder");
        let of = |name: &str| (group(root.path(), name), container(name));
        let there = [of("web"), of("db"), of("db/inner")];
        let foreign = group(root.path(), "foreign").number;
        let (deep, deeper) = (group(root.path(), "db/a/b"), group(root.path(), "db/inner/c"));
        let (mut groups, now) = (Groups::default(), Instant::now());
        let expected = [
            (there[0].0.number, Some("web")),
            (there[1].0.number, Some("db")),
            (there[2].0.number, Some("db/inner")),
            (deep.number, Some("db")),
            (deeper.number, Some("db/inner")),
            (foreign, None),
            (ROOT, None),
            (u64::MAX, None),
        ];
        // The second time they are known.
        for _ in 0..2 {
            for (number, id) in expected {
                assert_eq!(whose(&mut groups, now, number, &there).as_deref(), id, "{number}");
            }
        }
        groups.end(now, Some(&there[0].0), there[0].1.clone());
        groups.end(now, Some(&there[1].0), there[1].1.clone());
        fs::remove_dir(&deep.folder).expect("an empty folder");
        let [_, _, inner] = &there;
        let inner = std::slice::from_ref(inner);
        for (seconds, web, below) in [(9, Some("web"), Some("db")), (11, None, None)] {
            let then = now + Duration::from_secs(seconds);
            assert_eq!(whose(&mut groups, then, there[0].0.number, inner).as_deref(), web);
            assert_eq!(whose(&mut groups, then, deep.number, inner).as_deref(), below);
            assert_eq!(whose(&mut groups, then, deeper.number, inner).as_deref(), Some("db/inner"));
        }
    }

    #[test]
    fn who_is_there_comes_before_who_has_ended_in_the_same_group() {
        let root = tempfile::tempdir().expect("a folder");
        let shared = group(root.path(), "shared");
        let (mut groups, now) = (Groups::default(), Instant::now());
        groups.end(now, Some(&shared), container("first"));
        let there = [(shared.clone(), container("second"))];
        assert_eq!(whose(&mut groups, now, shared.number, &there).as_deref(), Some("second"));
    }

    /// Also where nothing is ever refused, so that nobody asks.
    #[test]
    fn who_has_ended_is_not_remembered_for_ever() {
        let (mut groups, now) = (Groups::default(), Instant::now());
        for minute in 0..100 {
            groups.end(now + Duration::from_secs(60 * minute), None, container("probe"));
        }
        assert_eq!(groups.ended.len(), 1);
    }

    #[test]
    fn what_was_nobodys_is_asked_for_again_when_a_container_begins() {
        let root = tempfile::tempdir().expect("a folder");
        let (own, below) = (group(root.path(), "own"), group(root.path(), "own/below"));
        let (mut groups, now) = (Groups::default(), Instant::now());
        assert_eq!(whose(&mut groups, now, below.number, &[]), None);
        let there = [(own, container("own"))];
        assert_eq!(whose(&mut groups, now, below.number, &there), None);
        groups.begin();
        assert_eq!(whose(&mut groups, now, below.number, &there).as_deref(), Some("own"));
    }

    #[test]
    fn the_oldest_are_forgotten_and_a_root_is_nobodys() {
        let (mut groups, own) = (Groups::default(), container("own"));
        for number in 2..MOST_KNOWN as u64 + 100 {
            groups.found(number, Some(&own));
            groups.found(number + (1 << 32), None);
        }
        assert_eq!((groups.containers.len(), groups.order.len()), (MOST_KNOWN, MOST_KNOWN));
        assert!(!groups.containers.contains_key(&2) && groups.foreign.len() <= MOST_KNOWN);
        // All of these file systems number their roots so.
        assert!(Group::at("/sys".into()).is_none());
    }
}
