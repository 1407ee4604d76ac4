//! The verdict on one SQE, and what is published in its place: no system call, and nothing but what is given.

use crate::audit::Refused;
use crate::split::arena::{Arena, Argument, SLOT};
use crate::split::rules::{Rule, Rules};
use crate::split::slots::{self, SqeWords};
use ringwarden_filter::{
    Context, Errno as KernelErrno, Payload, Restrictions, Snapshot, Verdict, prep, without_dropped,
};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{SetupFlags, Sqe};
use rustix::io::Errno;

#[cfg(test)]
pub(crate) mod tests;

/// An address that the kernel refuses to read from, whoever asks: requests whose argument could not
/// be read by the guard fail with EFAULT there.
const UNREADABLE: u64 = 0xffff_ffff_ffff_f000;

/// What the requests of one submission are held to.
pub(crate) struct Judge<'a> {
    pub(crate) rules: &'a Rules,
    /// The ring's set-up flags.
    pub(crate) setup: SetupFlags,
    /// The program's own, beside the rules.
    pub(crate) restrictions: Restrictions,
    pub(crate) filters: Option<Snapshot>,
    /// The first of the ring's slots in the arena, if arguments can be kept.
    pub(crate) arguments: Option<u32>,
    /// Somebody is told of what is allowed.
    pub(crate) observed: bool,
}

/// What is published in the place of an SQE.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) words: SqeWords,
    /// What is to be in the slot's place in the arena, to which the SQE points; it is part of the request.
    pub(crate) argument: Option<Argument>,
    /// What is told once it is published.
    pub(crate) note: Option<Note>,
}

/// What is told of an SQE.
#[derive(Debug)]
pub(crate) enum Note {
    Allowed(Sqe, Context),
    Refused(Refused),
}

