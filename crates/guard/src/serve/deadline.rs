//! An end for notifications that a hostile program drags out.

use rustix::fd::OwnedFd;
use rustix::process::Pid;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Notifications are answered in well under a millisecond. One that takes this many ticks of a second
/// is being held up, in a way that a program can only bring about on purpose.
const TICKS: u32 = 5;
/// What a tick counts that comes in time.
const WHOLE: u32 = 8;

/// What a tick counts that comes so late. Where the main thread, which hardly does anything, waits for a processor, the
/// thread that serves waits, too, and longer; and what is emulated beside others does not even know that it waits. A
/// program can make a machine busy, so that no tick counts nothing: forty seconds are the most.
pub(crate) fn weight(late: Duration) -> u32 {
    match late.as_millis() {
        ..10 => WHOLE,
        10..50 => WHOLE / 4,
        50.. => WHOLE / 8,
    }
}

/// Of one serving thread: set by it, looked at by the main thread once a second.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    id: AtomicU64,
    /// 0 between notifications.
    tid: AtomicI32,
    /// A notification is being served, even where its time does not count.
    busy: AtomicBool,
    /// The process that made a call, by the notification.
    caller: Mutex<Option<(u64, Arc<OwnedFd>)>>,
    seen: Mutex<Seen>,
}

/// What the last tick found.
#[derive(Debug, Default)]
struct Seen {
    notification: Option<(u64, Pid)>,
    /// What they count.
    ticks: u32,
    times: u32,
    /// It has been named before.
    named: bool,
}

/// A notification that is being served for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overdue {
    pub(crate) id: u64,
    pub(crate) tid: Pid,
    /// How often it has been named before without being excused.
    pub(crate) times: u32,
}

impl Deadline {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The notification `id` of the thread `tid` is being served from now on.
    pub(crate) fn serving(&self, id: u64, tid: Pid) {
        self.busy.store(true, Ordering::Release);
        self.id.store(id, Ordering::Relaxed);
        self.tid.store(tid.as_raw_nonzero().get(), Ordering::Release);
    }

    /// It no longer is.
    pub(crate) fn done(&self) {
        self.tid.store(0, Ordering::Release);
        self.busy.store(false, Ordering::Release);
    }

