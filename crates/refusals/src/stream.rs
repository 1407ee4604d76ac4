//! Perf events of the tracepoint, and their buffers.

use crate::format::Format;
use crate::record::{Layout, REFUSED, Refused};
use crate::{Unavailable, event, processors, tracefs};
use perf_event::data::Record;
use perf_event::events::Tracepoint;
use perf_event::{Builder, Clock, Counter, SampleFlag, Sampler};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The size of a processor's buffer: what everybody may have by default, `kernel.perf_event_mlock_kb` less a page.
/// Room for about 3500 refusals.
const BUFFER: usize = 512 << 10;

/// Whose refusals are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One process, all its threads, and whatever they start from then on.
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
    /// The process that submitted the request, in the pid namespace of whoever opened the stream; 0 or -1 for one
    /// that is not in it.
    pub pid: i32,
    /// The thread, likewise.
    pub tid: i32,
    /// What was refused.
    pub request: Refused,
}

/// What has come since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// In the order of their time.
    pub refusals: Vec<Refusal>,
    /// So many more found no place in a buffer.
    pub lost: u64,
}

/// Why [`Stream::wait`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woken {
    /// The descriptor that was waited for as well is ready.
    pub other: bool,
    /// Nobody is left who could be refused anything; what was is still to be [drained](Stream::drain).
    pub over: bool,
}

/// The refusals of some processes, as they happen.
///
/// What happens before it is opened it does not tell. Events are closed on exec.
pub struct Stream {
    layout: Layout,
    /// One a processor.
    buffers: Vec<Sampler>,
    /// Further threads' events, whose records go to those buffers.
    others: Vec<Counter>,
    /// The descriptors of events that can have no more records.
    hung_up: HashSet<i32>,
    /// Taken from the buffers, or told to be lost.
    accounted: u64,
    threads: Threads,
}

/// By which of several events a record is told: a thread may have inherited one and have been given another.
#[derive(Default)]
struct Threads {
    /// The thread that an event was opened for, by the event's id.
    of: HashMap<u64, i32>,
    /// Whether a thread can have two.
    ambiguous: bool,
    /// Whose event tells of a thread.
    chosen: HashMap<u32, i32>,
}

