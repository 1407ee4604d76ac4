//! From the ring that a program asks for to the split ring that it gets: sizes and flags.
//!
//! Pure arithmetic, with the checks of `io_uring_setup(2)` that the kernel cannot make any more once
//! the request is rewritten (`io_uring/io_uring.c`, `io_uring_fill_params` and
//! `io_uring_sanitise_params`, Linux 6.18).

use crate::mapping::{PAGE, page_align};
use crate::setup_checks::{check_submission_thread, clamped};
use ringwarden_filter::SetupRules;
use ringwarden_uapi::ring::{MAX_ENTRIES, OFF_CQ_RING, OFF_SQES, Params, SetupFlags};
use rustix::io::Errno;

/// A cache line: what the kernel aligns the index array to.
const LINE: usize = 64;

/// Flags that the guard can stand for. Others are refused with `EINVAL`, as a kernel that lacks
/// them does: NO_MMAP and REGISTERED_FD_ONLY (the SQEs would be the program's), SQE_MIXED, and
/// whatever comes later.
const SUPPORTED: SetupFlags = SetupFlags::all()
    .difference(SetupFlags::NO_MMAP)
    .difference(SetupFlags::REGISTERED_FD_ONLY)
    .difference(SetupFlags::SQE_MIXED);

/// Where the shared part begins in a ring's memfd: not at an offset at which the guard's own seccomp
/// filter would stop the injected `mmap`.
pub(crate) const RINGS_OFFSET: u64 = PAGE as u64;

/// How one ring will be laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The flags that the program asked for.
    pub(crate) asked: SetupFlags,
    /// SQEs that the program sees.
    pub(crate) entries: u32,
    /// Private SQEs: a power of two, at least `entries`.
    pub(crate) slots: u32,
    /// CQEs, the same on both sides.
    pub(crate) cq_entries: u32,
    /// Bytes of one SQE, 64 or 128.
    pub(crate) sqe_size: usize,
    /// Bytes of the real header with its CQEs.
    pub(crate) header_len: usize,
    /// Where mask and entries are as the program is to see them; `None` where the real ones serve.
    pub(crate) sizes_offset: Option<usize>,
    /// Where the program's index array is, if it has one.
    pub(crate) array_offset: Option<usize>,
    /// Bytes of the shared part: header, CQEs and index array, whole pages.
    pub(crate) rings_len: usize,
    /// Bytes of the shadow SQEs, whole pages.
    pub(crate) shadow_len: usize,
    /// The real ring has one issuer if the program's is to.
    one_issuer: bool,
}

impl Plan {
    /// Plans the ring for `entries` and `params`, as far as the rules have it; `cqes_offset` is the kernel's (see
    /// [`KernelRing`](crate::kernel_ring::KernelRing)), `spare` asks for private slots beyond the
    /// program's, so that slots need rarely be waited for.
    ///
    /// # Errors
    /// The kernel's errno for the same request, `EINVAL` for what cannot be split, or `EPERM` for what
    /// the rules refuse.
    pub(crate) fn new(
        entries: u32,
        params: &Params,
        rules: SetupRules,
        cqes_offset: usize,
        spare: bool,
    ) -> Result<Self, Errno> {
        let asked = SetupFlags::from_bits(params.flags).ok_or(Errno::INVAL)?;
        if !SUPPORTED.contains(asked) {
            return Err(Errno::INVAL);
        }
        check_submission_thread(asked, params)?;
        if asked.intersects(rules.denied) {
            return Err(Errno::PERM);
        }
        let most = rules.max_entries.clamp(1, MAX_ENTRIES);
        let clamp = asked.contains(SetupFlags::CLAMP);
        let entries = clamped(entries, most, clamp)?.next_power_of_two();
        let cq_entries = if asked.contains(SetupFlags::CQSIZE) {
            let cq_entries = clamped(params.cq_entries, 2 * most, clamp)?.next_power_of_two();
            if cq_entries < entries {
                return Err(Errno::INVAL);
            }
            cq_entries
        } else {
            2 * entries
        };
        let sqe_size = if asked.contains(SetupFlags::SQE128) { 128 } else { 64 };
        let cqe_size = if asked.contains(SetupFlags::CQE32) { 32 } else { 16 };
        let has_array = !asked.contains(SetupFlags::NO_SQARRAY);
        // The kernel wants no fewer CQEs than SQEs, and the program's CQ must have the size that it
        // asked for. Without an index array the program indexes with the real mask.
        let page_of_slots = (PAGE / sqe_size) as u32;
        let slots = match (has_array, spare) {
            (false, _) => entries,
            (true, true) => cq_entries.min(MAX_ENTRIES).min(entries.max(1024)),
            (true, false) => cq_entries.min(MAX_ENTRIES).min(entries.max(page_of_slots)),
        };
        let header_len = cqes_offset + cq_entries as usize * cqe_size;
        // Behind the CQEs comes what only the program and the guard use.
        let mut end = header_len.next_multiple_of(LINE);
        let mut reserve = |wanted: bool, len: usize| {
            let at = wanted.then_some(end);
            end += if wanted { len.next_multiple_of(LINE) } else { 0 };
            at
        };
        let sizes_offset = reserve(slots != entries, LINE);
        let array_offset = reserve(has_array, entries as usize * 4);
        Ok(Self {
            asked,
            entries,
            slots,
            cq_entries,
            sqe_size,
            header_len,
            sizes_offset,
            array_offset,
            rings_len: page_align(end),
            shadow_len: page_align(entries as usize * sqe_size),
            one_issuer: true,
        })
    }

