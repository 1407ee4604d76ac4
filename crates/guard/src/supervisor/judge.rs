//! The verdict on each SQE of a submission, and what is published in its place.

use super::Supervisor;
use crate::arena::{Arena, SLOT};
use crate::audit::Refused;
use crate::credentials::as_its_user;
use crate::identity::Watch;
use crate::kernel_ring::wait_for_submissions;
use crate::memory::Caller;
use crate::proc;
use crate::rules::{Rule, Rules};
use crate::slots::{self, SqeWords};
use crate::split_ring::{Incoming, Judged, Publisher};
use crate::taken::Taken;
use crate::tasks::RingId;
use ringwarden_filter::{
    Context, Errno as KernelErrno, KernelModel, Payload, Restrictions, Snapshot, Verdict, prep,
};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::open;
use ringwarden_uapi::ring::{SetupFlags, Sqe};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::Pid;
use std::sync::Arc;

/// An address that the kernel refuses to read from, whoever asks: requests whose argument could not
/// be read by the guard fail with EFAULT there.
const UNREADABLE: u64 = 0xffff_ffff_ffff_f000;

/// How the guard gets at the ring of a call.
#[derive(Debug)]
pub(super) enum Reach {
    /// By the caller's descriptor.
    Descriptor(i32),
    /// By one of the guard's own.
    Held(Arc<Taken>),
}

/// A ring that can be waited for, on behalf of a thread that uses it.
pub(super) struct Waiter<'a> {
    pub(super) supervisor: &'a Supervisor,
    pub(super) tid: Pid,
    pub(super) ring: RingId,
    pub(super) reach: Reach,
}

impl Waiter<'_> {
    /// Returns when no submission that began before is in progress on the ring that `watch` knows.
    ///
    /// # Errors
    /// `EBADF`: the caller's descriptor is another file by now, so that its call would not reach the ring.
    pub(super) fn wait(&self, watch: &Watch) -> Result<(), Errno> {
        let fd = match &self.reach {
            Reach::Held(descriptor) if watch.is(descriptor.as_fd()) => {
                wait_for_submissions(descriptor.as_fd());
                return Ok(());
            }
            Reach::Held(_) => return Err(Errno::BADF),
            Reach::Descriptor(fd) => *fd,
        };
        let shared = &self.supervisor.shared;
        if let Some(lease) = shared.leases.get(self.ring) {
            wait_for_submissions(lease.as_fd());
            return Ok(());
        }
        let is_ring = |copy: &Taken| watch.is(copy.as_fd());
        let descriptors = self.supervisor.state().tasks.descriptors(self.tid)?;
        let copy = descriptors.take(fd).ok().filter(is_ring);
        let copy = copy.or_else(|| descriptors.take_of_thread(fd).ok().filter(is_ring)).ok_or(Errno::BADF)?;
        wait_for_submissions(copy.as_fd());
        if shared.leases.keep(self.ring, Arc::new(copy)) {
            shared.call_main_thread();
        }
        Ok(())
    }
}

/// What came out about an SQE.
enum Outcome {
    Allowed(Sqe, Context),
    Refused(Refused),
}

/// Judges the SQEs of one call.
pub(super) struct Judge<'a> {
    pub(super) waiter: Waiter<'a>,
    /// The ring's set-up flags.
    pub(super) setup: SetupFlags,
    /// The program's own, beside the rules.
    pub(super) restrictions: Restrictions,
    pub(super) filters: Option<Snapshot>,
    pub(super) memory: Caller<'a>,
    /// The arena and the first of the ring's slots in it.
    pub(super) arguments: Option<(&'a Arena, u32)>,
    /// The copied argument of the SQE that is being judged.
    argument: [u8; SLOT],
    /// What is to be told of the SQE judged last.
    outcome: Option<Outcome>,
    pub(super) refusals: Vec<Refused>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(waiter: Waiter<'a>, setup: SetupFlags, memory: Caller<'a>) -> Self {
        Self {
            waiter,
            setup,
            restrictions: Restrictions::default(),
            filters: None,
            memory,
            arguments: None,
            argument: [0; SLOT],
            outcome: None,
            refusals: Vec::new(),
        }
    }

    fn rules(&self) -> &'a Rules {
        &self.waiter.supervisor.rules
    }
}

