//! Perf events of the tracepoint, and their buffers.

use crate::format::Format;
use crate::record::{Layout, REFUSED, RefusedRequest};
use crate::sampler::{builder, on_all};
use crate::tree::Tree;
use crate::{Unavailable, event, tracefs};
use perf_event::Sampler;
use perf_event::data::Record;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The size of a processor's buffer: with that of [`Tree`] less than everybody may have by default,
/// `kernel.perf_event_mlock_kb`. Room for about 1700 refusals.
const BUFFER: usize = 256 << 10;

/// So many refusals of others at once are not to be listened to all the time.
const FLOOD: usize = 1000;
/// How long nothing is read after that: a buffer of each processor is read twenty times a second.
const PAUSE: Duration = Duration::from_millis(50);

/// Whose refusals are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One process, all its threads, and all that descend from them, as far as their parents still tell.
    Process(i32),
    /// The processes of a cgroup and of those below it. The path is that of its folder, in the hierarchy that has
    /// the `perf_event` controller, which is version 2's unless that of version 1 is mounted.
    Cgroup(PathBuf),
    /// Everybody.
    Machine,
}

/// One refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// When.
    pub time: SystemTime,
    /// The process that submitted the request, in the pid namespace of the process that opened the stream; 0 or -1 for one
    /// that is not in it.
    pub pid: i32,
    /// The thread, likewise.
    pub tid: i32,
    /// What was refused.
    pub request: RefusedRequest,
}

/// What has come since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// In the order of their time.
    pub refusals: Vec<Refusal>,
    /// So many more found no place in a buffer, of those who were listened to: of [`Scope::Process`] everybody.
    pub lost: u64,
}

/// The refusals of some processes, as they happen.
///
/// What happens before it is opened it does not tell. Events are closed on exec.
pub struct Stream {
    layout: Layout,
    /// One a processor.
    buffers: Vec<Sampler>,
    /// Whose refusals count, unless all do that are heard.
    tree: Option<Tree>,
    /// Whether much of what came last was none of theirs.
    flooded: bool,
    /// Taken from the buffers, or told to be lost.
    accounted: u64,
}

impl Stream {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn open(scope: Scope) -> Result<Self, Unavailable> {
        Self::of(&tracefs::find()?, scope)
    }

    /// The same where the tracepoint has been found.
    pub(crate) fn of(format: &Format, scope: Scope) -> Result<Self, Unavailable> {
        let layout = Layout::of(format).map_err(Unavailable::Format)?;
        let mut builder = builder(format.id);
        let tree = match &scope {
            Scope::Process(pid) => Some(Tree::of(*pid)?),
            _ => None,
        };
        let mut buffers = match &scope {
            Scope::Cgroup(path) => {
                let no_cgroup = |error| Unavailable::NoCgroup { path: path.clone(), error };
                let cgroup = File::open(path).map_err(no_cgroup)?;
                let mut builder = builder.clone();
                builder.observe_cgroup(&cgroup);
                on_all(&mut builder, BUFFER).map_err(|error| match error {
                    // The tracepoint is there: no event of its kind is for this group. Until the first controller is
                    // handed down, version 2 hands down none, nor those that always are (`subtree_ss_mask` in
                    // kernel/cgroup/cgroup.c; so on 6.1, 6.12, 7.2 and 7.3).
                    Unavailable::NoPerf(_) => no_cgroup(io::Error::other(
                        "its hierarchy does not count them below its root until something has been written to the \
                         root's cgroup.subtree_control, say `+pids`",
                    )),
                    // What is no cgroup, or in a hierarchy without the controller.
                    Unavailable::Failed(error) if matches!(error.raw_os_error(), Some(9 | 22)) => {
                        no_cgroup(error)
                    }
                    error => error,
                })?
            }
            Scope::Process(_) | Scope::Machine => on_all(builder.any_pid(), BUFFER)?,
        };
        let filter = CString::new(format!("error == {REFUSED}")).map_err(io::Error::other)?;
        for event in &mut buffers {
            event::set_filter(event, &filter)?;
            event.enable()?;
        }
        Ok(Self { layout, buffers, tree, flooded: false, accounted: 0 })
    }

