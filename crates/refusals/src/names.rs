//! [`Names`]: how threads are called, as the kernel tells of it.
//!
//! Records of a thread that has ended are read when nobody can be asked for its name any more. So the kernel tells of each
//! name that is taken and each thread that begins or ends, in the same buffers. What threads are called that were there before,
//! or are after a record was lost, is looked up.

use crate::drained::{Allowed, Refusal};
use crate::proc::numbers;
use perf_event::data::Record;
use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// How often it is looked at all threads, where one record after the other is lost: there may be thousands.
const PAUSE: Duration = Duration::from_millis(100);

/// A name with zeros behind it (`TASK_COMM_LEN`).
pub(crate) type Comm = [u8; 16];

/// A request with its time on the monotonic clock, in nanoseconds.
pub(crate) type Timed<T> = (u64, T);

#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<i32, Comm>,
    /// With the time, as in [`Timed`].
    told: Vec<(u64, Told)>,
    /// Something is missing since it was looked at all threads.
    doubtful: bool,
    looked: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Told {
    Named(i32, Comm),
    /// A thread, and who began it.
    Began(i32, i32),
    Ended(i32),
}

impl Names {
    /// Takes in a record, if it is about that.
    pub(crate) fn hear(&mut self, time: u64, record: &Record<'_>) {
        let told = match record {
            Record::Comm(named) => Told::Named(named.tid.cast_signed(), comm(&named.comm)),
            Record::Fork(began) => Told::Began(began.tid.cast_signed(), began.ptid.cast_signed()),
            Record::Exit(ended) => Told::Ended(ended.tid.cast_signed()),
            _ => return,
        };
        self.told.push((time, told));
    }

    /// Takes all threads' names as they are now. Nothing is told of who was there before and takes no other.
    pub(crate) fn look(&mut self) {
        self.doubtful = false;
        self.looked = Some(Instant::now());
        // Another namespace's numbers are others'.
        let own = fs::read_link("/proc/self").ok();
        if own.and_then(|own| own.to_str()?.parse().ok()) != Some(std::process::id()) {
            return;
        }
        for pid in numbers("/proc") {
            for tid in numbers(format!("/proc/{pid}/task")) {
                // Ends with a line break, which is no part of it.
                let name = fs::read(format!("/proc/{pid}/task/{tid}/comm")).ok();
                if let Some([name @ .., _]) = name.as_deref() {
                    self.known.insert(tid, comm(name));
                }
            }
        }
    }

    /// A record is missing that may have been about any of them.
    pub(crate) fn doubt(&mut self) {
        self.known.clear();
        self.told.clear();
        self.doubtful = true;
    }

    /// Looks again after a [doubt](Self::doubt), unless that was done just now.
    pub(crate) fn look_if_doubtful(&mut self) {
        if self.doubtful && self.looked.is_none_or(|looked| looked.elapsed() >= PAUSE) {
            self.look();
        }
    }

    /// Names those who are known, as they were called then. All requests are older than `end`, and in the order of their time;
    /// what is told of the time from `end` on waits for those that come next.
    pub(crate) fn name(&mut self, end: u64, refusals: &mut [Timed<Refusal>], allowed: &mut [Timed<Allowed>]) {
        self.told.sort_by_key(|(time, _)| *time);
        let later = self.told.split_off(self.told.partition_point(|(time, _)| *time < end));
        let told = std::mem::replace(&mut self.told, later);
        let (mut refusals, mut allowed) = (refusals.iter_mut().peekable(), allowed.iter_mut().peekable());
        for (time, told) in told {
            while let Some((_, refusal)) = refusals.next_if(|(then, _)| *then < time) {
                refusal.program = self.known.get(&refusal.tid).copied();
            }
            while let Some((_, allowed)) = allowed.next_if(|(then, _)| *then < time) {
                allowed.program = self.known.get(&allowed.tid).copied();
            }
            self.take(told);
        }
        refusals.for_each(|(_, refusal)| refusal.program = self.known.get(&refusal.tid).copied());
        allowed.for_each(|(_, allowed)| allowed.program = self.known.get(&allowed.tid).copied());
    }

