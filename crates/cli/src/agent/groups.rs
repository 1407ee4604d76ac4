//! Control groups of containers by number, as the kernel names them where it tells of a process that may have ended since.

use super::container::Container;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The root of each hierarchy (`kernfs_create_root` in fs/kernfs/dir.c of 6.18), in which everybody is who is in no group.
const ROOT: u64 = 1;
/// So many are remembered, also of containers that have ended.
const MOST_KNOWN: usize = 4096;
/// So many groups of one container are looked at: it may make them as it likes.
const MOST_BELOW: usize = 1024;

/// The groups that are known. No number comes twice, and no group changes its place.
#[derive(Debug, Default)]
pub(super) struct Groups {
    containers: HashMap<u64, Container>,
    /// The numbers, in the order in which they became known.
    order: VecDeque<u64>,
    /// No container's.
    foreign: HashSet<u64>,
}

impl Groups {
    /// The group with that folder is a container's.
    pub(super) fn note(&mut self, folder: &Path, container: &Container) {
        // Its groups may have been looked for before it was there.
        self.foreign.clear();
        if let Some(number) = number(folder) {
            self.remember(number, container);
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

    /// Whose the group of that number is: known before, or below one of those folders.
    pub(super) fn whose<'a>(
        &mut self,
        wanted: u64,
        folders: impl Iterator<Item = (&'a Path, &'a Container)>,
    ) -> Option<Container> {
        if wanted == ROOT || self.foreign.contains(&wanted) {
            return None;
        }
        if let Some(container) = self.containers.get(&wanted) {
            return Some(container.clone());
        }
        let found =
            { folders }.find(|(folder, _)| number(folder) == Some(wanted) || has_below(folder, wanted));
        let found = found.map(|(_, container)| container.clone());
        match &found {
            Some(container) => self.remember(wanted, container),
            None if self.foreign.len() < MOST_KNOWN => drop(self.foreign.insert(wanted)),
            None => {}
        }
        found
    }
}

/// The number of the group with that folder, unless it is a root.
fn number(folder: &Path) -> Option<u64> {
    fs::metadata(folder).ok().map(|metadata| metadata.ino()).filter(|&number| number != ROOT)
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
    #[test]
    fn a_group_is_whose_it_is_below_also_when_it_has_gone() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = |name: &str| {
            let folder = root.path().join(name);
            fs::create_dir_all(&folder).expect("a folder");
            let number = number(&folder).expect("a number");
            (folder, number)
        };
        let ((web, of_web), (db, of_db)) = (folder("web"), folder("db"));
        let (_, foreign) = folder("foreign");
        let containers = [(&web, container("web")), (&db, container("db"))];
        let mut groups = Groups::default();
        let whose = |groups: &mut Groups, number| {
            let folders = containers.iter().map(|(folder, container)| (folder.as_path(), container));
            groups.whose(number, folders).map(|container| container.id)
        };
        groups.note(&web, &containers[0].1);
        // Made later, and by the containers themselves.
        let (deep, of_deep) = folder("db/a/b");
        assert_eq!(whose(&mut groups, of_web).as_deref(), Some("web"));
        assert_eq!(whose(&mut groups, of_db).as_deref(), Some("db"));
        assert_eq!(whose(&mut groups, of_deep).as_deref(), Some("db"));
        for nobodys in [foreign, ROOT, u64::MAX] {
            assert_eq!(whose(&mut groups, nobodys), None);
        }
        fs::remove_dir(&deep).expect("an empty folder");
        assert_eq!(whose(&mut groups, of_deep).as_deref(), Some("db"));
    }

    #[test]
    fn what_was_nobodys_is_asked_for_again_when_a_container_begins() {
        let root = tempfile::tempdir().expect("a folder");
        let below = root.path().join("below");
        fs::create_dir(&below).expect("a folder");
        let (mut groups, own) = (Groups::default(), container("own"));
        let number = number(&below).expect("a number");
        assert_eq!(groups.whose(number, std::iter::empty()), None);
        groups.note(root.path(), &own);
        assert_eq!(groups.whose(number, [(root.path(), &own)].into_iter()), Some(own.clone()));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (mut groups, own) = (Groups::default(), container("own"));
        for number in 2..MOST_KNOWN as u64 + 100 {
            groups.remember(number, &own);
        }
        assert_eq!((groups.containers.len(), groups.order.len()), (MOST_KNOWN, MOST_KNOWN));
        assert!(!groups.containers.contains_key(&2));
    }
}
