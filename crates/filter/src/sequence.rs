//! What a request's place among others does to its flags.
//!
//! The kernel initialises requests one after the other, and a drain or a link changes how the next
//! ones come out (`io_init_req` and `io_init_drain`, `io_uring/io_uring.c`; the drain cases in
//! conformance/batches.toml). Filters see the result.

use crate::{Errno, KernelModel};
use ringwarden_uapi::ring::{SetupFlags, Sqe, SqeFlags};
use ringwarden_uapi::{OpTraits, Opcode};

const LINKS: SqeFlags = SqeFlags::IO_LINK.union(SqeFlags::IO_HARDLINK);
const LARGE_SQES: SetupFlags = SetupFlags::SQE128.union(SetupFlags::SQE_MIXED);

/// The state of one ring that passes from request to request: feed it every SQE in order.
///
/// ```
/// use ringwarden_filter::{KernelModel, Sequence};
/// use ringwarden_uapi::ring::{SetupFlags, Sqe, SqeFlags};
///
/// let mut sequence = Sequence::new(KernelModel::V7_3, SetupFlags::empty());
/// let drain = Sqe { flags: SqeFlags::IO_DRAIN.bits(), ..Sqe::default() };
/// assert_eq!(sequence.next(&drain), Ok(SqeFlags::IO_DRAIN | SqeFlags::ASYNC));
/// // Whatever follows a drain has to wait for it, in the same queue.
/// assert_eq!(sequence.next(&Sqe::default()), Ok(SqeFlags::ASYNC));
/// ```
#[derive(Clone, Debug)]
pub struct Sequence {
    model: KernelModel,
    setup: SetupFlags,
    /// A drain was asked for and not every request behind it has been let go.
    draining: bool,
    /// The first request after the open link has to drain.
    drain_next: bool,
    /// CQE_SKIP_SUCCESS was used, after which the ring can no longer count completions.
    drain_disabled: bool,
    /// A request before the current chain may not have completed.
    outstanding: bool,
    chain: Chain,
}

/// The link being put together, or the last request if there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Chain {
    open: bool,
    drains: bool,
    alone: bool,
    failed: bool,
}

impl Sequence {
    /// For a ring with those set-up flags that has submitted nothing yet.
    pub fn new(model: KernelModel, setup: SetupFlags) -> Self {
        Self {
            model,
            setup,
            draining: false,
            drain_next: false,
            drain_disabled: false,
            outstanding: false,
            chain: Chain::default(),
        }
    }

    /// A call to `io_uring_enter(2)` begins: a link that the call before left open has ended with
    /// it.
    pub fn begin(&mut self) {
        self.chain.open = false;
    }

    /// The `IOSQE_*` flags of the next request, its own and those its place adds.
    ///
    /// # Errors
    /// EINVAL for an opcode or flags that the kernel does not have or a 128-byte opcode on a ring
    /// that has no 128-byte SQEs; EOPNOTSUPP for BUFFER_SELECT where the opcode has no use for it and
    /// for IO_DRAIN once CQE_SKIP_SUCCESS was used. The request then counts as
    /// [failed](Self::fail).
    pub fn next(&mut self, sqe: &Sqe) -> Result<SqeFlags, Errno> {
        self.close();
        let linked = self.chain.open;
        if !linked {
            self.chain = Chain { alone: !self.outstanding, ..Chain::default() };
        }
        self.outstanding = true;
        let flags = self.admit(sqe, linked);
        self.chain.open = SqeFlags::from_bits_retain(sqe.flags).intersects(LINKS);
        match flags {
            Ok(flags) => self.chain.drains |= flags.contains(SqeFlags::IO_DRAIN),
            Err(_) => self.fail(),
        }
        flags
    }

    /// The request given last is refused: it, and its chain with it, is not queued.
    pub fn fail(&mut self) {
        self.chain.failed = true;
    }

    /// Every request given so far has completed.
    pub fn settle(&mut self) {
        self.close();
        self.outstanding = false;
    }

