//! `io_uring_register`: what policies refuse and what no known kernel has is refused, what the guard has already used up is
//! emulated, the rest is the kernel's. What would take a ring out of the guard's hands never comes here: the seccomp
//! filter fails it (`seccomp/split.rs`), or the real ring's restrictions do (`kernel_ring.rs`).

use super::submitter::{Reach, Waiter};
use super::{Call, Guarded, Supervisor};
use crate::audit::Refused;
use crate::guard::reads_pointers;
use crate::program::inject::After;
use crate::program::memory::{self, Caller};
use crate::seccomp::INJECTED;
use crate::split::arena::Arena;
use crate::split::threads::limits;
use crate::split::threads::registered::{self, Registered};
use ringwarden_filter::Limits;
use ringwarden_uapi::register::USE_REGISTERED_RING;
use ringwarden_uapi::{Opcode, RegisterOp};
use rustix::io::Errno;
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What the program's own filters are tagged with. Their denials are nobody's business but its own.
const OWN: u32 = 0;

/// `struct io_uring_rsrc_update`, 16 bytes: an entry of `IORING_REGISTER_RING_FDS`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RingUpdate {
    offset: u32,
    resv: u32,
    data: u64,
}

impl Supervisor {
    pub(super) fn register(&self, call: Call<'_>) {
        let [fd, word, ..] = call.args();
        let (fd, word) = (fd as i32, word as u32);
        let by_index = word & USE_REGISTERED_RING != 0;
        let op = RegisterOp(word & !USE_REGISTERED_RING);
        if op.0 >= RegisterOp::LAST {
            // What it would do on a later kernel nobody knows.
            return self.fail(call, Errno::INVAL);
        }
        if !self.allows(fd, op) {
            self.refused(call, Refused::Register { op });
            if !self.rules.permissive {
                return self.fail(call, Errno::ACCESS);
            }
        } else if let Some(observer) = &self.observer {
            observer.register(op);
        }
        // The kernel looks for this before it looks at the index bit (`io_uring_register`).
        if fd == -1 {
            return self.register_without_ring(call, op);
        }
        if let Err(error) = self.register_on_ring(call, fd, by_index, op) {
            self.fail(call, error);
        }
    }

    /// Whether the rules let a call pass. One of SEND_MSG_RING on -1 is a MSG_RING request in disguise, whose
    /// SQE could change after a look at it: it passes only where no look is needed.
    fn allows(&self, fd: i32, op: RegisterOp) -> bool {
        let disguised = fd == -1 && op == RegisterOp::REGISTER_SEND_MSG_RING;
        self.rules.calls.register.allow(op)
            && (!disguised || self.rules.filters.outright(Opcode::MSG_RING) == Some(true))
    }

    /// Answers the call, or says what to answer.
    fn register_on_ring(&self, call: Call<'_>, fd: i32, by_index: bool, op: RegisterOp) -> Result<(), Errno> {
        let (guarded, reach) = self.ring_to_register_on(call, fd, by_index)?;
        let [_, _, argument, count, ..] = call.args();
        let count = count as u32;
        let own_call = match op {
            RegisterOp::REGISTER_RESTRICTIONS | RegisterOp::REGISTER_ENABLE_RINGS => true,
            RegisterOp::REGISTER_BPF_FILTER => self.own_filters,
            _ => false,
        };
        let task = self.state().limits.passing_task(call.tid)?;
        let by = limits::lock(&task);
        let points = {
            let mut own = guarded.own();
            own.check_register(&by, op).map_err(errno)?;
            let mut memory = self.memory_of(call);
            match op {
                _ if !own_call => Ok(()),
                RegisterOp::REGISTER_RESTRICTIONS => own.register_restrictions(&by, &memory, argument, count),
                RegisterOp::REGISTER_BPF_FILTER => {
                    limits::has_room(own.limits())?;
                    own.register_filter(&by, &mut memory, argument, count, OWN)
                }
                _ => own.enable(&by),
            }
            .map_err(errno)?;
            point_at_arguments(own.limits())
        };
        drop(by);
        match op {
            // The real ring has the guard's restrictions, and its kernel may have no filters.
            RegisterOp::REGISTER_RESTRICTIONS | RegisterOp::REGISTER_BPF_FILTER if own_call => {
                if points {
                    self.keep_arguments();
                }
                // What was approved without the new rule must not be submitted again.
                let waiter = Waiter { supervisor: self, tid: call.tid, ring: guarded.id, reach };
                guarded.ring.queue().retire_all(|| waiter.wait(guarded.ring.watch()))?;
                self.listener.answer(call.id(), 0);
            }
            RegisterOp::REGISTER_RING_FDS => return self.register_ring_fds(call),
            RegisterOp::UNREGISTER_RING_FDS => {
                let updates = read_updates(&self.memory_of(call), argument, count).unwrap_or_default();
                for update in updates {
                    self.shared.registered.remove(call.tid, update.offset as usize);
                }
                self.proceed(call);
            }
            _ => self.proceed(call),
        }
        Ok(())
    }

