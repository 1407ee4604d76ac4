//! `io_uring_register`: what would take a ring out of the guard's hands is refused, what the guard
//! has already used up is emulated, the rest is the kernel's.

use super::{After, Supervisor, reads_pointers};
use crate::arena::Arena;
use crate::audit::Refused;
use crate::memory::{self, Caller};
use crate::registered::{self, Registered};
use crate::seccomp::{INJECTED, Notification};
use ringwarden_filter::Limits;
use ringwarden_uapi::register::USE_REGISTERED_RING;
use ringwarden_uapi::{Opcode, RegisterOp};
use rustix::io::Errno;
use rustix::process::Pid;
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
    pub(super) fn register(&mut self, call: &Notification, tid: Pid) {
        let [fd, word, argument, count, ..] = call.args;
        let (fd, word) = (fd as i32, word as u32);
        let by_index = word & USE_REGISTERED_RING != 0;
        let op = RegisterOp(word & !USE_REGISTERED_RING);
        if !self.rules.calls.register.allow(op) {
            self.refused(tid, Refused::Register { op });
            return self.listener.fail(call.id, Errno::ACCESS);
        }
        if let Some(observer) = &self.observer {
            observer.register(op);
        }
        // The kernel looks for this before it looks at the index bit (`io_uring_register`).
        if fd == -1 {
            return self.register_without_ring(call, tid, op);
        }
        let ring = if by_index {
            self.by_index(tid, fd as u32).map(|registered| registered.ring)
        } else {
            self.believed(tid, fd).map_or_else(|| self.identify(tid, fd), Ok)
        };
        let allowed = ring.and_then(|ring| {
            let by = self.limits.task(tid)?;
            // Never left to the kernel if unknown: the descriptor could be a ring by then.
            let own = &mut self.rings.get_mut(&ring).ok_or(Errno::BADF)?.own;
            own.check_register(by, op).map_err(errno)?;
            let mut memory = Caller { listener: &self.listener, id: call.id, tid };
            let (memory, count) = (&mut memory, count as u32);
            match op {
                RegisterOp::REGISTER_RESTRICTIONS => own.register_restrictions(by, memory, argument, count),
                RegisterOp::REGISTER_BPF_FILTER => own.register_filter(by, memory, argument, count, OWN),
                RegisterOp::REGISTER_ENABLE_RINGS => own.enable(by),
                _ => Ok(()),
            }
            .map_err(errno)?;
            Ok(point_at_arguments(own.limits()))
        });
        let points = match allowed {
            Ok(points) => points,
            Err(error) => return self.listener.fail(call.id, error),
        };
        match op {
            // The real ring has the guard's restrictions, and its kernel may have no filters.
            RegisterOp::REGISTER_RESTRICTIONS => self.listener.answer(call.id, 0),
            RegisterOp::REGISTER_BPF_FILTER => {
                if points {
                    self.keep_arguments();
                }
                self.listener.answer(call.id, 0);
            }
            RegisterOp::REGISTER_RING_FDS => self.register_ring_fds(call, tid),
            RegisterOp::UNREGISTER_RING_FDS => {
                for update in
                    read_updates(&self.memory_of(call, tid), argument, count as u32).unwrap_or_default()
                {
                    self.shared.registered.remove(tid, update.offset as usize);
                }
                self.listener.proceed(call.id);
            }
            _ => self.listener.proceed(call.id),
        }
    }

    /// Calls with -1 in place of a ring.
    fn register_without_ring(&mut self, call: &Notification, tid: Pid, op: RegisterOp) {
        if !matches!(op, RegisterOp::REGISTER_RESTRICTIONS | RegisterOp::REGISTER_BPF_FILTER) {
            return self.send_message(call, tid, op);
        }
        let [_, _, argument, count, ..] = call.args;
        let mut memory = Caller { listener: &self.listener, id: call.id, tid };
        let (memory, count) = (&mut memory, count as u32);
        let limited = self.limits.task(tid).and_then(|task| {
            match op {
                RegisterOp::REGISTER_RESTRICTIONS => task.register_restrictions(memory, argument, count),
                _ => task.register_filter(memory, argument, count, OWN),
            }
            .map_err(errno)?;
            Ok(point_at_arguments(task.limits()))
        });
        if limited == Ok(true) {
            self.keep_arguments();
        }
        self.answer(call, limited.map(|_| 0));
    }

    /// Puts arguments out of the program's reach from now on, since a filter of its own looks at them.
    fn keep_arguments(&mut self) {
        if self.arena.is_some() {
            return;
        }
        // Without one such requests are refused.
        let Ok(mut arena) = Arena::new() else { return };
        for guarded in self.rings.values_mut() {
            guarded.arguments = arena.reserve(guarded.ring.slot_count());
        }
        self.arena = Some(arena);
        self.unsettled = self.tasks.threads().collect();
    }

    fn send_message(&mut self, call: &Notification, tid: Pid, op: RegisterOp) {
        // A MSG_RING request in disguise. Its SQE could change after a look at it, so it passes only
        // where no look is needed.
        let passes = op != RegisterOp::REGISTER_SEND_MSG_RING
            || self.rules.filters.outright(Opcode::MSG_RING) == Some(true);
        if passes {
            self.listener.proceed(call.id);
        } else {
            self.refused(tid, Refused::Register { op });
            self.listener.fail(call.id, Errno::ACCESS);
        }
    }

    /// Has the thread register its rings, and remembers which index became which ring.
    fn register_ring_fds(&mut self, call: &Notification, tid: Pid) {
        let [ring, word, argument, count, ..] = call.args;
        let updates = match read_updates(&self.memory_of(call, tid), argument, count as u32) {
            Ok(updates) => updates,
            Err(error) => return self.listener.fail(call.id, error),
        };
        let mut rings = Vec::new();
        for update in &updates {
            match self.take_ring(tid, update.data as i32) {
                Ok((ring, descriptor)) => rings.push(Registered { ring, descriptor: Arc::new(descriptor) }),
                // The kernel stops here, too.
                Err(Errno::ACCESS) => return self.listener.fail(call.id, Errno::ACCESS),
                Err(_) => break,
            }
        }
        let shared = &self.shared;
        let prepare = || Ok(());
        self.inject(call, tid, prepare, |injection, ()| {
            let args = [ring, INJECTED << 32 | u64::from(word as u32), argument, count, 0, 0];
            let done = injection.syscall(libc::SYS_io_uring_register, args)?;
            let count = usize::try_from(done).unwrap_or(0);
            let mut offsets = vec![RingUpdate::default(); count.min(updates.len())];
            let read = memory::read_of_traced(injection, argument, offsets.as_mut_bytes());
            if read.is_err() {
                offsets.clear();
            }
            for (update, found) in offsets.iter().zip(rings) {
                shared.registered.insert(tid, update.offset as usize, found);
            }
            shared.call_main_thread();
            Ok(After::Return(done))
        });
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
