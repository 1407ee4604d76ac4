//! `io_uring_enter` with requests to submit: they are judged and published, and the call goes on.

use super::{After, Guarded, Supervisor};
use crate::arena::{Arena, SLOT};
use crate::audit::Refused;
use crate::identity::Watch;
use crate::kernel_ring::wait_for_submissions;
use crate::memory;
use crate::registered::{self, Registered};
use crate::rules::{Rule, Rules};
use crate::seccomp::{INJECTED, Notification};
use crate::shared::Shared;
use crate::slots::{self, SqeWords};
use crate::split_ring::{Incoming, Judged, Publisher};
use crate::tasks::{RingId, Space, Tasks};
use ringwarden_filter::{Context, Payload, Restrictions, Verdict};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{EnterFlags, Sqe};
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
        let Some(Guarded { ring, arena, restrictions, .. }) = self.rings.get_mut(&id) else {
            return self.listener.fail(call.id, Errno::BADF);
        };
        // A program that believes in a submission thread may wake it without a number.
        let woken = ring.plan().emulates_sqpoll() && flags.contains(EnterFlags::SQ_WAKEUP);
        let pending = if woken { ring.pending() } else { to_submit };
        let mut clerk = Clerk {
            rules: &self.rules,
            restrictions,
            tasks: &mut self.tasks,
            shared: &self.shared,
            ring: id,
            tid,
            reach,
            arguments: None,
            arena,
            argument: None,
            refusals: Vec::new(),
        };
        let published = ring.publish(pending.max(to_submit), &mut clerk);
        let Clerk { refusals, .. } = clerk;
        match published {
            Ok(()) if pending > to_submit => self.submit_in_place(call, tid, pending),
            Ok(()) => self.listener.proceed(call.id),
            // What was refused so far will be judged again.
            Err(Stop::Errno(error)) => return self.listener.fail(call.id, error),
            Err(Stop::NeedsArena) => return self.map_arena(call, tid, id),
        }
        for refusal in refusals {
            self.refused(tid, refusal);
        }
    }

    /// The ring that a thread has registered (`io_uring_enter`, IORING_ENTER_REGISTERED_RING).
    fn by_index(&self, tid: Pid, index: u32) -> Result<Registered, Errno> {
        if index as usize >= registered::MAX {
            return Err(Errno::INVAL);
        }
        self.shared.registered.get(tid, index as usize).ok_or(Errno::BADF)
    }

    /// Has the thread submit `count` requests as its submission thread would have, and then make its
    /// own call.
    fn submit_in_place(&self, call: &Notification, tid: Pid, count: u32) {
        let [fd, _, _, flags, ..] = call.args;
        let by_index = flags & u64::from(EnterFlags::REGISTERED_RING.bits());
        self.inject(call, tid, |injection| {
            let args = [fd, INJECTED << 32 | u64::from(count), 0, by_index, 0, 0];
            match injection.syscall(libc::SYS_io_uring_enter, args)? {
                // Nothing went: the same call would lead here again.
                submitted @ ..=0 => Ok(After::Return(submitted)),
                _ => Ok(After::Again),
            }
        });
    }

    /// Maps the arena into the calling thread's memory and has it make its call once more.
    fn map_arena(&mut self, call: &Notification, tid: Pid, id: RingId) {
        let prepared = self.prepare_arena(call, tid, id);
        let (mut arena, space, number) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return self.listener.fail(call.id, error),
        };
        self.inject(call, tid, |injection| {
            let mapped = arena.map(injection, tid, space, number);
            injection.syscall(libc::SYS_close, [number as u64, 0, 0, 0, 0, 0])?;
            mapped.map(|()| After::Again)
        });
        if let Some(guarded) = self.rings.get_mut(&id) {
            guarded.arena = Some(arena);
        }
    }

    /// The ring's arena, the space that it is missing in, and its descriptor there.
    fn prepare_arena(
        &mut self,
        call: &Notification,
        tid: Pid,
        id: RingId,
    ) -> Result<(Arena, Space, i32), Errno> {
        let space = self.tasks.confirm(tid)?;
        let guarded = self.rings.get_mut(&id).ok_or(Errno::BADF)?;
        let arena = match guarded.arena.take() {
            Some(arena) => arena,
            None => Arena::new(guarded.ring.slot_count())?,
        };
        let number = self.listener.add_fd(call.id, arena.file());
        match number {
            Ok(number) => Ok((arena, space, number)),
            Err(error) => {
                guarded.arena = Some(arena);
                Err(error)
            }
        }
    }
}

/// Why nothing more is published.
#[derive(Debug)]
pub(super) enum Stop {
    Errno(Errno),
    /// The calling thread's memory has no argument page yet.
    NeedsArena,
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
    /// The program's own, beside the rules.
    restrictions: &'a Restrictions,
    tasks: &'a mut Tasks,
    shared: &'a Shared,
    ring: RingId,
    tid: Pid,
    reach: Reach,
    /// Where the caller has the arena, once looked up.
    arguments: Option<u64>,
    arena: &'a mut Option<Arena>,
    /// The copied argument of the SQE that is being judged.
    argument: Option<[u8; SLOT]>,
    refusals: Vec<Refused>,
}

