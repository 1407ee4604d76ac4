//! Perf events of the tracepoints, and their buffers.

use crate::drained::{Allowed, Drained, Refusal};
use crate::format::Format;
use crate::names::{Names, Timed};
use crate::record::{Layout, REFUSED, TakenLayout};
use crate::sampler::{builder, on_all, on_all_up_to};
use crate::tree::Tree;
use crate::{Unavailable, event, processors, tracefs};
use perf_event::data::Record;
use perf_event::{Builder, SampleFlag, Sampler};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The size of a processor's buffer: with that of [`Tree`] less than everybody may have by default,
/// `kernel.perf_event_mlock_kb`. Room for about 1700 refusals.
const BUFFER: usize = 256 << 10;

/// What the buffers of allowed requests may take on all processors together, and of each of them.
const ALL_ALLOWED: usize = 64 << 20;
const MOST_ALLOWED: usize = 8 << 20;
/// What is left of `kernel.perf_event_mlock_kb` by the other buffers.
const LEAST_ALLOWED: usize = 64 << 10;
/// So many records are taken from a buffer at a time: more than the largest has room for, so that whoever fills it as
/// fast as it is read does not keep others waiting.
const MOST_AT_ONCE: usize = MOST_ALLOWED / 32;
/// How often it is looked for what was allowed: as long as a thread lives that was there before, its name can be found.
const LOOK: Duration = Duration::from_millis(10);

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

/// When a record came, on the monotonic clock in nanoseconds, and of which process, thread and control group.
struct Whose {
    nanoseconds: u64,
    pid: i32,
    tid: i32,
    cgroup: Option<u64>,
}

/// Events of one tracepoint, on every processor.
struct Heard<L> {
    layout: L,
    /// One a processor.
    buffers: Vec<Sampler>,
    /// Taken from the buffers, or told to be lost.
    accounted: u64,
}

impl<L> Heard<L> {
    fn of(layout: L, buffers: Vec<Sampler>) -> Self {
        Self { layout, buffers, accounted: 0 }
    }

    /// Hands over what has come, records and whose they are; and what is told of names. Gives how many found no place.
    fn drain(&mut self, names: &mut Names, mut each: impl FnMut(&L, &[u8], Whose)) -> u64 {
        let mut lost = 0;
        for buffer in &mut self.buffers {
            let mut left = MOST_AT_ONCE;
            while left > 0
                && let Some(record) = buffer.next_record()
            {
                left -= 1;
                match record.parse_record() {
                    Ok(Record::Sample(sample)) => {
                        self.accounted += 1;
                        let [pid, tid] =
                            [sample.pid(), sample.tid()].map(|id| id.unwrap_or_default().cast_signed());
                        let nanoseconds = sample.time().unwrap_or_default();
                        if let Some(raw) = sample.raw() {
                            let whose = Whose { nanoseconds, pid, tid, cgroup: sample.cgroup() };
                            each(&self.layout, raw, whose);
                        }
                    }
                    Ok(Record::Lost(told)) => {
                        // Those of names are among them: it may be less that was lost, and never more.
                        self.accounted += told.lost;
                        lost += told.lost;
                    }
                    Ok(other) => {
                        // The last of what follows each record that is no sample (`sample_id_all`).
                        let bytes = record.to_contiguous();
                        let time = bytes.last_chunk().map(|time| u64::from_ne_bytes(*time));
                        names.hear(time.unwrap_or_default(), &other);
                    }
                    Err(_) => {}
                }
            }
        }
        if lost > 0 {
            names.doubt();
        }
        lost
    }

    fn stop(&mut self) -> io::Result<()> {
        self.buffers.iter_mut().try_for_each(|event| event.disable())
    }

    /// How many were lost that no record tells of.
    fn untold(&mut self) -> io::Result<u64> {
        let mut counted = 0;
        for event in &mut self.buffers {
            counted += event.read()?;
        }
        Ok(counted.saturating_sub(self.accounted))
    }
}

/// The refusals of some processes, as they happen, and on demand what they are allowed.
///
/// What happens before it is opened it does not tell. Events are closed on exec.
pub struct Stream {
    refused: Heard<Layout>,
    allowed: Option<Heard<TakenLayout>>,
    names: Names,
    /// See [`namespace_offset`].
    offset: i64,
    /// Read, but of a time when not everything is known that was told of names before.
    held: (Vec<Timed<Refusal>>, Vec<Timed<Allowed>>),
    /// Whose requests count, unless all do that are heard.
    tree: Option<Tree>,
    /// Whether much of what came last was none of theirs.
    flooded: bool,
}

