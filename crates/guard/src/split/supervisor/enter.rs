//! `io_uring_enter` with requests to submit: they are judged and published, and the call goes on.

use super::submitter::{Reach, Submitter, Waiter, may_be_submitting};
use super::{Call, Guarded, Supervisor};
use crate::audit::Refused;
use crate::guard::reads_pointers;
use crate::program::inject::After;
use crate::program::proc;
use crate::split::arena::Arena;
use crate::split::judge::Judge;
use crate::split::queue::Submission;
use crate::split::threads::registered::{self, Registered};
use ringwarden_uapi::ring::EnterFlags;
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether another thread's submission is over, and for how long at most.
const LOOK: Duration = Duration::from_millis(1);
const LOOKS: u32 = 1000;
/// The time on a processor in which a submission comes to its end: this and so much for each SQE. Most of it may be
/// spent on waiting for the ring's lock, which begins with spinning.
const SUBMITS_IN: Duration = Duration::from_millis(20);
const SUBMITS_ONE_IN: Duration = Duration::from_micros(50);

impl Supervisor {
    pub(super) fn enter(&self, call: Call<'_>) {
        let [_, to_submit, _, flags, ..] = call.args();
        // Flags of later kernels might change what a call does.
        let Some(flags) = EnterFlags::from_bits(flags as u32) else {
            return self.fail(call, Errno::INVAL);
        };
        let (guarded, reach) = match self.ring_to_enter(call, flags) {
            Ok(found) => found,
            Err(error) => return self.fail(call, error),
        };
        // Whatever this call submits, on whatever ring its descriptor will be by then, may point into
        // the arena.
        match self.has_arena(call) {
            Ok(true) => {}
            Ok(false) => return self.map_arena(call),
            Err(error) => return self.fail(call, error),
        }
        if guarded.own().is_disabled() {
            // Nothing is submitted before it is enabled, which the kernel says itself (EBADFD).
            return self.proceed(call);
        }
        let asked = to_submit as u32;
        let ring = &guarded.ring;
        let emulates_sqpoll = ring.plan().emulates_sqpoll();
        // A program that believes in a submission thread may wake it without a number.
        let woken = emulates_sqpoll && flags.contains(EnterFlags::SQ_WAKEUP);
        let wanted = if woken { asked.max(ring.queue().pending()) } else { asked };
        match self.publish(call, &guarded, reach, wanted) {
            Ok(granted) if granted == asked => self.proceed(call),
            Ok(granted) if emulates_sqpoll && asked == 0 => self.submit_for(call, granted, flags),
            Ok(granted) if emulates_sqpoll => self.enter_with(call, granted, flags),
            // Fewer than were asked for: natively the call does not wait then.
            Ok(granted) => self.enter_with(call, granted, flags - EnterFlags::GETEVENTS),
            Err(error) => self.fail(call, error),
        }
    }

    /// Judges and publishes what the call may submit, and gives how many SQEs those are.
    fn publish(&self, call: Call<'_>, guarded: &Guarded, reach: Reach, wanted: u32) -> Result<u32, Errno> {
        let ring = &guarded.ring;
        let (restrictions, filters) = {
            let own = guarded.own();
            (*own.limits().restrictions(), own.limits().filters())
        };
        let arena = self.state().arena.clone();
        let reads = filters.as_deref().is_some_and(reads_pointers);
        let arena = arena.filter(|_| !reads || self.is_settled());
        let arguments = arena.as_deref().zip(guarded.arguments());
        let judge = Judge {
            rules: &self.rules,
            setup: ring.plan().asked,
            restrictions,
            filters,
            arguments: arguments.map(|(_, first)| first),
            observed: self.observer.is_some(),
        };
        let mut submitter = Submitter {
            waiter: Waiter { supervisor: self, tid: call.tid, ring: guarded.id, reach },
            watch: ring.watch(),
            memory: self.memory_of(call),
            arguments,
            refusals: Vec::new(),
            deadline: call.turn.deadline,
        };
        let submission = Submission { tid: call.tid, count: wanted };
        let queue = ring.queue();
        let mut published = queue.publish(submission, &judge, &mut submitter);
        // What is queued may have been granted to another thread, of which only this much is known: it is
        // not blocked. It takes it as soon as it runs, or has left it here for anybody.
        let mut runs = Runs::default();
        for look in 1..=LOOKS {
            if published != Ok(0) || wanted == 0 || queue.pending() == 0 {
                break;
            }
            call.turn.pass_on();
            queue.revoke(|tid, count| look == LOOKS || runs.long_enough(tid, count));
            std::thread::sleep(LOOK);
            published = queue.publish(submission, &judge, &mut submitter);
        }
        for refusal in submitter.refusals {
            self.refused(call, refusal);
        }
        published
    }

