//! `io_uring_setup`: the program gets a split ring.

use super::{After, Guarded, Supervisor};
use crate::audit::Refused;
use crate::kernel_ring;
use crate::plan::Plan;
use crate::seccomp::{INJECTED, Notification};
use crate::split_ring::SplitRing;
use crate::taken::Taken;
use crate::tasks::RingId;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::ring::{Params, SetupFlags};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use zerocopy::IntoBytes;

impl Supervisor {
    pub(super) fn setup(&mut self, call: &Notification, tid: Pid) {
        if let Err(error) = self.split(call, tid) {
            self.listener.fail(call.id, error);
        }
    }

    /// Makes the ring and answers the call, or says what to answer.
    fn split(&mut self, call: &Notification, tid: Pid) -> Result<(), Errno> {
        let [entries, address, ..] = call.args;
        let asked: Params = self.memory_of(call, tid).read_value(address)?;
        if self.rings.len() >= self.sweep_at {
            self.sweep();
        }
        if self.rings.len() >= self.max_rings {
            return Err(Errno::NOMEM);
        }
        // One ring alone can have slots to spare; many are kept small.
        let spare = self.rings.len() < 4;
        let rules = self.rules.calls.setup;
        if !rules.allow(entries as u32, &asked) {
            self.refused(tid, Refused::Setup { entries: entries as u32, params: asked });
        } else if let Some(observer) = &self.observer {
            observer.setup(entries as u32, &asked);
        }
        let plan = Plan::new(entries as u32, &asked, rules, self.kernel.cqes_offset, spare)?;
        if plan.asked.contains(SetupFlags::SQ_AFF) && !is_online(asked.sq_thread_cpu) {
            return Err(Errno::INVAL);
        }
        let workers = self.workers_ring(tid, &asked)?;
        let mut wanted = asked;
        if let Some(workers) = &workers {
            wanted.wq_fd = workers.as_fd().as_raw_fd() as u32;
        }
        let (ring, fd, mut told) =
            SplitRing::new(plan, &wanted, &self.kernel, &self.confinement, self.rules.sacrifice())?;
        told.wq_fd = asked.wq_fd;
        let stays_disabled = plan.asked.contains(SetupFlags::R_DISABLED);
        if !stays_disabled && !plan.binds_issuer() {
            kernel_ring::enable(fd.as_fd())?;
        }
        let own = self.limits.task(tid)?.ring(plan.asked);
        self.memory_of(call, tid).write_bytes(address, told.as_bytes())?;
        let id = RingId(self.next_ring);
        self.next_ring += 1;
        let guarded = Guarded {
            arguments: self.arena.as_mut().and_then(|arena| arena.reserve(ring.slot_count())),
            ring,
            own,
            premapped: None,
        };
        self.rings.insert(id, guarded);
        let number = if plan.binds_issuer() {
            self.enable_in_place(call, tid, fd)
        } else {
            let number = self.listener.add_fd(call.id, fd.as_fd())?;
            // From here on the program's descriptor is the only one.
            drop(fd);
            self.listener.answer(call.id, i64::from(number));
            Some(number)
        };
        if let (Some(number), Ok((_, process))) = (number, self.tasks.process_of(tid)) {
            process.rings.insert(number, id);
        }
        Ok(())
    }

    /// Has the calling thread enable its ring, which makes it the one task that may submit; gives the
    /// ring's number there. The call is answered in any case.
    fn enable_in_place(&self, call: &Notification, tid: Pid, ring: OwnedFd) -> Option<i32> {
        let mut number = None;
        let prepare = || self.listener.add_fd(call.id, ring.as_fd());
        self.inject(call, tid, prepare, |injection, fd| {
            let op = INJECTED << 32 | u64::from(RegisterOp::REGISTER_ENABLE_RINGS.0);
            let args = [fd as u64, op, 0, 0, 0, 0];
            let enabled = injection.syscall(libc::SYS_io_uring_register, args)?;
            number = Some(fd);
            Ok(After::Return(if enabled == 0 { i64::from(fd) } else { enabled }))
        });
        number
    }

    /// The ring whose workers the new one is to share. Without SQPOLL the kernel only looks whether
    /// it is one (`io_sq_offload_create`), so a copy for the look is all that is needed.
    fn workers_ring(&mut self, tid: Pid, asked: &Params) -> Result<Option<Taken>, Errno> {
        if !SetupFlags::from_bits_retain(asked.flags).contains(SetupFlags::ATTACH_WQ) {
            return Ok(None);
        }
        match self.tasks.descriptor(tid, asked.wq_fd as i32) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::BADF) => Err(Errno::NXIO),
            Err(error) => Err(error),
        }
    }
}

/// Whether a processor is there for a submission thread to be bound to (`io_sq_offload_create`).
fn is_online(cpu: u32) -> bool {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    online.trim().split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().is_ok_and(|first: u32| first <= cpu) && last.parse().is_ok_and(|last: u32| cpu <= last)
    })
}