impl Stream {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn open(scope: Scope) -> Result<Self, Unavailable> {
        Self::of(&tracefs::find(tracefs::FAILED)?, scope)
    }

    /// Begins to listen to what is allowed, too, which costs every request of the machine something.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn open_with_allowed(scope: Scope) -> Result<Self, Unavailable> {
        let format = tracefs::find(tracefs::TAKEN)?;
        let layout = TakenLayout::of(&format).map_err(Unavailable::Format)?;
        let mut stream = Self::open(scope.clone())?;
        let each = (ALL_ALLOWED / processors::online()?.len()).clamp(LEAST_ALLOWED, MOST_ALLOWED);
        let most = 1 << each.ilog2();
        let mut events = builder(format.id);
        // To be woken by each would cost requests more than everything else. 0 is half of the buffer (`ring_buffer_init` in
        // kernel/events/ring_buffer.c of 6.18).
        events.wakeup_watermark(0).comm(true).task(true).sample_id_all(true);
        let mut buffers = of_scope(events, &scope, |events| on_all_up_to(events, LEAST_ALLOWED, most))?;
        buffers.iter_mut().try_for_each(|event| event.enable())?;
        stream.allowed = Some(Heard::of(layout, buffers));
        stream.names.look();
        Ok(stream)
    }

    /// The same as [`Self::open`] where the tracepoint has been found.
    pub(crate) fn of(format: &Format, scope: Scope) -> Result<Self, Unavailable> {
        let layout = Layout::of(format).map_err(Unavailable::Format)?;
        let tree = match &scope {
            Scope::Process(pid) => Some(Tree::of(*pid)?),
            _ => None,
        };
        let open = |events| of_scope(events, &scope, |events| on_all(events, BUFFER));
        let mut events = builder(format.id);
        if scope == Scope::Machine {
            events.sample(SampleFlag::CGROUP);
        }
        let mut buffers = match open(events) {
            // This kernel does not tell of groups.
            Err(Unavailable::Failed(error))
                if scope == Scope::Machine && Errno::from_io_error(&error) == Some(Errno::INVAL) =>
            {
                open(builder(format.id))
            }
            opened => opened,
        }?;
        let filter = CString::new(format!("error == {REFUSED}")).map_err(io::Error::other)?;
        for event in &mut buffers {
            event::set_filter(event, &filter)?;
            event.enable()?;
        }
        Ok(Self {
            refused: Heard::of(layout, buffers),
            allowed: None,
            names: Names::default(),
            offset: namespace_offset(),
            held: Default::default(),
            tree,
            flooded: false,
        })
    }

    /// Waits until there is something to [drain](Self::drain), `other` is readable, or hangs up, or the time is over.
    /// Gives whether `other` is ready.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn wait(&mut self, other: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<bool> {
        let most = match () {
            () if self.allowed.is_some() => Some(LOOK),
            () if self.flooded => Some(PAUSE),
            () => None,
        };
        let timeout = most.map_or(timeout, |most| Some(timeout.map_or(most, |timeout| timeout.min(most))));
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let heard = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let process = self.tree.as_ref().and_then(Tree::watched);
        let mut fds: Vec<_> = other.into_iter().map(heard).collect();
        fds.extend(process.map(|process| heard(process.as_fd())));
        let allowed = self.allowed.iter().flat_map(|heard| &heard.buffers);
        let events = self.refused.buffers.iter().chain(self.tree.iter().flat_map(Tree::buffers));
        fds.extend(events.filter(|_| !self.flooded).chain(allowed).map(|event| heard(event::fd(event))));
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

    /// Takes what has come. Where it is [listened to what is allowed](Self::open_with_allowed), what comes meanwhile is for the
    /// next time.
    pub fn drain(&mut self) -> Drained {
        self.drain_while(false, || ())
    }

    /// The same, or `all` there is when nothing comes any more. Something `happens` when the buffers of refusals have been read.
    fn drain_while(&mut self, all: bool, happens: impl FnOnce()) -> Drained {
        let ended = self.tree.as_mut().map(Tree::ended);
        let clock = Clocks::now(self.offset);
        // That of day is known when all is in order.
        let time = SystemTime::UNIX_EPOCH;
        let (mut refusals, mut allowed) = std::mem::take(&mut self.held);
        let lost = self.refused.drain(&mut self.names, |layout, record, whose| {
            let Whose { nanoseconds, pid, tid, cgroup } = whose;
            let refusal = |request| Refusal { time, pid, tid, program: None, cgroup, request };
            refusals.extend(layout.decode(record).map(|request| (nanoseconds, refusal(request))));
        });
        happens();
        let lost_allowed = self.allowed.as_mut().map_or(0, |heard| {
            heard.drain(&mut self.names, |layout, record, whose| {
                let Whose { nanoseconds, pid, tid, .. } = whose;
                let taken = |request| Allowed { time, pid, tid, program: None, request };
                allowed.extend(layout.decode(record).map(|request| (nanoseconds, taken(request))));
            })
        });
        if let (Some(tree), Some(ended)) = (&mut self.tree, ended) {
            // After the buffers, so that every process that was refused something is known.
            tree.catch_up();
            let heard = refusals.len();
            refusals.retain(|(_, refusal)| tree.has(refusal.pid));
            allowed.retain(|(_, allowed)| tree.has(allowed.pid));
            self.flooded = heard - refusals.len() > FLOOD;
            tree.forget(&ended);
        }
        refusals.sort_by_key(|(time, _)| *time);
        allowed.sort_by_key(|(time, _)| *time);
        if self.allowed.is_some() {
            // A thread's records are in the order of their time, whichever processors' buffers they are in: what came before
            // the first buffer was read is whole.
            let end = if all { u64::MAX } else { clock.monotonic };
            self.names.look_if_doubtful();
            self.held = (split_off(&mut refusals, end), split_off(&mut allowed, end));
            self.names.name(end, &mut refusals, &mut allowed);
        }
        let refusals =
            refusals.into_iter().map(|(then, refusal)| Refusal { time: clock.at(then), ..refusal });
        let allowed = allowed.into_iter().map(|(then, allowed)| Allowed { time: clock.at(then), ..allowed });
        let (refusals, allowed) = (refusals.collect(), allowed.collect());
        Drained { refusals, lost, allowed, lost_allowed }
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
        self.refused.stop()?;
        self.allowed.as_mut().map_or(Ok(()), Heard::stop)?;
        let mut drained = self.drain_while(true, || ());
        drained.lost += self.refused.untold()?;
        drained.lost_allowed += self.allowed.as_mut().map_or(Ok(0), Heard::untold)?;
        Ok(drained)
    }
}

