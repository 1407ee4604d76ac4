//! `io_uring_enter` with requests to submit: they are judged and published, and the call goes on.

use super::{After, Guarded, Supervisor};
use crate::arena::{Arena, SLOT};
use crate::audit::Refused;
use crate::identity::Watch;
use crate::kernel_ring::wait_for_submissions;
use crate::memory::Caller;
use crate::observe::Observe;
use crate::registered::{self, Registered};
use crate::rules::{Rule, Rules};
use crate::seccomp::Notification;
use crate::shared::Shared;
use crate::slots::{self, SqeWords};
use crate::split_ring::{Incoming, Judged, Publisher};
use crate::taken::Taken;
use crate::tasks::{RingId, Tasks};
use ringwarden_filter::{
    Context, Errno as KernelErrno, FilterSet, Payload, Restrictions, Snapshot, Verdict, prep,
};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{EnterFlags, SetupFlags, Sqe};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::sync::Arc;

/// An address that the kernel refuses to read from, whoever asks: requests whose argument could not
/// be read by the guard fail with EFAULT there.
const UNREADABLE: u64 = 0xffff_ffff_ffff_f000;

impl Supervisor {
    pub(super) fn enter(&mut self, call: &Notification, tid: Pid) {
        let [fd, to_submit, _, flags, ..] = call.args;
        let (fd, to_submit) = (fd as i32, to_submit as u32);
        // Flags of later kernels might change what a call does.
        let Some(flags) = EnterFlags::from_bits(flags as u32) else {
            return self.listener.fail(call.id, Errno::INVAL);
        };
        let found = if flags.contains(EnterFlags::REGISTERED_RING) {
            self.by_index(tid, fd as u32)
                .map(|registered| (registered.ring, Reach::Held(registered.descriptor)))
        } else {
            match self.believed(tid, fd) {
                // More than is queued, or nothing: perhaps the descriptor is another ring by now.
                Some(id) if self.rings[&id].ring.pending() >= to_submit => Ok(id),
                _ => self.identify(tid, fd),
            }
            .map(|id| (id, Reach::Descriptor(fd)))
        };
        let (id, reach) = match found {
            Ok(found) => found,
            Err(error) => return self.listener.fail(call.id, error),
        };
        // Whatever this call submits, on whatever ring its descriptor will be by then, may point into
        // the arena.
        if let Some(arena) = &self.arena {
            let memory = Caller { listener: &self.listener, id: call.id, tid };
            match self.tasks.confirm(tid).map(|space| arena.is_in(&memory, space)) {
                Ok(true) => {}
                Ok(false) => return self.map_arena(call, tid),
                Err(error) => return self.listener.fail(call.id, error),
            }
        }
        let filters = self.rings.get(&id).and_then(|guarded| guarded.own.limits().filters());
        let settled = !filters.as_deref().is_some_and(reads_pointers) || self.settle();
        let Some(Guarded { ring, arguments, own, .. }) = self.rings.get_mut(&id) else {
            return self.listener.fail(call.id, Errno::BADF);
        };
        // A program that believes in a submission thread may wake it without a number.
        let woken = ring.plan().emulates_sqpoll() && flags.contains(EnterFlags::SQ_WAKEUP);
        let pending = if woken { ring.pending() } else { to_submit };
        let mut clerk = Clerk {
            rules: &self.rules,
            setup: ring.plan().asked,
            restrictions: *own.limits().restrictions(),
            filters,
            tasks: &mut self.tasks,
            shared: &self.shared,
            ring: id,
            memory: Caller { listener: &self.listener, id: call.id, tid },
            reach,
            arguments: self.arena.as_ref().zip(*arguments).filter(|_| settled),
            argument: [0; SLOT],
            observer: self.observer.as_deref(),
            outcome: None,
            refusals: Vec::new(),
        };
        let published = ring.publish(pending.max(to_submit), &mut clerk);
        let Clerk { refusals, .. } = clerk;
        for refusal in refusals {
            self.refused(tid, refusal);
        }
        if self.unrecorded.is_some() {
            return self.listener.fail(call.id, Errno::IO);
        }
        match published {
            // The kernel knows of no submission thread, so that the number has to be said.
            Ok(()) if pending > to_submit => {
                self.inject(call, tid, || Ok(()), |_, ()| Ok(After::AgainWith(u64::from(pending))))
            }
            Ok(()) => self.listener.proceed(call.id),
            Err(error) => self.listener.fail(call.id, error),
        }
    }

    /// The ring that a thread has registered (`io_uring_enter`, IORING_ENTER_REGISTERED_RING).
    pub(super) fn by_index(&self, tid: Pid, index: u32) -> Result<Registered, Errno> {
        if index as usize >= registered::MAX {
            return Err(Errno::INVAL);
        }
        self.shared.registered.get(tid, index as usize).ok_or(Errno::BADF)
    }

    /// Whether every submission that began before there was an arena is over, or has it.
    fn settle(&mut self) -> bool {
        let tasks = &self.tasks;
        self.unsettled.retain(|&tid| !tasks.had_arena(tid) && may_be_submitting(tid));
        self.unsettled.is_empty()
    }

