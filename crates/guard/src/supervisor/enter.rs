//! `io_uring_enter` with requests to submit: they are judged and published, and the call goes on.

use super::{After, Guarded, Supervisor};
use crate::arena::{Arena, SLOT};
use crate::audit::Refused;
use crate::identity::Watch;
use crate::kernel_ring::wait_for_submissions;
use crate::memory;
use crate::registered::{self, Registered};
use crate::rules::{Rule, Rules};
use crate::seccomp::Notification;
use crate::shared::Shared;
use crate::slots::{self, SqeWords};
use crate::split_ring::{Incoming, Judged, Publisher};
use crate::tasks::{RingId, Tasks, descriptor_of_thread};
use ringwarden_filter::{Context, Payload, Restrictions, Verdict, prep};
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
        if let Some(arena) = &mut self.arena {
            match self.tasks.confirm(tid) {
                Ok(space) if arena.is_in(tid, space) => {}
                Ok(_) => return self.map_arena(call, tid),
                Err(error) => return self.listener.fail(call.id, error),
            }
        }
        let Some(Guarded { ring, arguments, restrictions, .. }) = self.rings.get_mut(&id) else {
            return self.listener.fail(call.id, Errno::BADF);
        };
        // A program that believes in a submission thread may wake it without a number.
        let woken = ring.plan().emulates_sqpoll() && flags.contains(EnterFlags::SQ_WAKEUP);
        let pending = if woken { ring.pending() } else { to_submit };
        let mut clerk = Clerk {
            rules: &self.rules,
            setup: ring.plan().asked,
            restrictions,
            tasks: &mut self.tasks,
            shared: &self.shared,
            ring: id,
            tid,
            reach,
            arguments: self.arena.as_ref().zip(*arguments),
            argument: [0; SLOT],
            refusals: Vec::new(),
        };
        let published = ring.publish(pending.max(to_submit), &mut clerk);
        let Clerk { refusals, .. } = clerk;
        match published {
            // The kernel knows of no submission thread, so that the number has to be said.
            Ok(()) if pending > to_submit => {
                self.inject(call, tid, || Ok(()), |_, ()| Ok(After::AgainWith(u64::from(pending))))
            }
            Ok(()) => self.listener.proceed(call.id),
            Err(error) => return self.listener.fail(call.id, error),
        }
        for refusal in refusals {
            self.refused(tid, refusal);
        }
    }

    /// The ring that a thread has registered (`io_uring_enter`, IORING_ENTER_REGISTERED_RING).
    pub(super) fn by_index(&self, tid: Pid, index: u32) -> Result<Registered, Errno> {
        if index as usize >= registered::MAX {
            return Err(Errno::INVAL);
        }
        self.shared.registered.get(tid, index as usize).ok_or(Errno::BADF)
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

/// How the guard gets at the ring of a call.
#[derive(Debug)]
enum Reach {
    /// By the caller's descriptor.
    Descriptor(i32),
    /// By one of the guard's own.
    Held(Arc<OwnedFd>),
}

/// Judges the SQEs of one call.
struct Clerk<'a> {
    rules: &'a Rules,
    /// The ring's set-up flags.
    setup: SetupFlags,
    /// The program's own, beside the rules.
    restrictions: &'a Restrictions,
    tasks: &'a mut Tasks,
    shared: &'a Shared,
    ring: RingId,
    tid: Pid,
    reach: Reach,
    /// The arena and the first of the ring's slots in it.
    arguments: Option<(&'a Arena, u32)>,
    /// The copied argument of the SQE that is being judged.
    argument: [u8; SLOT],
    refusals: Vec<Refused>,
}

impl Publisher for Clerk<'_> {
    type Stop = Errno;

    fn passes(&self, opcode: u8) -> bool {
        self.rules.of(opcode) == Rule::Pass && self.restrictions.is_empty()
    }

    fn judge(&mut self, incoming: Incoming<'_>) -> Result<Judged, Errno> {
        let Incoming { words, slot, repeated } = incoming;
        if !self.restrictions.is_empty() {
            let sqe = slots::sqe(words);
            let opcode = Opcode(sqe.opcode);
            // An opcode that does not exist fails as such before restrictions are looked at.
            if self.rules.knows(opcode) && !self.restrictions.allow(opcode, sqe.flags) {
                slots::set_sqe(words, self.rules.refusal(&sqe));
                return Ok(Judged::Whole);
            }
        }
        match self.rules.of(words[0] as u8) {
            Rule::Pass => {}
            Rule::PassAsUnknown => {
                let unknown = self.rules.unknown(&slots::sqe(words));
                slots::set_sqe(words, unknown);
            }
            Rule::Refuse | Rule::Weigh => {
                let sqe = slots::sqe(words);
                let context = Context::header(self.rules.filters.model(), &sqe);
                self.weigh(words, &sqe, context, repeated);
            }
            Rule::WeighArgument => return Ok(self.weigh_argument(words, slot, repeated)),
        }
        Ok(Judged::Whole)
    }

    fn store_argument(&mut self, slot: u32) {
        if let Some((arena, first)) = self.arguments {
            arena.store(first + slot, &self.argument);
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
        let is_ring = |copy: &OwnedFd| watch.is(copy.as_fd());
        let copy = self
            .tasks
            .descriptor(self.tid, fd)
            .ok()
            .filter(is_ring)
            .or_else(|| descriptor_of_thread(self.tid, fd).ok().filter(is_ring))
            // The descriptor is another file by now, so this submission would not reach the ring.
            .ok_or(Errno::BADF)?;
        wait_for_submissions(copy.as_fd());
        if self.shared.leases.keep(self.ring, Arc::new(copy)) {
            self.shared.call_main_thread();
        }
        Ok(())
    }
}

impl Clerk<'_> {
    /// Leaves an allowed SQE as it is and turns a refused one into its refusal, or into a malformed
    /// one if it is so itself: an operation looks at its SQE before its filters run.
    fn weigh(&mut self, words: &mut SqeWords, sqe: &Sqe, context: Context, repeated: bool) -> bool {
        let Verdict::Deny(denial) = self.rules.filters.verdict(&context) else { return true };
        if prep::is_malformed(self.rules.filters.model(), sqe, self.setup) {
            slots::set_sqe(words, self.rules.unknown(sqe));
            return false;
        }
        slots::set_sqe(words, self.rules.refusal(sqe));
        if !repeated {
            self.refusals.push(Refused::Request { sqe: *sqe, context, denial });
        }
        false
    }

    /// The same for an operation whose argument in memory is judged, too: by a copy, which the kernel
    /// is then made to read.
    fn weigh_argument(&mut self, words: &mut SqeWords, slot: u32, repeated: bool) -> Judged {
        let mut sqe = slots::sqe(words);
        let written = sqe;
        let opening = Opcode(sqe.opcode) == Opcode::OPENAT2;
        let (address, len) = if opening { (sqe.off, sqe.len) } else { (sqe.addr, sqe.off as u32) };
        self.argument = [0; SLOT];
        // More than a slot holds: the kernel refuses it for its length alone (an address, EINVAL) or
        // for what is behind the part it knows, of which one byte is as good as many (E2BIG).
        let kept = (len as usize).min(SLOT);
        let readable = memory::read_bytes(self.tid, address, &mut self.argument[..kept]).is_ok();
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
            (Ok(context), _) if !self.weigh(words, &written, context, repeated) => return Judged::Whole,
            // The kernel finds the same fault in the copy.
            (_, Some((_, first))) if readable => Arena::address_of(first + slot),
            (Ok(_), _) if readable => {
                self.refusals.push(Refused::Unverifiable);
                slots::set_sqe(words, self.rules.refusal(&written));
                return Judged::Whole;
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
        Judged::WithArgument
    }
}