impl Publisher for Judge<'_> {
    type Stop = Errno;

    fn passes(&self, opcode: u8) -> bool {
        self.rules().of(opcode) == Rule::Pass && self.restrictions.is_empty() && self.filters.is_none()
    }

    fn judge(&mut self, incoming: Incoming<'_>) -> Result<Judged, Errno> {
        let Incoming { words, slot } = incoming;
        self.outcome = None;
        let rules = self.rules();
        if !self.restrictions.is_empty() {
            let sqe = slots::sqe(words);
            let opcode = Opcode(sqe.opcode);
            // An opcode that does not exist fails as such before restrictions are looked at.
            if rules.knows(opcode) && !self.restrictions.allow(opcode, sqe.flags) {
                slots::set_sqe(words, rules.refusal(&sqe, &[]));
                return Ok(Judged::Whole);
            }
        }
        match self.rule(words[0] as u8) {
            Rule::Pass => {}
            Rule::PassAsUnknown => {
                let sqe = slots::sqe(words);
                if rules.permissive {
                    self.weigh(words, &sqe, Context::header(rules.filters.model(), &sqe));
                }
                slots::set_sqe(words, rules.unknown(&sqe));
            }
            Rule::Refuse | Rule::Weigh => {
                let sqe = slots::sqe(words);
                let context = Context::header(rules.filters.model(), &sqe);
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
                if let Some(observer) = &self.waiter.supervisor.observer {
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
        self.waiter.wait(watch)
    }

    fn may_be_submitting(&self, tid: Pid) -> bool {
        may_be_submitting(tid)
    }
}

impl Judge<'_> {
    /// What happens to requests of that opcode, by the rules and the program's own filters together.
    fn rule(&self, opcode: u8) -> Rule {
        let rule = self.rules().of(opcode);
        let opcode = Opcode(opcode);
        let Some(own) = self.filters.as_deref().filter(|_| self.rules().knows(opcode)) else { return rule };
        match (rule, own.outright(opcode)) {
            (Rule::PassAsUnknown | Rule::Refuse | Rule::WeighArgument, _) | (_, Some(true)) => rule,
            (_, Some(false)) => Rule::Refuse,
            (_, None) if own.reads_payload(opcode) => Rule::WeighArgument,
            (_, None) => Rule::Weigh,
        }
    }

    /// Leaves an allowed SQE as it is and turns a refused one into its refusal, or into a malformed
    /// one if it is so itself: an operation looks at its SQE before its filters run. Gives whether it passes.
    fn weigh(&mut self, words: &mut SqeWords, sqe: &Sqe, context: Context) -> bool {
        let verdict = self.rules().filters.verdict(&context);
        let own = self.filters.as_deref().map_or(Verdict::Allow, |filters| filters.verdict(&context));
        if (verdict, own) == (Verdict::Allow, Verdict::Allow) {
            if Opcode(sqe.opcode) == Opcode::OPENAT {
                slots::set_sqe(words, without_unknown_flags(*sqe, self.rules().filters.model()));
            }
            self.outcome = self.waiter.supervisor.observer.as_ref().map(|_| Outcome::Allowed(*sqe, context));
            return true;
        }
        if prep::is_malformed(sqe, self.setup) {
            slots::set_sqe(words, self.rules().unknown(sqe));
            return false;
        }
        let passes = self.rules().permissive && own == Verdict::Allow;
        if !passes {
            slots::set_sqe(words, self.rules().refusal(sqe, context.words()));
        }
        if let Verdict::Deny(denial) = verdict {
            self.outcome = Some(Outcome::Refused(Refused::Request { sqe: *sqe, context, denial }));
        }
        passes
    }

    /// Whether the verdict on requests of an operation whose argument is looked at depends on it.
    fn depends_on_argument(&self, opcode: Opcode) -> bool {
        !self.rules().permissive || self.filters.as_deref().is_some_and(|own| own.reads_payload(opcode))
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
        let judged = Context::new(self.rules().filters.model(), &sqe, payload);
        if !self.depends_on_argument(Opcode(sqe.opcode)) {
            // The kernel reads it where the program has it, as natively.
            if let Ok(context) = judged {
                self.weigh(words, &written, context);
            }
            return Ok(Judged::Whole);
        }
        let pointer = match (judged, self.arguments) {
            (Ok(context), _) if !self.weigh(words, &written, context) => return Ok(Judged::Whole),
            // Nobody judged it, so it must fail whatever the kernel knows.
            (Err(error), _) if readable && error != KernelErrno::E2BIG => {
                slots::set_sqe(words, self.rules().unknown(&written));
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
                slots::set_sqe(words, self.rules().refusal(&written, &[]));
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

/// An OPENAT without the flags that kernels of that model ignore: filters do not see them, and a later
/// kernel might act on them.
fn without_unknown_flags(sqe: Sqe, model: KernelModel) -> Sqe {
    let mut known = model.facts().open_flags as u32;
    if sqe.op_flags & open::O_PATH as u32 != 0 {
        known &= open::O_PATH_FLAGS as u32;
    }
    Sqe { op_flags: sqe.op_flags & known, ..sqe }
}

/// Whether the thread `tid` may be within `io_uring_enter`, on its way to the ring.
pub(super) fn may_be_submitting(tid: Pid) -> bool {
    match as_its_user(tid, || proc::text(tid, "syscall")) {
        // Not blocked: it may be anywhere.
        Ok(call) if call.starts_with("running") => true,
        Ok(call) => call.split(' ').next() == Some(&libc::SYS_io_uring_enter.to_string()),
        Err(error) => !matches!(error, Errno::NOENT | Errno::SRCH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_no_filter_sees_is_not_passed_on() {
        let model = KernelModel::default();
        let flags = |flags: u64| {
            let sqe = Sqe { opcode: Opcode::OPENAT.0, op_flags: flags as u32, ..Sqe::default() };
            u64::from(without_unknown_flags(sqe, model).op_flags)
        };
        assert_eq!(flags(open::O_CREAT | open::O_TRUNC | 2), open::O_CREAT | open::O_TRUNC | 2);
        assert_eq!(flags(open::O_CREAT | 1 << 27 | 1 << 31), open::O_CREAT);
        assert_eq!(flags(open::O_PATH | open::O_CREAT | open::O_CLOEXEC), open::O_PATH | open::O_CLOEXEC);
        // What filters see is the same.
        for bit in 0..32 {
            for base in [0, open::O_PATH, open::O_CREAT] {
                let sqe =
                    Sqe { opcode: Opcode::OPENAT.0, op_flags: (base | 1 << bit) as u32, ..Sqe::default() };
                let after = without_unknown_flags(sqe, model);
                let words = |sqe: &Sqe| Context::header(model, sqe).words().to_vec();
                assert_eq!(words(&sqe), words(&after), "{:#x}", sqe.op_flags);
            }
        }
    }
}