    /// The same with a real ring that any task may submit to, whatever was asked for: completions may then
    /// come earlier than asked for.
    pub(crate) fn without_one_issuer(self) -> Self {
        Self { one_issuer: false, ..self }
    }

    /// Where the shadow SQEs begin in the ring's memfd.
    pub(crate) fn shadow_offset(&self) -> u64 {
        match RINGS_OFFSET + self.rings_len as u64 {
            // Trapped, as `RINGS_OFFSET` must not be.
            offset @ (OFF_CQ_RING | OFF_SQES) => offset + PAGE as u64,
            offset => offset,
        }
    }

    /// Bytes of the private SQEs.
    pub(crate) fn private_len(&self) -> usize {
        page_align(self.slots as usize * self.sqe_size)
    }

    /// Whether a submission thread is to be pretended.
    pub(crate) fn emulates_sqpoll(&self) -> bool {
        self.asked.contains(SetupFlags::SQPOLL)
    }

    /// Whether only the calling task may submit, from now on.
    pub(crate) fn binds_issuer(&self) -> bool {
        self.one_issuer
            && self.asked.contains(SetupFlags::SINGLE_ISSUER)
            && !self.asked.intersects(SetupFlags::R_DISABLED | SetupFlags::SQPOLL)
    }

    /// The parameters of the real ring, but for its addresses.
    pub(crate) fn real_params(&self, params: &Params) -> Params {
        let mut flags = self.asked;
        flags.remove(SetupFlags::CLAMP | SetupFlags::SQPOLL | SetupFlags::SQ_AFF);
        flags.insert(
            SetupFlags::NO_MMAP | SetupFlags::NO_SQARRAY | SetupFlags::CQSIZE | SetupFlags::R_DISABLED,
        );
        if !self.one_issuer && flags.contains(SetupFlags::DEFER_TASKRUN) {
            flags.remove(SetupFlags::DEFER_TASKRUN);
            flags.insert(SetupFlags::COOP_TASKRUN | SetupFlags::TASKRUN_FLAG);
        }
        flags.set(SetupFlags::SINGLE_ISSUER, self.one_issuer && flags.contains(SetupFlags::SINGLE_ISSUER));
        if self.emulates_sqpoll() {
            // A submission thread goes on past a failed request, and is the one issuer whoever enters.
            flags.insert(SetupFlags::SUBMIT_ALL);
            flags.remove(SetupFlags::SINGLE_ISSUER);
        }
        Params {
            flags: flags.bits(),
            cq_entries: self.cq_entries,
            sq_thread_cpu: 0,
            sq_thread_idle: 0,
            ..*params
        }
    }

