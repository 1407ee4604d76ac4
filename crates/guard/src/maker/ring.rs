//! Making one ring, by a process of its own.

use super::groups::ControlGroups;
use super::process::by_a_process_of_its_own;
use crate::kernel_ring::{enable, restrict, setup};
use crate::mapping::{Mapping, page_align};
use crate::program::credentials::Owner;
use ringwarden_uapi::restriction::Restriction;
use ringwarden_uapi::ring::{OFF_SQ_RING, Params, SQ_NEED_WAKEUP};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::sync::atomic::Ordering;

/// A ring that is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) entries: u32,
    /// With `IORING_SETUP_R_DISABLED`.
    pub(super) params: Params,
    /// What it is held to; nothing yet where the program may still want to say something.
    pub(super) list: Option<&'a [Restriction]>,
    /// It is enabled at once.
    pub(super) enabled: bool,
    /// Where its header is, if not in memory of the kernel's.
    pub(super) header: Option<&'a Mapping>,
    /// It looks as if a submission thread slept.
    pub(super) wants_waking: bool,
    /// For whom the kernel counts its memory.
    pub(super) owner: Option<Owner>,
    /// The control groups that pay for it.
    pub(super) groups: &'a ControlGroups,
}

impl Wanted<'_> {
    /// Makes the ring, by a process that is over when this returns; gives what the kernel told of it.
    ///
    /// # Errors
    /// The kernel's, of whatever step.
    pub(super) fn make(self) -> Result<(OwnedFd, Params), Errno> {
        by_a_process_of_its_own(self.groups, || {
            let Self { entries, mut params, list, enabled, header, wants_waking, owner, .. } = self;
            if let Some(owner) = owner {
                owner.become_for_good();
            }
            let ring = setup(entries, &mut params)?;
            if let Some(list) = list {
                restrict(ring.as_fd(), list)?;
            }
            if wants_waking {
                show_sleeping_thread(ring.as_fd(), header, &params)?;
            }
            if enabled {
                enable(ring.as_fd())?;
            }
            Ok((ring, params))
        })
    }
}

/// What the kernel says of such parameters, and of such a list on a ring of its own.
///
/// # Errors
/// The kernel's.
pub(super) fn try_out(params: Params, list: Option<&[Restriction]>) -> Result<(), Errno> {
    by_a_process_of_its_own(&ControlGroups::default(), || {
        let mut params = params;
        let ring = setup(1, &mut params)?;
        list.map_or(Ok(()), |list| restrict(ring.as_fd(), list))
    })
}

/// Sets `IORING_SQ_NEED_WAKEUP`, which the kernel never clears where there is no submission thread.
fn show_sleeping_thread(
    ring: BorrowedFd<'_>,
    header: Option<&Mapping>,
    params: &Params,
) -> Result<(), Errno> {
    let flags = params.sq_off.flags as usize;
    let set = |header: &Mapping| header.u32_at(flags).fetch_or(SQ_NEED_WAKEUP, Ordering::Relaxed);
    match header {
        Some(header) => set(header),
        None => set(&Mapping::shared(ring, OFF_SQ_RING, page_align(flags + 4))?),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_ring::KernelRing;
    use ringwarden_filter::{OperationRules, RegisterRules};
    use ringwarden_uapi::Opcode;
    use ringwarden_uapi::ring::SetupFlags;

    const NO_GROUPS: &ControlGroups = &ControlGroups { tasks: Vec::new(), folder: None };

    fn wanted(params: Params) -> Wanted<'static> {
        Wanted {
            entries: 4,
            params,
            list: None,
            enabled: true,
            header: None,
            wants_waking: false,
            owner: None,
            groups: NO_GROUPS,
        }
    }

    fn disabled() -> Params {
        Params { flags: SetupFlags::R_DISABLED.bits(), ..Params::default() }
    }

    #[test]
    fn a_list_is_there_for_good() {
        let kernel = KernelRing::probe().expect("io_uring");
        let mut rules = OperationRules::default();
        rules.set(Opcode::NOP, false);
        let list = rules.entries(&RegisterRules::default(), kernel.opcodes, kernel.registers);
        let (ring, _) = Wanted { list: Some(&list), ..wanted(disabled()) }.make().expect("a ring");
        assert_eq!(restrict(ring.as_fd(), &list), Err(Errno::BADFD));
        let (ring, _) =
            Wanted { list: Some(&list), enabled: false, ..wanted(disabled()) }.make().expect("a ring");
        assert_eq!(restrict(ring.as_fd(), &list), Err(Errno::BUSY));
    }

    #[test]
    fn a_pretended_thread_asks_to_be_woken() {
        let (ring, params) = Wanted { wants_waking: true, ..wanted(disabled()) }.make().expect("a ring");
        let offset = params.sq_off.flags as usize;
        let header = Mapping::shared(&ring, OFF_SQ_RING, page_align(offset + 4)).expect("the header");
        assert_eq!(header.u32_at(offset).load(Ordering::Relaxed) & SQ_NEED_WAKEUP, SQ_NEED_WAKEUP);
    }
}