    /// Maps the arena into the calling thread's memory and has it make its call once more.
    fn map_arena(&mut self, call: &Notification, tid: Pid) {
        let Some(arena) = &self.arena else { return self.listener.fail(call.id, Errno::ACCESS) };
        let prepare = || self.listener.add_fd(call.id, arena.file());
        let mut mapped = false;
        self.inject(call, tid, prepare, |injection, fd| {
            Arena::map(injection, fd)?;
            injection.syscall(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0])?;
            // Looked at again when the call comes again; but only once, should it not be there.
            mapped = arena.is_sealed(tid);
            if mapped { Ok(After::Again) } else { Err(Errno::ACCESS) }
        });
        if !mapped {
            self.refused(tid, Refused::Unverifiable);
        }
    }
}

/// Whether filters look at arguments that requests point at.
pub(crate) fn reads_pointers(filters: &FilterSet) -> bool {
    [Opcode::OPENAT2, Opcode::CONNECT].into_iter().any(|opcode| filters.reads_payload(opcode))
}

/// Whether the thread `tid` may be within `io_uring_enter`, on its way to the ring.
fn may_be_submitting(tid: Pid) -> bool {
    match std::fs::read_to_string(format!("/proc/{}/syscall", tid.as_raw_nonzero())) {
        // Not blocked: it may be anywhere.
        Ok(call) if call.starts_with("running") => true,
        Ok(call) => call.split(' ').next() == Some(&libc::SYS_io_uring_enter.to_string()),
        Err(error) => {
            error.kind() != std::io::ErrorKind::NotFound && error.raw_os_error() != Some(libc::ESRCH)
        }
    }
}

/// How the guard gets at the ring of a call.
#[derive(Debug)]
enum Reach {
    /// By the caller's descriptor.
    Descriptor(i32),
    /// By one of the guard's own.
    Held(Arc<OwnedFd>),
}

/// What came out about an SQE.
enum Outcome {
    Allowed(Sqe, Context),
    Refused(Refused),
}

/// Judges the SQEs of one call.
struct Clerk<'a> {
    rules: &'a Rules,
    /// The ring's set-up flags.
    setup: SetupFlags,
    /// The program's own, beside the rules.
    restrictions: Restrictions,
    filters: Option<Snapshot>,
    tasks: &'a mut Tasks,
    shared: &'a Shared,
    ring: RingId,
    memory: Caller<'a>,
    reach: Reach,
    /// The arena and the first of the ring's slots in it.
    arguments: Option<(&'a Arena, u32)>,
    /// The copied argument of the SQE that is being judged.
    argument: [u8; SLOT],
    observer: Option<&'a dyn Observe>,
    /// What is to be told of the SQE judged last.
    outcome: Option<Outcome>,
    refusals: Vec<Refused>,
}

impl Publisher for Clerk<'_> {
    type Stop = Errno;

    fn passes(&self, opcode: u8) -> bool {
        self.rules.of(opcode) == Rule::Pass && self.restrictions.is_empty() && self.filters.is_none()
    }

    fn judge(&mut self, incoming: Incoming<'_>) -> Result<Judged, Errno> {
        let Incoming { words, slot } = incoming;
        self.outcome = None;
        if !self.restrictions.is_empty() {
            let sqe = slots::sqe(words);
            let opcode = Opcode(sqe.opcode);
            // An opcode that does not exist fails as such before restrictions are looked at.
            if self.rules.knows(opcode) && !self.restrictions.allow(opcode, sqe.flags) {
                slots::set_sqe(words, self.rules.refusal(&sqe, &[]));
                return Ok(Judged::Whole);
            }
        }
        match self.rule(words[0] as u8) {
            Rule::Pass => {}
            Rule::PassAsUnknown => {
                let unknown = self.rules.unknown(&slots::sqe(words));
                slots::set_sqe(words, unknown);
            }
            Rule::Refuse | Rule::Weigh => {
                let sqe = slots::sqe(words);
                let context = Context::header(self.rules.filters.model(), &sqe);
                self.weigh(words, &sqe, context);
            }
            Rule::WeighArgument => return self.weigh_argument(words, slot),
        }
        Ok(Judged::Whole)
    }

    fn store_argument(&mut self, slot: u32) {
        if let Some((arena, first)) = self.arguments {
            arena.store(first + slot, &self.argument);
        }
    }

    fn published(&mut self) {
        match self.outcome.take() {
            Some(Outcome::Refused(refused)) => self.refusals.push(refused),
            Some(Outcome::Allowed(sqe, context)) => {
                if let Some(observer) = self.observer {
                    observer.request(&sqe, &context);
                }
            }
            None => {}
        }
    }

    fn holds_argument(&self, slot: u32) -> bool {
        self.arguments.is_some_and(|(arena, first)| arena.holds(first + slot, &self.argument))
    }

    fn wait(&mut self, watch: &Watch) -> Result<(), Errno> {
        let fd = match &self.reach {
            Reach::Held(descriptor) if watch.is(descriptor.as_fd()) => {
                wait_for_submissions(descriptor.as_fd());
                return Ok(());
            }
            Reach::Held(_) => return Err(Errno::BADF),
            Reach::Descriptor(fd) => *fd,
        };
        if let Some(lease) = self.shared.leases.get(self.ring) {
            wait_for_submissions(lease.as_fd());
            return Ok(());
        }
        let is_ring = |copy: &Taken| watch.is(copy.as_fd());
        let tid = self.memory.tid;
        let copy = self
            .tasks
            .descriptor(tid, fd)
            .ok()
            .filter(is_ring)
            .or_else(|| self.tasks.descriptor_of_thread(tid, fd).ok().filter(is_ring))
            // The descriptor is another file by now, so this submission would not reach the ring.
            .ok_or(Errno::BADF)?
            .into_ring();
        wait_for_submissions(copy.as_fd());
        if self.shared.leases.keep(self.ring, Arc::new(copy)) {
            self.shared.call_main_thread();
        }
        Ok(())
    }
}