impl Threads {
    fn tells(&mut self, tid: u32, event: Option<u64>) -> bool {
        let Some(&root) = event.and_then(|event| self.of.get(&event)).filter(|_| self.ambiguous) else {
            return true;
        };
        *self.chosen.entry(tid).or_insert(root) == root
    }
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
        let mut stream = Self {
            layout,
            buffers: Vec::new(),
            others: Vec::new(),
            hung_up: HashSet::new(),
            accounted: 0,
            threads: Threads::default(),
        };
        match &scope {
            Scope::Process(pid) => stream.open_for_process(&mut builder, *pid)?,
            Scope::Cgroup(path) => {
                let no_cgroup = |error| Unavailable::NoCgroup { path: path.clone(), error };
                let cgroup = File::open(path).map_err(no_cgroup)?;
                let mut builder = builder.clone();
                builder.observe_cgroup(&cgroup);
                stream.open_on_all(&mut builder, None).map_err(|error| match error {
                    // What is no cgroup, or in a hierarchy without the controller.
                    Unavailable::Failed(error) if matches!(error.raw_os_error(), Some(9 | 22)) => {
                        no_cgroup(error)
                    }
                    error => error,
                })?;
            }
            Scope::Machine => stream.open_on_all(builder.any_pid(), None)?,
        }
        for event in stream.buffers.iter_mut().map(|buffer| &mut **buffer).chain(&mut stream.others) {
            event.enable()?;
        }
        Ok(stream)
    }

    fn open_for_process(&mut self, builder: &mut Builder<'_>, pid: i32) -> Result<(), Unavailable> {
        builder.inherit(true);
        let mut known = HashSet::new();
        // Those that appear meanwhile may have inherited an event, or not.
        loop {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
            let tasks = tasks.map_err(|_| Unavailable::NoProcess(pid))?;
            let tids = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse::<i32>().ok());
            let new: Vec<_> = tids.filter(|&tid| known.insert(tid)).collect();
            if new.is_empty() {
                break;
            }
            self.threads.ambiguous = known.len() > new.len();
            for tid in new {
                match self.open_on_all(builder.observe_pid(tid), Some(tid)) {
                    // It has ended.
                    Err(Unavailable::Failed(error)) if error.raw_os_error() == Some(3) => {}
                    opened => opened?,
                }
            }
        }
        if self.buffers.is_empty() { Err(Unavailable::NoProcess(pid)) } else { Ok(()) }
    }

    /// Opens an event on every processor, disabled.
    fn open_on_all(&mut self, builder: &mut Builder<'_>, thread: Option<i32>) -> Result<(), Unavailable> {
        let filter = CString::new(format!("error == {REFUSED}")).map_err(io::Error::other)?;
        let mut opened = Vec::new();
        for processor in processors::online()? {
            let event = builder.one_cpu(processor).build().map_err(explain)?;
            event::set_filter(&event, &filter)?;
            opened.push(event);
        }
        if let Some(thread) = thread {
            self.threads.of.extend(opened.iter().map(|event| (event.id(), thread)));
        }
        if self.buffers.is_empty() {
            for event in opened {
                self.buffers.push(event.sampled(BUFFER)?);
            }
            return Ok(());
        }
        for (event, buffer) in opened.iter().zip(&self.buffers) {
            event::set_output(event, buffer)?;
        }
        self.others.extend(opened);
        Ok(())
    }

    /// Waits until there is something to [drain](Self::drain), `other` is readable, or hangs up, or the time is over.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn wait(&mut self, other: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<Woken> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let events = self.buffers.iter().map(|buffer| &**buffer).chain(&self.others);
        let live: Vec<_> = events.filter(|event| !self.hung_up.contains(&event.as_raw_fd())).collect();
        let mut fds: Vec<_> =
            live.iter().map(|event| PollFd::from_borrowed_fd(event::fd(event), PollFlags::IN)).collect();
        fds.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Woken { other: false, over: false }),
            Err(error) => return Err(error.into()),
        }
        let hung: Vec<_> = live
            .iter()
            .zip(&fds)
            .filter(|(_, fd)| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR))
            .map(|(event, _)| event.as_raw_fd())
            .collect();
        let over = hung.len() == live.len();
        let other = other.is_some() && fds.last().is_some_and(|fd| !fd.revents().is_empty());
        self.hung_up.extend(hung);
        Ok(Woken { other, over })
    }

    /// Takes what has come.
    pub fn drain(&mut self) -> Drained {
        let mut drained = Drained::default();
        let clock = Clocks::now();
        for buffer in &mut self.buffers {
            while let Some(record) = buffer.next_record() {
                match record.parse_record() {
                    Ok(Record::Sample(sample)) => {
                        self.accounted += 1;
                        let tid = sample.tid().unwrap_or_default();
                        let request = sample.raw().and_then(|raw| self.layout.decode(raw));
                        if let Some(request) = request.filter(|_| self.threads.tells(tid, sample.id())) {
                            let time = clock.at(sample.time().unwrap_or_default());
                            let pid = sample.pid().unwrap_or_default().cast_signed();
                            drained.refusals.push(Refusal { time, pid, tid: tid.cast_signed(), request });
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
        drained.refusals.sort_by_key(|refusal| refusal.time);
        drained
    }

    /// Stops listening and takes what is left; what was lost last is known only now.
    ///
    /// # Errors
    /// Events cannot be counted.
    pub fn finish(mut self) -> io::Result<Drained> {
        let events = |stream: &mut Self, visit: &mut dyn FnMut(&mut Counter) -> io::Result<()>| {
            stream.buffers.iter_mut().try_for_each(|buffer| visit(buffer))?;
            stream.others.iter_mut().try_for_each(visit)
        };
        events(&mut self, &mut |event| event.disable())?;
        let mut drained = self.drain();
        let mut counted = 0;
        events(&mut self, &mut |event| {
            counted += event.read()?;
            Ok(())
        })?;
        drained.lost += counted.saturating_sub(self.accounted);
        Ok(drained)
    }
}

/// An event whose records this crate understands, by the tracepoint's number.
pub(crate) fn builder(tracepoint: u64) -> Builder<'static> {
    let mut builder = Builder::new(Tracepoint::with_id(tracepoint));
    builder
        .include_kernel()
        .sample_period(1)
        .wakeup_events(1)
        .sample(SampleFlag::RAW | SampleFlag::TID | SampleFlag::TIME | SampleFlag::ID)
        .clockid(Clock::MONOTONIC);
    builder
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

/// Why an event cannot be had.
pub(crate) fn explain(error: io::Error) -> Unavailable {
    match Errno::from_io_error(&error) {
        Some(Errno::ACCESS | Errno::PERM) => {
            let setting = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok();
            Unavailable::Denied { error, paranoid: setting.and_then(|level| level.trim().parse().ok()) }
        }
        // The type is not known, or the call.
        Some(Errno::NOSYS | Errno::NOENT) => Unavailable::NoPerf(error),
        _ => Unavailable::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_with_two_events_is_told_of_by_one() {
        let mut threads = Threads { of: HashMap::from([(1, 10), (2, 11)]), ..Threads::default() };
        assert!(threads.tells(12, Some(1)) && threads.tells(12, Some(2)));
        threads.ambiguous = true;
        assert!(threads.tells(12, Some(1)) && !threads.tells(12, Some(2)) && threads.tells(12, Some(1)));
        assert!(threads.tells(13, Some(2)) && threads.tells(13, None));
    }

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
