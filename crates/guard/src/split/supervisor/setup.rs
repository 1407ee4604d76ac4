//! `io_uring_setup`: the program gets a split ring.

use super::{Call, Guarded, Supervisor};
use crate::audit::Refused;
use crate::hazards::IssuerLock;
use crate::kernel_ring;
use crate::program::inject::After;
use crate::seccomp::INJECTED;
use crate::split::plan::Plan;
use crate::split::ring::SplitRing;
use crate::split::taken::Taken;
use crate::split::threads::limits;
use crate::split::threads::tasks::RingId;
use ringwarden_filter::Ring;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::ring::{Params, SetupFlags};
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::sync::{Arc, Mutex, OnceLock};
use zerocopy::IntoBytes;

impl Supervisor {
    pub(super) fn setup(&self, call: Call<'_>) {
        call.turn.pass_on();
        if let Err(error) = self.split(call) {
            self.fail(call, error);
        }
    }

    /// Makes the ring and answers the call, or says what to answer.
    fn split(&self, call: Call<'_>) -> Result<(), Errno> {
        let [entries, address, ..] = call.args();
        let entries = entries as u32;
        let asked: Params = self.read_params(call, address)?;
        let (gone, rings) = {
            let mut state = self.state();
            let gone = if state.rings.len() >= state.sweep_at.min(self.max_rings) {
                state.sweep()
            } else {
                Vec::new()
            };
            (gone, state.rings.len())
        };
        drop(gone);
        if rings >= self.max_rings {
            self.refused(call, Refused::TooManyRings { most: self.max_rings });
            return Err(Errno::NOMEM);
        }
        // One ring alone can have slots to spare; many are kept small.
        let spare = rings < 4;
        if !self.rules.calls.setup.allow(entries, &asked) {
            self.refused(call, Refused::Setup { entries, params: asked });
        } else if let Some(observer) = &self.observer {
            observer.setup(entries, &asked);
        }
        let mut plan = Plan::new(entries, &asked, self.rules.setup(), self.kernel.cqes_offset, spare)?;
        // On a machine that is busy with others the trial can take seconds.
        if plan.binds_issuer() && !call.turn.deadline.uncounted(|| self.issuers_take_the_lock()) {
            plan = plan.without_one_issuer();
        }
        let workers = self.workers_ring(call.tid, &asked)?;
        let mut wanted = asked;
        if let Some(workers) = &workers {
            wanted.wq_fd = workers.as_fd().as_raw_fd() as u32;
        }
        let sacrifice = self.rules.sacrifice();
        let (ring, fd, mut told) = SplitRing::new(
            plan,
            &wanted,
            &self.kernel,
            &self.restrictions,
            sacrifice,
            &self.watches,
            &self.closer,
        )?;
        told.wq_fd = asked.wq_fd;
        let stays_disabled = plan.asked.contains(SetupFlags::R_DISABLED);
        if !stays_disabled && !plan.binds_issuer() {
            kernel_ring::enable(fd.as_fd())?;
        }
        let own = self.own_limits(call.tid, plan.asked)?;
        self.memory_of(call).write_bytes(address, told.as_bytes())?;
        let guarded = self.keep(call, ring, own)?;
        if plan.binds_issuer() {
            self.enable_in_place(call, &guarded, &fd);
            return Ok(());
        }
        let number = self.listener.add_fd(call.id(), fd.as_fd())?;
        // From here on the program's descriptor is the only one.
        drop(fd);
        self.believe(call.tid, number, guarded.id);
        self.listener.answer(call.id(), i64::from(number));
        Ok(())
    }

    /// Whether rings of one issuer can be waited for. Tried when the first is asked for; what cannot be told
    /// is tried again, and is taken for a no.
    fn issuers_take_the_lock(&self) -> bool {
        const TRIES: usize = 3;
        *self.issuer_lock.get_or_init(|| {
            let mut trials = (0..TRIES).map(|_| IssuerLock::find(&self.kernel));
            trials.find(|&found| found != IssuerLock::Unknown) == Some(IssuerLock::Held)
        })
    }