/// Opens the events of a scope, each of which `open` opens on every processor.
fn of_scope(
    mut events: Builder<'_>,
    scope: &Scope,
    open: impl Fn(&mut Builder<'_>) -> Result<Vec<Sampler>, Unavailable>,
) -> Result<Vec<Sampler>, Unavailable> {
    let Scope::Cgroup(path) = scope else { return open(events.any_pid()) };
    let no_cgroup = |error| Unavailable::NoCgroup { path: path.clone(), error };
    let cgroup = File::open(path).map_err(no_cgroup)?;
    let mut events = events.clone();
    events.observe_cgroup(&cgroup);
    open(&mut events).map_err(|error| match error {
        // The tracepoint is there: no event of its kind is for this group. Until the first controller is handed down,
        // version 2 hands down none, nor those that always are (`subtree_ss_mask` in kernel/cgroup/cgroup.c; so on 6.1,
        // 6.12, 7.2 and 7.3).
        Unavailable::NoPerf(_) => no_cgroup(io::Error::other(
            "its hierarchy does not count them below its root until something has been written to the root's \
             cgroup.subtree_control, say `+pids`",
        )),
        // What is no cgroup, or in a hierarchy without the controller.
        Unavailable::Failed(error) if matches!(error.raw_os_error(), Some(9 | 22)) => no_cgroup(error),
        error => error,
    })
}

/// The requests from a time on, of those that are in order.
fn split_off<T>(requests: &mut Vec<Timed<T>>, end: u64) -> Vec<Timed<T>> {
    requests.split_off(requests.partition_point(|(time, _)| *time < end))
}

/// Both clocks at one moment.
struct Clocks {
    /// As the kernel has it, in nanoseconds.
    monotonic: u64,
    real: SystemTime,
}

impl Clocks {
    /// The monotonic clock shows processes of a time namespace so many nanoseconds more, but events have the kernel's
    /// (`ktime_get_mono_fast_ns` in `perf_event_clock`, kernel/events/core.c of 6.18).
    fn now(offset: i64) -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let shown = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
        Self { monotonic: shown.saturating_sub(offset).cast_unsigned(), real: SystemTime::now() }
    }

    /// The time of day when the kernel's monotonic clock showed `nanoseconds`.
    fn at(&self, nanoseconds: u64) -> SystemTime {
        let [later, earlier] =
            [nanoseconds.saturating_sub(self.monotonic), self.monotonic.saturating_sub(nanoseconds)];
        self.real + Duration::from_nanos(later) - Duration::from_nanos(earlier)
    }
}