    /// Has the thread make its call once more, to submit so many.
    fn enter_with(&self, call: Call<'_>, to_submit: u32, flags: EnterFlags) {
        self.inject(call, || Ok(()), |_, ()| Ok(After::AgainWith(to_submit.into(), flags.bits().into())));
    }

    /// Has the thread submit what a submission thread would, as a call of its own that comes here, too;
    /// the call that was made then waits if it is to, and returns 0.
    fn submit_for(&self, call: Call<'_>, to_submit: u32, flags: EnterFlags) {
        let [fd, ..] = call.args();
        self.inject(call, || Ok(()), |injection, ()| injection.submit(fd, to_submit, flags));
    }

    /// The ring of the call, and how to get at it.
    fn ring_to_enter(&self, call: Call<'_>, flags: EnterFlags) -> Result<(Arc<Guarded>, Reach), Errno> {
        let [fd, to_submit, ..] = call.args();
        let (fd, to_submit) = (fd as i32, to_submit as u32);
        if flags.contains(EnterFlags::REGISTERED_RING) {
            let Registered { ring, descriptor } = self.by_index(call, fd as u32)?;
            let guarded = self.state().rings.get(&ring).cloned().ok_or(Errno::BADF)?;
            return Ok((guarded, Reach::Held(descriptor)));
        }
        let believed = self.state().believed(call.tid, fd).cloned();
        // More than is queued, or nothing: perhaps the descriptor is another ring by now.
        let guarded = match believed.filter(|guarded| guarded.ring.queue().pending() >= to_submit) {
            Some(guarded) => guarded,
            None => self.identify(call, fd)?,
        };
        Ok((guarded, Reach::Descriptor(fd)))
    }

    /// The ring that a thread has registered (`io_uring_enter`, IORING_ENTER_REGISTERED_RING).
    pub(super) fn by_index(&self, call: Call<'_>, index: u32) -> Result<Registered, Errno> {
        if index as usize >= registered::MAX {
            return Err(Errno::INVAL);
        }
        self.shared.registered.get(call.tid, index as usize).ok_or(Errno::BADF)
    }

    /// Whether every submission that began before there was an arena is over, or has it.
    fn is_settled(&self) -> bool {
        let state = self.state();
        self.unsettled.remove(|tid| state.tasks.had_arena(tid));
        drop(state);
        self.unsettled.is_settled(may_be_submitting)
    }

    /// Whether the caller's address space has the arena, if there has to be one.
    fn has_arena(&self, call: Call<'_>) -> Result<bool, Errno> {
        let arena = {
            let mut state = self.state();
            let Some(arena) = state.arena.clone() else { return Ok(true) };
            let space = state.tasks.confirm(call.tid)?;
            self.note_caller(call, space.process);
            if *space.has_arena && !space.doubtful {
                return Ok(true);
            }
            arena
        };
        // A forked child has it from its parent.
        let sealed = arena.is_sealed_in(&self.memory_of(call));
        let mut state = self.state();
        let space = state.tasks.confirm(call.tid)?;
        *space.has_arena = sealed && self.listener.is_valid(call.id());
        Ok(*space.has_arena)
    }

    /// Maps the arena into the calling thread's memory and has it make its call once more.
    fn map_arena(&self, call: Call<'_>) {
        let Some(arena) = self.state().arena.clone() else { return self.fail(call, Errno::ACCESS) };
        let prepare = || self.listener.add_fd(call.id(), arena.file());
        let mut tried = false;
        let mut mapped = false;
        self.inject(call, prepare, |injection, fd| {
            tried = true;
            Arena::map(injection, fd)?;
            injection.syscall(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0])?;
            // Looked at again when the call comes again; but only once, should it not be there.
            mapped = arena.is_shown_to(injection);
            if mapped { Ok(After::Again) } else { Err(Errno::ACCESS) }
        });
        if !mapped {
            self.refused(call, if tried { Refused::Unverifiable } else { Refused::Unreadable });
        }
    }
}

/// How long threads had run when they were first looked at.
#[derive(Default)]
struct Runs(HashMap<Pid, Duration>);

impl Runs {
    /// Whether `tid` has run for long enough since to submit so many SQEs.
    fn long_enough(&mut self, tid: Pid, count: u32) -> bool {
        let Some(run) = time_run(tid) else { return false };
        let before = *self.0.entry(tid).or_insert(run);
        run.saturating_sub(before) >= SUBMITS_IN + SUBMITS_ONE_IN * count
    }
}

/// For how long a thread has run altogether, from `schedstat`, which kernels without CONFIG_SCHED_INFO lack.
fn time_run(tid: Pid) -> Option<Duration> {
    let times = proc::text(tid, "schedstat").ok()?;
    Some(Duration::from_nanos(times.split(' ').next()?.parse().ok()?))
}