    /// Never left to the kernel if unknown: the descriptor could be a ring by then.
    fn ring_to_register_on(
        &self,
        call: Call<'_>,
        fd: i32,
        by_index: bool,
    ) -> Result<(Arc<Guarded>, Reach), Errno> {
        if by_index {
            let Registered { ring, descriptor } = self.by_index(call, fd as u32)?;
            let guarded = self.state().rings.get(&ring).cloned().ok_or(Errno::BADF)?;
            return Ok((guarded, Reach::Held(descriptor)));
        }
        Ok((self.identify(call, fd)?, Reach::Descriptor(fd)))
    }

    /// Calls with -1 in place of a ring.
    fn register_without_ring(&self, call: Call<'_>, op: RegisterOp) {
        let limits = matches!(op, RegisterOp::REGISTER_RESTRICTIONS | RegisterOp::REGISTER_BPF_FILTER);
        if limits && self.own_filters {
            self.answer(call, self.limit_task(call, op).map(|()| 0));
        } else {
            self.proceed(call);
        }
    }

    /// Has the calling thread limit itself.
    fn limit_task(&self, call: Call<'_>, op: RegisterOp) -> Result<(), Errno> {
        let [_, _, argument, count, ..] = call.args();
        let count = count as u32;
        let task = self.state().limits.task(call.tid)?;
        let mut task = limits::lock(&task);
        let mut memory = self.memory_of(call);
        match op {
            RegisterOp::REGISTER_RESTRICTIONS => task.register_restrictions(&memory, argument, count),
            _ => {
                limits::has_room(task.limits())?;
                task.register_filter(&mut memory, argument, count, OWN)
            }
        }
        .map_err(errno)?;
        let points = point_at_arguments(task.limits());
        let leaks = task.limits().model().facts().later_filters_leak;
        drop(task);
        if points {
            self.keep_arguments();
        }
        if leaks {
            // It may hold for rings that there are, which nothing is known of but that they are not this
            // thread's to wait for.
            let rings: Vec<_> = self.state().rings.values().cloned().collect();
            rings.iter().for_each(|guarded| guarded.ring.queue().poison_all());
        }
        Ok(())
    }

    /// Puts arguments out of the program's reach from now on, since a filter of its own looks at them.
    fn keep_arguments(&self) {
        let rings: Vec<_> = {
            let state = &mut *self.state();
            if state.arena.is_some() {
                return;
            }
            // Without one such requests are refused.
            let Ok(arena) = Arena::new() else { return };
            for guarded in state.rings.values() {
                let _ = guarded.arguments.set(arena.reserve(guarded.ring.slot_count(), 0));
            }
            state.arena = Some(Arc::new(arena));
            self.unsettled.add(state.tasks.threads());
            state.rings.values().cloned().collect()
        };
        // What was approved so far points into the program's own memory.
        rings.iter().for_each(|guarded| guarded.ring.queue().poison_all());
    }

    /// Has the thread register its rings, and remembers which index became which ring. The call is answered
    /// unless there is an error.
    fn register_ring_fds(&self, call: Call<'_>) -> Result<(), Errno> {
        let [ring, word, argument, count, ..] = call.args();
        let updates = read_updates(&self.memory_of(call), argument, count as u32)?;
        let mut rings = Vec::new();
        for update in &updates {
            match self.take_ring(call, update.data as i32) {
                Ok((guarded, descriptor)) => {
                    rings.push(Registered { ring: guarded.id, descriptor: Arc::new(descriptor) });
                }
                // The kernel stops here, too.
                Err(Errno::ACCESS) => return Err(Errno::ACCESS),
                Err(_) => break,
            }
        }
        self.inject(
            call,
            || Ok(()),
            |injection, ()| {
                let args = [ring, INJECTED << 32 | u64::from(word as u32), argument, count, 0, 0];
                let done = injection.syscall(libc::SYS_io_uring_register, args)?;
                let count = usize::try_from(done).unwrap_or(0);
                let mut offsets = vec![RingUpdate::default(); count.min(updates.len())];
                let read = memory::read_of_traced(injection, argument, offsets.as_mut_bytes());
                if read.is_err() {
                    offsets.clear();
                }
                for (update, found) in offsets.iter().zip(rings) {
                    // A ring that is not known by its index cannot be used by it: EBADF.
                    let _ = self.shared.registered.insert(call.tid, update.offset as usize, found);
                }
                Ok(After::Return(done))
            },
        );
        Ok(())
    }
}

/// Whether the filters look at what requests point at.
fn point_at_arguments(limits: &Limits) -> bool {
    limits.filters().is_some_and(|filters| reads_pointers(&filters))
}

fn errno(error: ringwarden_filter::Errno) -> Errno {
    Errno::from_raw_os_error(i32::from(error.0))
}

/// Reads the entries of a call that registers or unregisters rings.
fn read_updates(memory: &Caller<'_>, argument: u64, count: u32) -> Result<Vec<RingUpdate>, Errno> {
    if count as usize > registered::MAX {
        return Err(Errno::INVAL);
    }
    let mut updates = vec![RingUpdate::default(); count as usize];
    memory.read_bytes(argument, updates.as_mut_bytes())?;
    Ok(updates)
}
