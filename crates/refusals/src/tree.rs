//! [`Tree`]: a process and its descendants.

use crate::Unavailable;
use crate::proc::numbers;
use crate::sampler::on_all;
use perf_event::data::Record;
use perf_event::events::Software;
use perf_event::{Builder, Clock, Sampler};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

/// The size of a processor's buffer: room for 1000 processes that begin and end.
const BUFFER: usize = 128 << 10;
/// So many members are known before it is looked who has ended.
const MANY: usize = 1024;

/// A process and its descendants, followed by what the kernel tells of every process of the machine that begins
/// (`PERF_RECORD_FORK`).
///
/// Events of the machine, since those of a task cost it some microseconds at each switch, and make it wait for
/// about 10 ms when the first of a kernel is opened (`account_event`, `perf_event_task_sched_out` in
/// `kernel/events/core.c`).
pub(crate) struct Tree {
    root: i32,
    /// One a processor.
    buffers: Vec<Sampler>,
    /// Read, but somebody who began earlier may not have been.
    held: Vec<Begun>,
    /// Some may have ended.
    members: HashSet<i32>,
    /// Of the members those that are known to have ended.
    ended: HashSet<i32>,
    /// One that had not when it was chosen: as long as it runs, not everybody has.
    watched: Option<(i32, OwnedFd)>,
    /// So many members are too many.
    many: usize,
}

/// A process that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begun {
    time: u64,
    pid: i32,
    parent: i32,
}

impl Tree {
    /// Follows a process and who descends from it already, where that can still be seen.
    pub(crate) fn of(root: i32) -> Result<Self, Unavailable> {
        let mut builder = Builder::new(Software::DUMMY);
        builder.any_pid().task(true).clockid(Clock::MONOTONIC);
        let mut tree = Self {
            root,
            buffers: on_all(&mut builder, BUFFER)?,
            held: Vec::new(),
            members: HashSet::from([root]),
            ended: HashSet::new(),
            watched: None,
            many: MANY,
        };
        tree.buffers.iter_mut().try_for_each(|event| event.enable())?;
        // From here on nobody begins unheard.
        if !exists(root) {
            return Err(Unavailable::NoProcess(root));
        }
        if may_have_children(root) {
            tree.look();
        }
        tree.choose();
        Ok(tree)
    }

    /// Takes in who has begun. Afterwards everybody is known who had begun before.
    pub(crate) fn catch_up(&mut self) {
        let mut begun = std::mem::take(&mut self.held);
        begun.extend(self.read());
        let Some(last) = begun.iter().map(|begun| begun.time).max() else { return };
        // A parent may have begun on a processor whose buffer had been read when its child began on another.
        begun.extend(self.read());
        begun.sort_by_key(|begun| begun.time);
        let held = begun.split_off(begun.partition_point(|begun| begun.time <= last));
        self.held = held;
        begun.into_iter().for_each(|begun| self.tell(begun));
    }

    fn read(&mut self) -> Vec<Begun> {
        let mut begun = Vec::new();
        let mut lost = false;
        for buffer in &mut self.buffers {
            while let Some(record) = buffer.next_record() {
                match record.parse_record() {
                    Ok(Record::Fork(fork)) if fork.pid != fork.ppid => begun.push(Begun {
                        time: fork.time,
                        pid: fork.pid.cast_signed(),
                        parent: fork.ppid.cast_signed(),
                    }),
                    Ok(Record::Lost(_)) => lost = true,
                    _ => {}
                }
            }
        }
        if lost {
            self.look();
        }
        begun
    }

    /// A number that belonged to a member may be another's by now.
    fn tell(&mut self, begun: Begun) {
        if self.members.contains(&begun.parent) && begun.pid > 0 {
            self.members.insert(begun.pid);
        } else {
            self.members.remove(&begun.pid);
        }
    }

    pub(crate) fn has(&self, process: i32) -> bool {
        self.members.contains(&process)
    }

    /// Whom to [forget](Self::forget) when what they were refused has been told of.
    pub(crate) fn ended(&mut self) -> HashSet<i32> {
        let mut ended = std::mem::take(&mut self.ended);
        if self.members.len() >= self.many {
            ended.extend(self.members.iter().filter(|&&process| !exists(process)));
            self.many = MANY.max(2 * self.members.len().saturating_sub(ended.len()));
        }
        ended
    }

    pub(crate) fn forget(&mut self, ended: &HashSet<i32>) {
        for process in ended {
            self.members.remove(process);
        }
    }

    /// What to wait for beside: descriptors of processors' events.
    pub(crate) fn buffers(&self) -> &[Sampler] {
        &self.buffers
    }