    /// Whether the request given last waits in the queue of those that a drain holds back.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    fn admit(&mut self, sqe: &Sqe, linked: bool) -> Result<SqeFlags, Errno> {
        let opcode = Opcode(sqe.opcode);
        if !self.model.has_opcode(opcode) {
            return Err(Errno::EINVAL);
        }
        let traits = opcode.traits();
        if traits.contains(OpTraits::IS_128) && !self.setup.intersects(LARGE_SQES) {
            return Err(Errno::EINVAL);
        }
        let mut flags = SqeFlags::from_bits(sqe.flags).ok_or(Errno::EINVAL)?;
        if flags.contains(SqeFlags::BUFFER_SELECT) && !traits.contains(OpTraits::BUFFER_SELECT) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.drain_disabled |= flags.contains(SqeFlags::CQE_SKIP_SUCCESS);
        if flags.contains(SqeFlags::IO_DRAIN) {
            if self.drain_disabled {
                return Err(Errno::EOPNOTSUPP);
            }
            self.draining = true;
            // A link runs as one: its head is drained in this request's stead, and so is whatever
            // comes after the link.
            self.drain_next |= linked;
        }
        if self.draining {
            flags |= SqeFlags::ASYNC;
        }
        if self.drain_next && !linked {
            self.drain_next = false;
            self.draining = true;
            flags |= SqeFlags::IO_DRAIN | SqeFlags::ASYNC;
        }
        Ok(flags)
    }

    /// Ends the drain if the chain that has been completed went through the queue at once, because
    /// nothing was left to wait for, and leaves nothing to wait for behind it.
    fn close(&mut self) {
        let Chain { open, drains, alone, failed } = self.chain;
        if !open && alone && !drains && !failed {
            self.draining = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: SqeFlags = SqeFlags::empty();
    const DRAIN: SqeFlags = SqeFlags::IO_DRAIN;
    const LINK: SqeFlags = SqeFlags::IO_LINK;
    const ASYNC: SqeFlags = SqeFlags::ASYNC;

    fn sequence() -> Sequence {
        Sequence::new(KernelModel::V7_3, SetupFlags::empty())
    }

    fn seen(sequence: &mut Sequence, flags: SqeFlags) -> SqeFlags {
        sequence.next(&Sqe { flags: flags.bits(), ..Sqe::default() }).unwrap()
    }

    #[test]
    fn a_drain_lasts_until_nothing_waits() {
        let mut sequence = sequence();
        assert_eq!(seen(&mut sequence, DRAIN), DRAIN | ASYNC);
        assert_eq!(seen(&mut sequence, PLAIN), ASYNC);
        sequence.settle();
        // It goes through the queue at once, as nothing is left to wait for: the drain is over.
        assert_eq!(seen(&mut sequence, PLAIN), ASYNC);
        assert_eq!(seen(&mut sequence, PLAIN), PLAIN);
    }

    #[test]
    fn a_refused_request_does_not_end_a_drain() {
        let mut sequence = sequence();
        seen(&mut sequence, DRAIN);
        sequence.settle();
        assert_eq!(seen(&mut sequence, PLAIN), ASYNC);
        sequence.fail();
        assert_eq!(seen(&mut sequence, PLAIN), ASYNC);
    }

    #[test]
    fn a_drain_within_a_link_passes_to_what_follows_the_link() {
        let mut sequence = sequence();
        assert_eq!(seen(&mut sequence, LINK), LINK);
        assert_eq!(seen(&mut sequence, LINK | DRAIN), LINK | DRAIN | ASYNC);
        assert_eq!(seen(&mut sequence, PLAIN), ASYNC);
        assert_eq!(seen(&mut sequence, PLAIN), DRAIN | ASYNC);
    }

    #[test]
    fn a_link_ends_with_its_call() {
        let mut sequence = sequence();
        seen(&mut sequence, LINK);
        sequence.begin();
        // A head of its own, so that the drain is its own as well.
        assert_eq!(seen(&mut sequence, DRAIN), DRAIN | ASYNC);
        assert_eq!(seen(&mut sequence, PLAIN), ASYNC);
    }

    #[test]
    fn silent_requests_and_drains_exclude_each_other() {
        let mut sequence = sequence();
        seen(&mut sequence, SqeFlags::CQE_SKIP_SUCCESS);
        let drain = Sqe { flags: DRAIN.bits(), ..Sqe::default() };
        assert_eq!(sequence.next(&drain), Err(Errno::EOPNOTSUPP));
        assert_eq!(seen(&mut sequence, PLAIN), PLAIN);
    }
}