impl Clerk<'_> {
    /// What happens to requests of that opcode, by the rules and the program's own filters together.
    fn rule(&self, opcode: u8) -> Rule {
        let rule = self.rules.of(opcode);
        let opcode = Opcode(opcode);
        let Some(own) = self.filters.as_deref().filter(|_| self.rules.knows(opcode)) else { return rule };
        match (rule, own.outright(opcode)) {
            (Rule::PassAsUnknown | Rule::Refuse | Rule::WeighArgument, _) | (_, Some(true)) => rule,
            (_, Some(false)) => Rule::Refuse,
            (_, None) if own.reads_payload(opcode) => Rule::WeighArgument,
            (_, None) => Rule::Weigh,
        }
    }

    /// Leaves an allowed SQE as it is and turns a refused one into its refusal, or into a malformed
    /// one if it is so itself: an operation looks at its SQE before its filters run.
    fn weigh(&mut self, words: &mut SqeWords, sqe: &Sqe, context: Context) -> bool {
        let verdict = self.rules.filters.verdict(&context);
        let own = self.filters.as_deref().map_or(Verdict::Allow, |filters| filters.verdict(&context));
        if (verdict, own) == (Verdict::Allow, Verdict::Allow) {
            self.outcome = self.observer.map(|_| Outcome::Allowed(*sqe, context));
            return true;
        }
        if prep::is_malformed(sqe, self.setup) {
            slots::set_sqe(words, self.rules.unknown(sqe));
            return false;
        }
        slots::set_sqe(words, self.rules.refusal(sqe, context.words()));
        if let Verdict::Deny(denial) = verdict {
            self.outcome = Some(Outcome::Refused(Refused::Request { sqe: *sqe, context, denial }));
        }
        false
    }

    /// The same for an operation whose argument in memory is judged, too: by a copy, which the kernel
    /// is then made to read.
    fn weigh_argument(&mut self, words: &mut SqeWords, slot: u32) -> Result<Judged, Errno> {
        let mut sqe = slots::sqe(words);
        let written = sqe;
        let opening = Opcode(sqe.opcode) == Opcode::OPENAT2;
        let (address, len) = if opening { (sqe.off, sqe.len) } else { (sqe.addr, sqe.off as u32) };
        self.argument = [0; SLOT];
        // More than a slot holds: the kernel refuses it for its length alone (an address, EINVAL) or
        // for what is behind the part it knows, of which one byte is as good as many (E2BIG).
        let mut kept = (len as usize).min(SLOT);
        let readable = match self.memory.read_bytes(address, &mut self.argument[..kept]) {
            // It submits nothing any more.
            Err(Errno::SRCH) => return Err(Errno::SRCH),
            read => read.is_ok(),
        };
        if opening && len as usize > SLOT {
            self.argument[SLOT - 1] = 1;
        }
        let payload = match readable {
            true if opening => Payload::OpenHow(&self.argument[..kept]),
            true if len as usize <= SLOT => Payload::Sockaddr(&self.argument[..kept]),
            _ => Payload::None,
        };
        let judged = Context::new(self.rules.filters.model(), &sqe, payload);
        let pointer = match (judged, self.arguments) {
            (Ok(context), _) if !self.weigh(words, &written, context) => return Ok(Judged::Whole),
            // Nobody judged it, so it must fail whatever the kernel knows.
            (Err(error), _) if readable && error != KernelErrno::E2BIG => {
                slots::set_sqe(words, self.rules.unknown(&written));
                return Ok(Judged::Whole);
            }
            (Err(_), Some((_, first))) if readable => {
                kept = SLOT;
                self.argument[SLOT - 1] = 1;
                Arena::address_of(first + slot)
            }
            (Ok(_), Some((_, first))) if readable => Arena::address_of(first + slot),
            _ if readable => {
                self.outcome = Some(Outcome::Refused(Refused::Unverifiable));
                slots::set_sqe(words, self.rules.refusal(&written, &[]));
                return Ok(Judged::Whole);
            }
            _ => UNREADABLE,
        };
        if opening {
            sqe.off = pointer;
            sqe.len = kept as u32;
        } else {
            sqe.addr = pointer;
        }
        slots::set_sqe(words, sqe);
        Ok(Judged::WithArgument)
    }
}