    /// What is readable when it may be that everybody has ended, unless that is so.
    pub(crate) fn watched(&self) -> Option<&OwnedFd> {
        self.watched.as_ref().map(|(_, process)| process)
    }

    /// The watched process has ended: watches another, if one is left.
    pub(crate) fn one_has_ended(&mut self) {
        // Its children.
        self.catch_up();
        self.ended.extend(self.watched.take().map(|(process, _)| process));
        self.choose();
    }

    fn choose(&mut self) {
        while let Some(process) = self.one_that_runs() {
            let pid = Pid::from_raw(process).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
            if let Some(Ok(descriptor)) = pid {
                self.watched = Some((process, descriptor));
                return;
            }
            self.ended.insert(process);
        }
    }

    /// The first of them, as long as it may be running, else any.
    fn one_that_runs(&self) -> Option<i32> {
        let mut running = self.members.difference(&self.ended).copied();
        if self.has(self.root) && !self.ended.contains(&self.root) { Some(self.root) } else { running.next() }
    }

    /// Whose parents are members is one.
    fn look(&mut self) {
        let parents = parents();
        loop {
            let known = self.members.len();
            let children = parents.iter().filter(|(_, parent)| self.members.contains(*parent));
            let children: Vec<_> = children.map(|(&process, _)| process).collect();
            self.members.extend(children);
            if self.members.len() == known {
                return;
            }
        }
    }
}

fn exists(process: i32) -> bool {
    // May be another user's.
    Pid::from_raw(process).is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Whether it is worth while to look at all processes.
fn may_have_children(process: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return true };
    // Not in every kernel (CONFIG_PROC_CHILDREN). Reliable in that somebody is named where there are some.
    let mut lists = threads.flatten().map(|thread| fs::read_to_string(thread.path().join("children")));
    lists.any(|list| list.map_or(true, |list| !list.is_empty()))
}

/// The parent of each process that is seen.
fn parents() -> HashMap<i32, i32> {
    numbers("/proc").filter_map(|process| Some((process, parent(process).ok()??))).collect()
}

fn parent(process: i32) -> io::Result<Option<i32>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the program's name, which may hold anything: the state, the parent (proc_pid_stat(5)).
    Ok(stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(members: &[i32]) -> Tree {
        let members = members.iter().copied().collect();
        Tree {
            root: 10,
            buffers: Vec::new(),
            held: Vec::new(),
            members,
            ended: HashSet::new(),
            watched: None,
            many: MANY,
        }
    }

    fn begins(tree: &mut Tree, pid: i32, parent: i32) {
        tree.tell(Begun { time: 0, pid, parent });
    }

    #[test]
    fn who_descends_is_a_member_until_a_stranger_has_the_number() {
        let mut tree = tree(&[10]);
        begins(&mut tree, 11, 10);
        begins(&mut tree, 12, 11);
        begins(&mut tree, 13, 1);
        assert!(tree.has(12) && !tree.has(13));
        begins(&mut tree, 11, 1);
        assert!(!tree.has(11) && tree.has(12));
        // Processes of other pid namespaces have no number here.
        begins(&mut tree, 0, 12);
        assert!(!tree.has(0));
    }

    #[test]
    fn who_is_there_already_is_found_by_parents() {
        let own = std::process::id().cast_signed();
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        let pid = child.id().cast_signed();
        assert_eq!(parent(pid).expect("a parent"), Some(own));
        assert!(may_have_children(own));
        let mut tree = tree(&[own]);
        tree.look();
        assert!(tree.has(pid));
        drop(child.stdin.take());
        child.wait().expect("an end");
        assert!(!exists(pid));
    }

    #[test]
    fn of_many_members_those_that_have_ended_are_forgotten() {
        let own = std::process::id().cast_signed();
        let mut tree = tree(&[own]);
        // Beyond what a kernel gives (PID_MAX_LIMIT is 1 << 22).
        tree.members.extend((1 << 22)..(1 << 22) + MANY as i32);
        let ended = tree.ended();
        assert_eq!(ended.len(), MANY);
        tree.forget(&ended);
        assert!(tree.members == HashSet::from([own]));
        assert!(tree.ended().is_empty());
    }

    #[test]
    fn as_long_as_one_runs_not_all_have_ended() {
        let own = std::process::id().cast_signed();
        let mut tree = tree(&[1 << 22, own]);
        tree.choose();
        assert_eq!(tree.watched.as_ref().map(|(process, _)| *process), Some(own));
        tree.one_has_ended();
        // What they were refused may not have been told of yet.
        assert!(tree.watched().is_none() && tree.has(own));
        let ended = tree.ended();
        tree.forget(&ended);
        assert!(tree.members.is_empty());
    }
}