    fn take(&mut self, told: Told) {
        match told {
            // Those of other pid namespaces have no number here.
            Told::Named(tid, _) | Told::Began(tid, _) if tid <= 0 => {}
            Told::Named(tid, comm) => drop(self.known.insert(tid, comm)),
            Told::Began(tid, by) => match self.known.get(&by).copied() {
                Some(comm) => drop(self.known.insert(tid, comm)),
                None => drop(self.known.remove(&tid)),
            },
            Told::Ended(tid) => drop(self.known.remove(&tid)),
        }
    }
}

/// A name of at most 15 bytes.
fn comm(name: &[u8]) -> Comm {
    let mut comm = Comm::default();
    let length = name.len().min(comm.len() - 1);
    comm[..length].copy_from_slice(&name[..length]);
    comm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::AllowedRequest;
    use ringwarden_uapi::Opcode;
    use ringwarden_uapi::ring::SqeFlags;
    use std::time::SystemTime;

    fn comm(name: &str) -> Comm {
        super::comm(name.as_bytes())
    }

    fn named(names: &mut Names, end: u64, requests: &[(u64, i32)]) -> Vec<Option<Comm>> {
        let request = AllowedRequest { opcode: Opcode::NOP, flags: SqeFlags::empty(), user_data: 0 };
        let of = |&(time, tid): &(u64, i32)| {
            (time, Allowed { time: SystemTime::UNIX_EPOCH, pid: tid, tid, program: None, request })
        };
        let mut allowed: Vec<_> = requests.iter().map(of).collect();
        names.name(end, &mut [], &mut allowed);
        allowed.iter().map(|(_, allowed)| allowed.program).collect()
    }

    #[test]
    fn a_request_has_the_name_of_its_time() {
        let mut names = Names::default();
        // As they come from two processors.
        names.told.extend([
            (5, Told::Named(7, comm("second"))),
            (8, Told::Ended(7)),
            (1, Told::Named(7, comm("first"))),
            (6, Told::Began(8, 7)),
        ]);
        let expected = [None, Some(comm("first")), Some(comm("second")), Some(comm("second")), None];
        assert_eq!(named(&mut names, 10, &[(0, 7), (4, 7), (5, 7), (7, 8), (9, 7)]), expected);
        // What is known is known from then on, and no longer when something is missing.
        assert_eq!(named(&mut names, 11, &[(10, 8)]), [Some(comm("second"))]);
        names.doubt();
        assert_eq!(named(&mut names, 12, &[(11, 8)]), [None]);
    }

    #[test]
    fn children_of_who_was_there_before_have_a_name() {
        let mut names = Names::default();
        let own = rustix::thread::gettid().as_raw_nonzero().get();
        let name = fs::read("/proc/thread-self/comm").expect("a name");
        let name = super::comm(name.trim_ascii_end());
        names.look();
        names.told.push((1, Told::Began(1 << 23, own)));
        assert_eq!(named(&mut names, 5, &[(2, own), (2, 1 << 23)]), [Some(name), Some(name)]);
        names.doubt();
        names.look_if_doubtful();
        assert_eq!(named(&mut names, 6, &[(5, own)]), [None], "a moment ago");
        names.looked = None;
        names.look_if_doubtful();
        assert_eq!(named(&mut names, 7, &[(6, own)]), [Some(name)]);
    }

    #[test]
    fn who_has_ended_meanwhile_still_has_a_name() {
        let mut names = Names::default();
        names.told.extend([(1, Told::Named(7, comm("first"))), (6, Told::Ended(7))]);
        assert_eq!(named(&mut names, 5, &[(2, 7)]), [Some(comm("first"))]);
        assert_eq!(named(&mut names, 10, &[(5, 7), (6, 7)]), [Some(comm("first")), None]);
    }

    #[test]
    fn nobody_has_the_name_of_who_had_the_number_before() {
        let mut names = Names::default();
        names.told.push((1, Told::Named(7, comm("old"))));
        names.told.push((2, Told::Began(7, 1)));
        names.told.push((3, Told::Named(0, comm("elsewhere"))));
        assert_eq!(named(&mut names, 5, &[(4, 7), (4, 0)]), [None, None]);
    }
}
