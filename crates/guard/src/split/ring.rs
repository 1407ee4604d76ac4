//! A split ring: the real ring, around the header that program and kernel share, the shadow SQEs that the
//! program writes, and the private SQEs that the kernel reads.

use crate::identity::{Watch, Watches};
use crate::kernel_ring::{KernelRing, RingRestrictions, errno};
use crate::mapping::Mapping;
use crate::split::plan::{Plan, RINGS_OFFSET};
use crate::split::queue::{Layout, Queue};
use crate::split::slots::Slots;
use crate::split::taken::{Closer, Taken};
use ringwarden_uapi::ring::{Params, SQ_NEED_WAKEUP, SetupFlags};
use ringwarden_uapi::sys;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use std::sync::atomic::Ordering;

/// One split ring.
#[derive(Debug)]
pub(crate) struct SplitRing {
    plan: Plan,
    /// Backs the header and the shadow; the program maps it in place of the ring.
    memory: OwnedFd,
    watch: Watch,
    queue: Queue,
}

impl SplitRing {
    /// Makes the real ring, still disabled, and everything around it. The descriptor is the only one:
    /// whoever closes it closes the ring.
    ///
    /// # Errors
    /// The errno that the program is to see.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        plan: Plan,
        asked: &Params,
        kernel: &KernelRing,
        restrictions: &RingRestrictions,
        sacrifice: u8,
        watches: &Watches,
        closer: &Closer,
    ) -> Result<(Self, Taken, Params), Errno> {
        let memory = memfd_create("io_uring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, plan.shadow_offset() + plan.shadow_len as u64)?;
        // The program may not shrink what the guard reads.
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let shared = Mapping::shared(&memory, RINGS_OFFSET, plan.rings_len)?;
        let shadow = Mapping::shared(&memory, plan.shadow_offset(), plan.shadow_len)?;
        let slots = Slots::new(plan.slots, plan.sqe_size, plan.private_len(), sacrifice)?;

        let mut real = plan.real_params(asked);
        real.cq_off.user_addr = shared.address();
        real.sq_off.user_addr = slots.address();
        // SAFETY: both addresses are mappings of the lengths that `Plan` computed for these entries;
        // the kernel pins their pages, so they outlive even the mappings.
        let ring = unsafe { sys::setup(plan.slots, &mut real) }.map_err(|error| errno(&error))?;
        let ring = closer.take(ring);
        let end_of_cqes = real.cq_off.cqes as usize
            + plan.cq_entries as usize * if plan.asked.contains(SetupFlags::CQE32) { 32 } else { 16 };
        if real.sq_entries != plan.slots
            || real.cq_entries != plan.cq_entries
            || real.cq_off.cqes as usize != kernel.cqes_offset
            || end_of_cqes > plan.header_len
        {
            return Err(Errno::NOMEM);
        }
        restrictions.apply(ring.as_fd())?;
        let watch = watches.watch(ring.as_fd())?;

        let layout = Layout {
            entries: plan.entries,
            sqe_size: plan.sqe_size,
            head_at: real.sq_off.head as usize,
            tail_at: real.sq_off.tail as usize,
            dropped_at: real.sq_off.dropped as usize,
            array_at: plan.array_offset,
        };
        let queue = Queue::new(layout, shared, shadow, slots);
        if let Some(sizes) = plan.sizes_offset {
            queue.header(sizes).store(plan.entries - 1, Ordering::Relaxed);
            queue.header(sizes + 4).store(plan.entries, Ordering::Relaxed);
        }
        if plan.emulates_sqpoll() {
            // Keeps the program coming: it enters whenever it finds this bit. The kernel changes
            // other bits of the word only.
            queue.header(real.sq_off.flags as usize).fetch_or(SQ_NEED_WAKEUP, Ordering::SeqCst);
        }
        let told = plan.program_params(asked, &real);
        Ok((Self { plan, memory, watch, queue }, ring, told))
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How many private SQEs it has.
    pub(crate) fn slot_count(&self) -> u32 {
        self.plan.slots
    }

    /// What is on its way from the program to the kernel.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The memfd that the program maps.
    pub(crate) fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}
