//! The control groups that pay for rings.

use rustix::fd::OwnedFd;
use rustix::io::{Errno, write};

/// Control groups, of version 1 or 2 (cgroups(7)), that pay for what [`Maker`](super::Maker) makes: each ring is made
/// by a process of its own, which is in these groups for as long as that takes. Without any, the calling process's pay.
///
/// What the maker does besides is paid by its own groups, and so nobody in these can hold it up, freeze it or kill it.
#[derive(Debug, Default)]
pub struct ControlGroups {
    /// Of each group of version 1 the file `tasks`, open for writing: whoever has opened it has the right to move
    /// processes (`__cgroup1_procs_write`, `kernel/cgroup/cgroup-v1.c`). That of the cpu controller comes last. Before
    /// Linux 6.18 it should not be among them: with no time left in the group, the process may have to wait in the middle of
    /// moving, and with it everybody who changes control groups.
    pub tasks: Vec<OwnedFd>,
    /// The folder of a group of version 2 that may have processes, which one with controllers for those below it may
    /// not.
    pub folder: Option<OwnedFd>,
}

impl ControlGroups {
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.folder.is_none()
    }

    /// Moves the calling process, which has one thread, into those of version 1. That waits for nobody else's fork or
    /// exec, as moving another would (`cgroup_procs_write_start`, `kernel/cgroup/cgroup.c`).
    ///
    /// # Errors
    /// `ENOMEM`, such as where a group is gone.
    pub(super) fn enter(&self) -> Result<(), Errno> {
        for tasks in &self.tasks {
            write(tasks, b"0").map_err(|_| Errno::NOMEM)?;
        }
        Ok(())
    }
}