    /// Whether a notification is being served.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// The notification is known to be of that process, which keeps its pidfd when an exec takes the thread
    /// away.
    pub(crate) fn is_of(&self, id: u64, process: Arc<OwnedFd>) {
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, process));
    }

    /// The process that made the call of the notification `id`, if that is known.
    pub(crate) fn caller(&self, id: u64) -> Option<Arc<OwnedFd>> {
        let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        caller.as_ref().filter(|(of, _)| *of == id).map(|(_, process)| Arc::clone(process))
    }

    /// Does `work` that the program is not to blame for: its time does not count.
    pub(crate) fn uncounted<T>(&self, work: impl FnOnce() -> T) -> T {
        let tid = self.tid.swap(0, Ordering::AcqRel);
        let result = work();
        self.tid.store(tid, Ordering::Release);
        result
    }

    /// The notification that is being served, if it was at the last tick, too.
    pub(crate) fn lasting(&self) -> Option<(u64, Pid)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.notification.filter(|_| seen.notification == self.current())
    }

    fn current(&self) -> Option<(u64, Pid)> {
        let tid = Pid::from_raw(self.tid.load(Ordering::Acquire));
        tid.map(|tid| (self.id.load(Ordering::Relaxed), tid))
    }

    /// What goes on now is not the program's doing: its time counts from here.
    pub(crate) fn begin_anew(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).ticks = 0;
    }

    /// It has been named for what is not its doing: its time counts from here.
    pub(crate) fn excuse(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.ticks = 0;
        seen.times = seen.times.saturating_sub(1);
    }

    /// Whether the current notification has been named.
    pub(crate) fn is_stuck(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).named
    }

    /// The notification that was being served, and no other, at each of the last ticks, of which this
    /// call is one, with that [`weight`]. It is named once, and again when as many ticks have passed.
    pub(crate) fn overdue(&self, weight: u32) -> Option<Overdue> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // The two may be of different notifications, but not at every tick: no number comes twice.
        let notification = self.current();
        if notification != seen.notification {
            *seen = Seen { notification, ..Seen::default() };
        }
        seen.ticks += weight;
        if seen.ticks < TICKS * WHOLE {
            return None;
        }
        seen.ticks = 0;
        let (id, tid) = notification?;
        seen.times += 1;
        seen.named = true;
        Some(Overdue { id, tid, times: seen.times - 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tid(number: i32) -> Pid {
        Pid::from_raw(number).expect("a thread")
    }

    /// What each of so many ticks says.
    fn ticks(deadline: &Deadline, count: u32) -> Vec<Option<Overdue>> {
        (0..count).map(|_| deadline.overdue(WHOLE)).collect()
    }

    #[test]
    fn a_notification_is_overdue_when_it_has_been_served_for_all_ticks() {
        let deadline = Deadline::new();
        deadline.serving(7, tid(1));
        assert_eq!(ticks(&deadline, TICKS - 1), vec![None; TICKS as usize - 1]);
        assert_eq!(deadline.overdue(WHOLE), Some(Overdue { id: 7, tid: tid(1), times: 0 }));
        assert_eq!(ticks(&deadline, TICKS - 1), vec![None; TICKS as usize - 1], "counted anew");
        assert_eq!(deadline.overdue(WHOLE), Some(Overdue { id: 7, tid: tid(1), times: 1 }), "still held up");
        deadline.excuse();
        assert!(deadline.is_stuck());
        assert_eq!(ticks(&deadline, TICKS - 1), vec![None; TICKS as usize - 1], "excused");
        deadline.begin_anew();
        assert_eq!(ticks(&deadline, TICKS - 1), vec![None; TICKS as usize - 1], "begun anew");
        assert_eq!(deadline.overdue(WHOLE), Some(Overdue { id: 7, tid: tid(1), times: 1 }));
    }

    #[test]
    fn what_lasts_was_served_at_the_last_tick() {
        let deadline = Deadline::new();
        deadline.serving(7, tid(1));
        assert_eq!(deadline.lasting(), None);
        assert_eq!(deadline.overdue(WHOLE), None);
        assert_eq!(deadline.lasting(), Some((7, tid(1))));
        deadline.serving(8, tid(1));
        assert_eq!(deadline.lasting(), None);
    }

    #[test]
    fn a_busy_machine_is_given_time_but_not_for_ever() {
        for (late, most) in [(0, 5), (9, 5), (10, 20), (49, 20), (50, 40), (10_000, 40)] {
            let (deadline, weight) = (Deadline::new(), weight(Duration::from_millis(late)));
            deadline.serving(7, tid(1));
            let ticks = (1..).find(|_| deadline.overdue(weight).is_some());
            assert_eq!(ticks, Some(most), "{late}");
        }
    }

    #[test]
    fn a_caller_is_known_by_its_own_notification_alone() {
        let deadline = Deadline::new();
        let (end, _) = rustix::pipe::pipe().expect("a pipe");
        deadline.serving(7, tid(1));
        assert!(deadline.caller(7).is_none());
        deadline.is_of(7, Arc::new(end));
        assert!(deadline.caller(7).is_some() && deadline.caller(8).is_none());
    }

    #[test]
    fn nothing_is_overdue_while_notifications_come_and_go() {
        let deadline = Deadline::new();
        assert_eq!(ticks(&deadline, 2 * TICKS), vec![None; 2 * TICKS as usize], "idle");
        assert!(!deadline.is_stuck());
        for id in 0..3 {
            // Always the same thread.
            deadline.serving(id, tid(1));
            assert_eq!(ticks(&deadline, TICKS - 1), vec![None; TICKS as usize - 1]);
        }
        deadline.uncounted(|| {
            assert_eq!(ticks(&deadline, 2 * TICKS), vec![None; 2 * TICKS as usize], "uncounted");
        });
        assert_eq!(ticks(&deadline, TICKS - 1), vec![None; TICKS as usize - 1]);
        assert_eq!(deadline.overdue(WHOLE), Some(Overdue { id: 2, tid: tid(1), times: 0 }), "counted again");
        deadline.done();
        assert_eq!(ticks(&deadline, 2 * TICKS), vec![None; 2 * TICKS as usize], "all done");
    }
}