    /// Waits until there is something to [drain](Self::drain), `other` is readable, or hangs up, or the time is over.
    /// Gives whether `other` is ready.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn wait(&mut self, other: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout =
            if self.flooded { Some(timeout.map_or(PAUSE, |timeout| timeout.min(PAUSE))) } else { timeout };
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let heard = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let process = self.tree.as_ref().and_then(Tree::watched);
        let mut fds: Vec<_> = other.into_iter().map(heard).collect();
        fds.extend(process.map(|process| heard(process.as_fd())));
        let events = self.buffers.iter().chain(self.tree.iter().flat_map(Tree::buffers));
        fds.extend(events.filter(|_| !self.flooded).map(|event| heard(event::fd(event))));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let ready = |place: usize| fds.get(place).is_some_and(|fd| !fd.revents().is_empty());
        let (other, process) = (other.is_some() && ready(0), process.is_some() && ready(other.iter().len()));
        if let Some(tree) = self.tree.as_mut().filter(|_| process) {
            tree.one_has_ended();
        }
        Ok(other)
    }

    /// Takes what has come.
    pub fn drain(&mut self) -> Drained {
        let ended = self.tree.as_mut().map(Tree::ended);
        let mut drained = Drained::default();
        let clock = Clocks::now();
        for buffer in &mut self.buffers {
            while let Some(record) = buffer.next_record() {
                match record.parse_record() {
                    Ok(Record::Sample(sample)) => {
                        self.accounted += 1;
                        if let Some(request) = sample.raw().and_then(|raw| self.layout.decode(raw)) {
                            let [pid, tid] = [sample.pid(), sample.tid()].map(Option::unwrap_or_default);
                            let (pid, tid) = (pid.cast_signed(), tid.cast_signed());
                            let time = clock.at(sample.time().unwrap_or_default());
                            drained.refusals.push(Refusal { time, pid, tid, request });
                        }
                    }
                    Ok(Record::Lost(lost)) => {
                        self.accounted += lost.lost;
                        drained.lost += lost.lost;
                    }
                    _ => {}
                }
            }
        }
        if let (Some(tree), Some(ended)) = (&mut self.tree, ended) {
            // After the buffers, so that every process that was refused something is known.
            tree.catch_up();
            let all = drained.refusals.len();
            drained.refusals.retain(|refusal| tree.has(refusal.pid));
            self.flooded = all - drained.refusals.len() > FLOOD;
            tree.forget(&ended);
        }
        drained.refusals.sort_by_key(|refusal| refusal.time);
        drained
    }

    /// Whether no process is left that could be refused anything; what was is still to be [drained](Self::drain). Never
    /// but for [`Scope::Process`].
    pub fn is_over(&self) -> bool {
        self.tree.as_ref().is_some_and(|tree| tree.watched().is_none())
    }

    /// Stops listening and takes what is left; what was lost last is known only now.
    ///
    /// # Errors
    /// Events cannot be counted.
    pub fn finish(mut self) -> io::Result<Drained> {
        self.buffers.iter_mut().try_for_each(|event| event.disable())?;
        let mut drained = self.drain();
        let mut counted = 0;
        for event in &mut self.buffers {
            counted += event.read()?;
        }
        drained.lost += counted.saturating_sub(self.accounted);
        Ok(drained)
    }
}

/// Both clocks at one moment.
struct Clocks {
    monotonic: Duration,
    real: SystemTime,
}

impl Clocks {
    fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let monotonic =
            Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0));
        Self { monotonic, real: SystemTime::now() }
    }

    /// The time of day when the monotonic clock showed `nanoseconds`.
    fn at(&self, nanoseconds: u64) -> SystemTime {
        let then = Duration::from_nanos(nanoseconds);
        self.real + then.saturating_sub(self.monotonic) - self.monotonic.saturating_sub(then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_before_and_after_are_told() {
        let clocks = Clocks {
            monotonic: Duration::from_secs(10),
            real: SystemTime::UNIX_EPOCH + Duration::from_secs(100),
        };
        let seconds = |nanoseconds: u64| {
            clocks.at(nanoseconds).duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs()
        };
        assert_eq!((seconds(9_000_000_000), seconds(12_000_000_000)), (99, 102));
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        match Stream::open(Scope::Process(i32::MAX)) {
            Err(Unavailable::NoProcess(pid)) => assert_eq!(pid, i32::MAX),
            Err(unavailable) => eprintln!("skipped: {unavailable}"),
            Ok(_) => panic!("a process {}", i32::MAX),
        }
    }
}