impl Judge<'_> {
    /// Whether every request of that opcode is published as it is.
    pub(crate) fn passes(&self, opcode: u8) -> bool {
        self.rules.of(opcode) == Rule::Pass && self.restrictions.is_empty() && self.filters.is_none()
    }

    /// Judges one SQE on its way to `slot`. The program's memory is looked at once at most, by `read`.
    ///
    /// # Errors
    /// `ESRCH` from `read`: whoever wanted to submit is gone.
    pub(crate) fn judge(
        &self,
        words: SqeWords,
        slot: u32,
        read: impl FnOnce(u64, &mut [u8]) -> Result<(), Errno>,
    ) -> Result<Judged, Errno> {
        let mut judged = Judged { words, argument: None, note: None };
        let rules = self.rules;
        if !self.restrictions.is_empty() {
            let sqe = slots::sqe(&words);
            let opcode = Opcode(sqe.opcode);
            // An opcode that does not exist fails as such before restrictions are looked at.
            if rules.knows(opcode) && !self.restrictions.allow(opcode, sqe.flags) {
                judged.is_now(rules.refusal(&sqe, &[]));
                return Ok(judged);
            }
        }
        match self.rule(words[0] as u8) {
            Rule::Pass => {}
            Rule::PassAsUnknown => {
                let sqe = slots::sqe(&words);
                if rules.permissive {
                    self.weigh(&mut judged, &sqe, None);
                }
                judged.is_now(rules.unknown(&sqe));
            }
            Rule::Refuse => {
                let sqe = slots::sqe(&words);
                let context = self.shown(&sqe, read)?;
                self.weigh(&mut judged, &sqe, Some(context));
            }
            Rule::Weigh => {
                self.weigh(&mut judged, &slots::sqe(&words), None);
            }
            Rule::WeighArgument => self.weigh_argument(&mut judged, slot, read)?,
        }
        Ok(judged)
    }

    /// All that filters would see of a request that is refused whatever it asks for: somebody is told of it. As much as
    /// there is where its argument cannot be read.
    fn shown(
        &self,
        sqe: &Sqe,
        read: impl FnOnce(u64, &mut [u8]) -> Result<(), Errno>,
    ) -> Result<Context, Errno> {
        let header = Context::header(self.rules.filters.model(), sqe);
        let mut slot = [0; SLOT];
        let place = header.opcode().argument().filter(|_| !header.is_complete());
        let bytes = place.and_then(|place| Some((place, slot.get_mut(..place.len(sqe))?)));
        let Some((place, bytes)) = bytes else { return Ok(header) };
        match read(place.pointer.get(sqe), bytes) {
            // It submits nothing any more.
            Err(Errno::SRCH) => return Err(Errno::SRCH),
            Err(_) => return Ok(header),
            Ok(()) => {}
        }
        let payload = Payload::of(header.opcode(), bytes);
        Ok(Context::new(self.rules.filters.model(), sqe, payload).unwrap_or(header))
    }

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
    /// one if it is so itself: an operation looks at its SQE before its filters run. Gives whether it passes.
    /// Without a `context` it is weighed by what its SQE says; most that pass need none.
    fn weigh(&self, judged: &mut Judged, sqe: &Sqe, context: Option<Context>) -> bool {
        let filters = &self.rules.filters;
        let verdict =
            context.as_ref().map_or_else(|| filters.verdict_on(sqe), |shown| filters.verdict(shown));
        let own = self.own_verdict(sqe, context.as_ref());
        let context = || context.unwrap_or_else(|| Context::header(filters.model(), sqe));
        if (verdict, own) == (Verdict::Allow, Verdict::Allow) {
            if let Some(kept) = without_dropped(filters.model(), sqe) {
                judged.is_now(kept);
            }
            judged.note = self.observed.then(|| Note::Allowed(*sqe, context()));
            return true;
        }
        if prep::is_malformed(sqe, self.setup) {
            judged.is_now(self.rules.unknown(sqe));
            return false;
        }
        let context = context();
        let passes = self.rules.permissive && own == Verdict::Allow;
        if !passes {
            judged.is_now(self.rules.refusal(sqe, context.words()));
        }
        if let Verdict::Deny(denial) = verdict {
            judged.note = Some(Note::Refused(Refused::Request { sqe: *sqe, context, denial }));
        }
        passes
    }

    /// Refuses what the program's own filters do, which do not look at its argument.
    fn weigh_by_own(&self, judged: &mut Judged, sqe: &Sqe) {
        if self.own_verdict(sqe, None) != Verdict::Allow {
            let context = Context::header(self.rules.filters.model(), sqe);
            judged.is_now(self.rules.refusal(sqe, context.words()));
        }
    }

    /// Programs' filters see what kernels show, whatever the rules see.
    fn own_verdict(&self, sqe: &Sqe, context: Option<&Context>) -> Verdict {
        let Some(filters) = self.filters.as_deref() else { return Verdict::Allow };
        match context {
            Some(context) => filters.verdict(&context.as_kernels_show()),
            None => filters.verdict_on(sqe),
        }
    }

    /// Whether the verdict on requests of an operation whose argument is looked at depends on it.
    fn depends_on_argument(&self, opcode: Opcode) -> bool {
        !self.rules.permissive || self.filters.as_deref().is_some_and(|own| own.reads_payload(opcode))
    }

    /// The same for an operation whose argument in memory is judged, too: by a copy, which the kernel
    /// is then made to read.
    fn weigh_argument(
        &self,
        judged: &mut Judged,
        slot: u32,
        read: impl FnOnce(u64, &mut [u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut sqe = slots::sqe(&judged.words);
        let written = sqe;
        let opcode = Opcode(sqe.opcode);
        let Some(place) = opcode.argument() else {
            // What filters look at is somewhere.
            judged.is_now(self.rules.refusal(&written, &[]));
            return Ok(());
        };
        let len = place.len(&sqe);
        let mut argument = [0; SLOT];
        // More than a slot holds: the kernel refuses it for its length alone (an address, EINVAL) or
        // for what is behind the part it knows, of which one byte is as good as many (E2BIG).
        let kept = len.min(SLOT);
        let readable = match read(place.pointer.get(&sqe), &mut argument[..kept]) {
            // It submits nothing any more.
            Err(Errno::SRCH) => return Err(Errno::SRCH),
            read => read.is_ok(),
        };
        if place.is_extensible() && len > SLOT {
            argument[SLOT - 1] = 1;
        }
        let payload = match readable && place.takes(len) {
            true => Payload::of(opcode, &argument[..kept]),
            false => Payload::None,
        };
        let context = Context::new(self.rules.filters.model(), &sqe, payload);
        if !self.depends_on_argument(opcode) {
            // The kernel reads it where the program has it, as natively: perhaps another by then.
            match context {
                Ok(context) => drop(self.weigh(judged, &written, Some(context))),
                Err(_) => self.weigh_by_own(judged, &written),
            }
            return Ok(());
        }
        let (pointer, len) = match (context, self.arguments) {
            (Ok(context), _) if !self.weigh(judged, &written, Some(context)) => return Ok(()),
            // Nobody judged it, so it must fail whatever the kernel knows.
            (Err(error), _) if readable && error != KernelErrno::E2BIG => {
                judged.is_now(self.rules.unknown(&written));
                return Ok(());
            }
            (Err(_), Some(first)) if readable => {
                argument[SLOT - 1] = 1;
                (Arena::address_of(first + slot), SLOT)
            }
            (Ok(_), Some(first)) if readable => (Arena::address_of(first + slot), kept),
            _ if readable => {
                judged.note = Some(Note::Refused(Refused::Unverifiable));
                judged.is_now(self.rules.refusal(&written, &[]));
                return Ok(());
            }
            _ => (UNREADABLE, len),
        };
        place.point(&mut sqe, pointer, len);
        judged.is_now(sqe);
        judged.argument = Some(argument);
        Ok(())
    }
}

impl Judged {
    fn is_now(&mut self, sqe: Sqe) {
        slots::set_sqe(&mut self.words, sqe);
    }
}
