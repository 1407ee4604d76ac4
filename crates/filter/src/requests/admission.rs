//! A request on its way in: what is wrong with it, what its place adds to its flags, what filters say.
//!
//! The kernel initialises requests one after the other, and a drain or a link changes how the next ones come out
//! (`io_init_req` and `io_init_drain`, `io_uring/io_uring.c`, Linux 7.2; the drain cases in conformance/batches.toml).
//! Filters see the result.

use super::table::Live;
use super::{Refusal, Requests, Rules};
use crate::prep::{self, Prepared};
use crate::{Context, Errno, UserMemory, Verdict};
use ringwarden_uapi::ring::{SetupFlags, Sqe, SqeFlags};
use ringwarden_uapi::{OpTraits, Opcode};

/// What a ring remembers of drains.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drains {
    /// A drain was asked for and not every request behind it has been let go.
    pub(super) active: bool,
    /// The first request after the open link has to drain.
    next: bool,
    /// CQE_SKIP_SUCCESS was used, after which the ring can no longer count completions.
    disabled: bool,
}

/// What its place in its submission adds to a request's flags.
const DRAINED: SqeFlags = SqeFlags::IO_DRAIN.union(SqeFlags::ASYNC);

impl Requests {
    /// Judges a request and says how many slots it takes. Leaves its flags and what was read in `live`.
    pub(super) fn admit(
        &mut self,
        rules: &Rules<'_>,
        live: &mut Live,
        memory: &impl UserMemory,
    ) -> (u32, Option<Context>, Option<Refusal>) {
        let opcode = live.opcode();
        if !self.model.has_opcode(opcode) {
            return (1, None, Some(Refusal::Invalid(Errno::EINVAL)));
        }
        let large = opcode.traits().contains(OpTraits::IS_128) && !self.setup.contains(SetupFlags::SQE128);
        // It takes the slot after its own, too, which must be there.
        if large && !(self.setup.contains(SetupFlags::SQE_MIXED) && live.entry.second().is_some()) {
            return (1, None, Some(Refusal::Invalid(Errno::EINVAL)));
        }
        let slots = 1 + u32::from(large);
        match self.prepare(rules, live, memory) {
            Ok(context) => match rules.filters.map(|set| set.verdict(&context)) {
                Some(Verdict::Deny(denial)) => (slots, Some(context), Some(Refusal::Filtered(denial))),
                _ => (slots, Some(context), None),
            },
            Err(refusal) => (slots, None, Some(refusal)),
        }
    }

    /// All that comes before filters.
    fn prepare(
        &mut self,
        rules: &Rules<'_>,
        live: &mut Live,
        memory: &impl UserMemory,
    ) -> Result<Context, Refusal> {
        let sqe = *live.entry.sqe();
        let added = self.place(rules, &sqe)?;
        live.flags |= added;
        let prepared = prep::prepare_copies(self.model, &sqe, self.setup, memory);
        let Prepared { context, copied } = prepared.map_err(Refusal::Invalid)?;
        if live.opcode() == Opcode::LINK_TIMEOUT {
            self.arm()?;
        }
        let context = context.with_flags(added);
        live.flags |= context.sqe_flags();
        live.copied = copied;
        Ok(context)
    }

    /// The flags that its place adds to a request's own.
    fn place(&mut self, rules: &Rules<'_>, sqe: &Sqe) -> Result<SqeFlags, Refusal> {
        let invalid = |errno| Err(Refusal::Invalid(errno));
        let opcode = Opcode(sqe.opcode);
        let Some(flags) = SqeFlags::from_bits(sqe.flags) else { return invalid(Errno::EINVAL) };
        if flags.contains(SqeFlags::BUFFER_SELECT) && !opcode.traits().contains(OpTraits::BUFFER_SELECT) {
            return invalid(Errno::EOPNOTSUPP);
        }
        self.drains.disabled |= flags.contains(SqeFlags::CQE_SKIP_SUCCESS);
        if flags.contains(SqeFlags::IO_DRAIN) {
            if self.drains.disabled {
                return invalid(Errno::EOPNOTSUPP);
            }
            self.drains.active = true;
            if let Some((head, _)) = self.chain {
                // A link runs as one: its head is drained in this request's stead, and so is whatever comes after
                // the link.
                self.table[head].flags |= DRAINED;
                self.drains.next = true;
            }
        }
        if !rules.restrictions.allow(opcode, sqe.flags) {
            return Err(Refusal::Restricted);
        }
        let mut added = SqeFlags::empty();
        if self.drains.active {
            added |= SqeFlags::ASYNC;
        }
        if self.drains.next && self.chain.is_none() {
            self.drains.next = false;
            self.drains.active = true;
            added |= DRAINED;
        }
        Ok(added)
    }

    /// Has the request before a LINK_TIMEOUT be timed by it: there has to be one, and not another timeout
    /// (`__io_timeout_prep`, `io_uring/timeout.c`).
    fn arm(&mut self) -> Result<(), Refusal> {
        let timed = self.chain.map(|(_, last)| last);
        match timed.map(|timed| &mut self.table[timed]) {
            Some(timed) if timed.opcode() != Opcode::LINK_TIMEOUT => {
                timed.armed = true;
                Ok(())
            }
            _ => Err(Refusal::Invalid(Errno::EINVAL)),
        }
    }
}