/// How many nanoseconds more the monotonic clock shows in this time namespace; none where there are no such namespaces. The file
/// speaks of the namespace of a process's children, which differs between `unshare(2)` and the next program alone.
fn namespace_offset() -> i64 {
    fs::read_to_string("/proc/self/timens_offsets").map_or(0, |text| offset_of(&text))
}

/// Of a clock the file has seconds, which may be less than 0, and nanoseconds, which are not (time_namespaces(7)).
fn offset_of(text: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix("monotonic"));
    let mut numbers =
        line.unwrap_or_default().split_whitespace().map_while(|number| number.parse::<i64>().ok());
    let (seconds, nanoseconds) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_testring::{Ring, SetupFlags, Sqe};
    use ringwarden_uapi::restriction::{Restriction, SQE_OP};
    use ringwarden_uapi::{Opcode, RegisterOp, sys};
    use rustix::fd::AsRawFd;
    use rustix::thread::{Pid, gettid};
    use std::sync::mpsc;
    use std::{env, io, path, process, thread};

    /// A ring that allows nothing but FSYNC.
    #[allow(unsafe_code)]
    fn restricted() -> io::Result<Ring> {
        let ring = Ring::new(1, SetupFlags::R_DISABLED)?;
        let fd = ring.as_fd().as_raw_fd();
        let mut allowed = Restriction { kind: SQE_OP, value: Opcode::FSYNC.0, ..Restriction::default() };
        // SAFETY: the kernel reads as many entries as there are; no argument is none.
        unsafe {
            sys::register(fd, RegisterOp::REGISTER_RESTRICTIONS.0, (&raw mut allowed).cast(), 1)?;
            sys::register(fd, RegisterOp::REGISTER_ENABLE_RINGS.0, std::ptr::null_mut(), 0)?;
        }
        Ok(ring)
    }

    /// While others' buffers are read a thread may be refused something, and end.
    #[test]
    fn who_ends_before_its_refusal_is_read_has_a_name() {
        let mut stream = match Stream::open_with_allowed(Scope::Process(process::id().cast_signed())) {
            Ok(stream) => stream,
            Err(unavailable) => {
                assert!(env::var_os("RINGWARDEN_REQUIRE_ALL").is_none(), "{unavailable}");
                return eprintln!("skipped: {unavailable}");
            }
        };
        let ring = restricted().expect("a ring");
        let (name, named) = mpsc::channel();
        let (go, gone) = mpsc::channel();
        let refused = move || {
            name.send(gettid()).expect("heard");
            gone.recv().expect("told");
            ring.push(&Sqe { opcode: Opcode::NOP.0, ..Sqe::default() });
            // SAFETY: it has no pointers.
            #[allow(unsafe_code)]
            let submitted = unsafe { ring.enter(1, 1) };
            assert_eq!((submitted.ok(), ring.pop().map(|cqe| cqe.res)), (Some(1), Some(-13)));
        };
        let refused = thread::Builder::new().name("short-lived".into()).spawn(refused).expect("a thread");
        let thread: Pid = named.recv().expect("a thread");
        assert_eq!(stream.drain().refusals, []);
        let happens = || {
            go.send(()).expect("heard");
            refused.join().expect("ended");
            // The kernel tells of its end before it is gone, and after whoever joins it has heard.
            let task = format!("/proc/self/task/{thread}");
            while path::Path::new(&task).exists() {
                thread::yield_now();
            }
        };
        let meanwhile = stream.drain_while(false, happens);
        let later = stream.finish().expect("read");
        let refusals: Vec<_> = meanwhile.refusals.iter().chain(&later.refusals).collect();
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        assert_eq!(refusals[0].program, Some(*b"short-lived\0\0\0\0\0"));
    }

    #[test]
    fn times_of_before_and_after_are_told() {
        let clocks =
            Clocks { monotonic: 10_000_000_000, real: SystemTime::UNIX_EPOCH + Duration::from_secs(100) };
        let seconds = |nanoseconds: u64| {
            clocks.at(nanoseconds).duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs()
        };
        assert_eq!((seconds(9_000_000_000), seconds(12_000_000_000)), (99, 102));
    }

    #[test]
    fn a_time_namespace_is_reckoned_with() {
        assert_eq!(offset_of("monotonic           0         0\nboottime            7         0\n"), 0);
        assert_eq!(offset_of("monotonic     -100000 500000000\nboottime 0 0\n"), -99_999_500_000_000);
        assert_eq!(offset_of(""), 0);
        let [plain, ahead] = [0, 5_000_000_000].map(|offset| Clocks::now(offset).monotonic);
        assert!(plain - ahead > 4_000_000_000);
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