    /// What the program is told, from what the kernel told of the real ring.
    pub(crate) fn program_params(&self, asked: &Params, real: &Params) -> Params {
        let mut told = *real;
        told.flags = asked.flags;
        told.sq_entries = self.entries;
        told.sq_thread_cpu = asked.sq_thread_cpu;
        told.sq_thread_idle = asked.sq_thread_idle;
        told.wq_fd = asked.wq_fd;
        told.sq_off.user_addr = 0;
        told.cq_off.user_addr = 0;
        if let Some(sizes) = self.sizes_offset {
            told.sq_off.ring_mask = sizes as u32;
            told.sq_off.ring_entries = sizes as u32 + 4;
        }
        told.sq_off.array = self.array_offset.map_or(0, |at| at as u32);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(entries: u32, flags: SetupFlags, cq_entries: u32) -> Result<Plan, Errno> {
        Plan::new(
            entries,
            &Params { flags: flags.bits(), cq_entries, ..Params::default() },
            SetupRules::default(),
            64,
            false,
        )
    }

    #[test]
    fn sizes_are_those_of_the_kernel() {
        let none = SetupFlags::empty();
        for (entries, flags, cq, expected) in [
            (0, none, 0, Err(Errno::INVAL)),
            (1, none, 0, Ok((1, 2))),
            (5, none, 0, Ok((8, 16))),
            (32768, none, 0, Ok((32768, 65536))),
            (32769, none, 0, Err(Errno::INVAL)),
            (32769, SetupFlags::CLAMP, 0, Ok((32768, 65536))),
            (0, SetupFlags::CLAMP, 0, Err(Errno::INVAL)),
            (8, SetupFlags::CQSIZE, 8, Ok((8, 8))),
            (8, SetupFlags::CQSIZE, 9, Ok((8, 16))),
            (8, SetupFlags::CQSIZE, 4, Err(Errno::INVAL)),
            (8, SetupFlags::CQSIZE, 0, Err(Errno::INVAL)),
            (8, SetupFlags::CQSIZE, 65537, Err(Errno::INVAL)),
            (8, SetupFlags::CQSIZE | SetupFlags::CLAMP, 1 << 20, Ok((8, 65536))),
        ] {
            let got = plan(entries, flags, cq).map(|plan| (plan.entries, plan.cq_entries));
            assert_eq!(got, expected, "{entries} entries, {flags:?}, {cq} CQEs");
        }
    }

    #[test]
    fn slots_fit_between_the_two_queues_and_match_where_the_program_uses_the_real_mask() {
        for entries in [1, 2, 63, 64, 65, 1000, 4096, 32768] {
            for spare in [false, true] {
                for flags in [SetupFlags::empty(), SetupFlags::NO_SQARRAY, SetupFlags::SQE128] {
                    let params = Params { flags: flags.bits(), ..Params::default() };
                    let plan = Plan::new(entries, &params, SetupRules::default(), 64, spare).expect("a plan");
                    assert!(plan.slots.is_power_of_two());
                    assert!((plan.entries..=plan.cq_entries).contains(&plan.slots), "{plan:?}");
                    if flags.contains(SetupFlags::NO_SQARRAY) {
                        assert_eq!(plan.slots, plan.entries);
                    }
                }
            }
        }
    }

    #[test]
    fn a_ring_of_one_issuer_can_be_made_without() {
        let flags = SetupFlags::SINGLE_ISSUER | SetupFlags::DEFER_TASKRUN;
        let params = Params { flags: flags.bits(), ..Params::default() };
        let plan = plan(8, flags, 0).expect("a plan");
        let real = |plan: Plan| SetupFlags::from_bits_retain(plan.real_params(&params).flags);
        assert!(plan.binds_issuer() && real(plan).contains(flags));
        let plan = plan.without_one_issuer();
        assert!(!plan.binds_issuer() && !real(plan).intersects(flags));
        assert!(real(plan).contains(SetupFlags::COOP_TASKRUN | SetupFlags::TASKRUN_FLAG));
        assert_eq!(plan.program_params(&params, &params).flags, flags.bits());
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        for flags in [
            SetupFlags::NO_MMAP,
            SetupFlags::REGISTERED_FD_ONLY | SetupFlags::NO_MMAP,
            SetupFlags::SQE_MIXED,
            SetupFlags::SQ_AFF,
            SetupFlags::SQPOLL | SetupFlags::DEFER_TASKRUN,
            SetupFlags::SQPOLL | SetupFlags::COOP_TASKRUN,
        ] {
            assert_eq!(plan(8, flags, 0), Err(Errno::INVAL), "{flags:?}");
        }
        assert_eq!(
            Plan::new(8, &Params { flags: 1 << 31, ..Params::default() }, SetupRules::default(), 64, false),
            Err(Errno::INVAL)
        );
    }
}