    fn read_params(&self, call: Call<'_>, address: u64) -> Result<Params, Errno> {
        self.memory_of(call).read_value(address).inspect_err(|&error| {
            if error == Errno::PERM {
                self.refused(call, Refused::Unreadable);
            }
        })
    }

    /// What the caller's ring is held to from the start.
    fn own_limits(&self, tid: Pid, asked: SetupFlags) -> Result<Ring, Errno> {
        let mut state = self.state();
        // Only the one issuer of a ring has to be known again.
        let single = asked.contains(SetupFlags::SINGLE_ISSUER);
        let task = if single { state.limits.task(tid)? } else { state.limits.passing_task(tid)? };
        drop(state);
        let ring = limits::lock(&task).ring(asked);
        Ok(ring)
    }

    /// Remembers a ring, with room for its arguments.
    fn keep(&self, call: Call<'_>, ring: SplitRing, own: Ring) -> Result<Arc<Guarded>, Errno> {
        let mut gone = Vec::new();
        let kept = {
            let state = &mut *self.state();
            let maker = state.tasks.process_of(call.tid)?.0;
            let slots = ring.slot_count();
            let arguments = match &state.arena {
                None => OnceLock::new(),
                Some(arena) => {
                    let arena = Arc::clone(arena);
                    let first = arena.reserve(slots, state.slots_of(maker)).or_else(|| {
                        gone = state.sweep();
                        arena.reserve(slots, state.slots_of(maker))
                    });
                    OnceLock::from(first)
                }
            };
            if state.arena.is_some() && arguments.get() == Some(&None) {
                None
            } else {
                let id = RingId(state.next_ring);
                state.next_ring += 1;
                let guarded = Arc::new(Guarded {
                    id,
                    maker,
                    ring,
                    arguments,
                    own: Mutex::new(own),
                    premapped: Mutex::new(None),
                });
                state.rings.insert(id, Arc::clone(&guarded));
                Some(guarded)
            }
        };
        drop(gone);
        kept.ok_or_else(|| {
            self.refused(call, Refused::NoRoomForArguments);
            Errno::NOMEM
        })
    }

    fn believe(&self, tid: Pid, number: i32, ring: RingId) {
        if let Ok((_, process)) = self.state().tasks.process_of(tid) {
            process.rings.insert(number, ring);
        }
    }

    /// Has the calling thread enable its ring, which makes it the one task that may submit. The call is
    /// answered in any case.
    fn enable_in_place(&self, call: Call<'_>, guarded: &Guarded, ring: &Taken) {
        let prepare = || self.listener.add_fd(call.id(), ring.as_fd());
        self.inject(call, prepare, |injection, fd| {
            let op = INJECTED << 32 | u64::from(RegisterOp::REGISTER_ENABLE_RINGS.0);
            let args = [fd as u64, op, 0, 0, 0, 0];
            let enabled = injection.syscall(libc::SYS_io_uring_register, args)?;
            self.believe(call.tid, fd, guarded.id);
            Ok(After::Return(if enabled == 0 { i64::from(fd) } else { enabled }))
        });
    }

    /// The ring whose workers the new one is to share. Without SQPOLL the kernel only looks whether
    /// it is one (`io_sq_offload_create`), so a copy for the look is all that is needed.
    fn workers_ring(&self, tid: Pid, asked: &Params) -> Result<Option<Taken>, Errno> {
        if !SetupFlags::from_bits_retain(asked.flags).contains(SetupFlags::ATTACH_WQ) {
            return Ok(None);
        }
        let descriptors = self.state().tasks.descriptors(tid)?;
        match descriptors.take(asked.wq_fd as i32) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::BADF) => Err(Errno::NXIO),
            Err(error) => Err(error),
        }
    }
}