impl Publisher for Clerk<'_> {
    type Stop = Stop;

    fn passes(&self, opcode: u8) -> bool {
        self.rules.of(opcode) == Rule::Pass && self.restrictions.is_empty()
    }

    fn judge(&mut self, incoming: Incoming<'_>) -> Result<Judged, Stop> {
        let Incoming { words, slot, repeated } = incoming;
        if !self.restrictions.is_empty() {
            let sqe = slots::sqe(words);
            if !self.restrictions.allow(Opcode(sqe.opcode), sqe.flags) {
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
            Rule::WeighArgument => return self.weigh_argument(words, slot, repeated),
        }
        Ok(Judged::Whole)
    }

    fn store_argument(&mut self, slot: u32) {
        if let (Some(argument), Some(arena)) = (&self.argument, &self.arena) {
            arena.store(slot, argument);
        }
    }

    fn wait(&mut self, watch: &Watch) -> Result<(), Stop> {
        let fd = match &self.reach {
            Reach::Held(descriptor) if watch.is(descriptor.as_fd()) => {
                wait_for_submissions(descriptor.as_fd());
                return Ok(());
            }
            Reach::Held(_) => return Err(Stop::Errno(Errno::BADF)),
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
            .or_else(|| self.tasks.descriptor_of_thread(self.tid, fd).ok().filter(is_ring))
            // The descriptor is another file by now, so this submission would not reach the ring.
            .ok_or(Stop::Errno(Errno::BADF))?;
        wait_for_submissions(copy.as_fd());
        if self.shared.leases.keep(self.ring, Arc::new(copy)) {
            self.shared.call_main_thread();
        }
        Ok(())
    }
}

impl Clerk<'_> {
    /// Leaves an allowed SQE as it is and turns a refused one into its refusal.
    fn weigh(&mut self, words: &mut SqeWords, sqe: &Sqe, context: Context, repeated: bool) -> bool {
        let Verdict::Deny(denial) = self.rules.filters.verdict(&context) else { return true };
        slots::set_sqe(words, self.rules.refusal(sqe));
        if !repeated {
            self.refusals.push(Refused::Request { sqe: *sqe, context, denial });
        }
        false
    }

    /// The same for an operation whose argument in memory is judged, too: by a copy, which the kernel
    /// is then made to read.
    fn weigh_argument(&mut self, words: &mut SqeWords, slot: u32, repeated: bool) -> Result<Judged, Stop> {
        let mut sqe = slots::sqe(words);
        let written = sqe;
        let (address, len) = match Opcode(sqe.opcode) {
            Opcode::OPENAT2 => (sqe.off, sqe.len),
            _ => (sqe.addr, sqe.off as u32),
        };
        let mut argument = [0; SLOT];
        // More than a slot holds: the kernel refuses it for its length alone (an address, EINVAL) or
        // for what is behind the part it knows, of which one byte is as good as many (E2BIG).
        let kept = (len as usize).min(SLOT);
        let readable = memory::read_bytes(self.tid, address, &mut argument[..kept]).is_ok();
        if readable && Opcode(sqe.opcode) == Opcode::OPENAT2 && len as usize > SLOT {
            argument[SLOT - 1] = 1;
        }
        let payload = match Opcode(sqe.opcode) {
            _ if !readable => Payload::None,
            Opcode::OPENAT2 => Payload::OpenHow(&argument[..kept]),
            _ if len as usize > SLOT => Payload::None,
            _ => Payload::Sockaddr(&argument[..kept]),
        };
        let pointer = match Context::new(self.rules.filters.model(), &sqe, payload) {
            Ok(context) => {
                if !self.weigh(words, &written, context, repeated) {
                    return Ok(Judged::Whole);
                }
                self.arguments_at(slot)?
            }
            // The kernel finds the same fault in the copy, or by the length before it reads.
            Err(_) if payload != Payload::None => self.arguments_at(slot)?,
            Err(_) => UNREADABLE,
        };
        self.argument = Some(argument);
        match Opcode(sqe.opcode) {
            Opcode::OPENAT2 => {
                sqe.off = pointer;
                sqe.len = kept as u32;
            }
            _ => sqe.addr = pointer,
        }
        slots::set_sqe(words, sqe);
        Ok(Judged::WithArgument)
    }

    /// Where the program's memory has the argument slot.
    fn arguments_at(&mut self, slot: u32) -> Result<u64, Stop> {
        let base = match self.arguments {
            Some(base) => base,
            None => {
                let space = self.tasks.confirm(self.tid).map_err(Stop::Errno)?;
                let base = self.arena.as_mut().and_then(|arena| arena.address(self.tid, space));
                *self.arguments.insert(base.ok_or(Stop::NeedsArena)?)
            }
        };
        Ok(base + slot as u64 * SLOT as u64)
    }
}
