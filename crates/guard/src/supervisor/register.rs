//! `io_uring_register`: what would take a ring out of the guard's hands is refused, what the guard
//! has already used up is emulated, the rest is the kernel's.

use super::{After, Supervisor};
use crate::audit::Refused;
use crate::memory;
use crate::registered::{self, Registered};
use crate::seccomp::{INJECTED, Notification};
use crate::tasks::RingId;
use ringwarden_filter::Restrictions;
use ringwarden_uapi::register::USE_REGISTERED_RING;
use ringwarden_uapi::restriction::Restriction;
use ringwarden_uapi::{Opcode, RegisterOp};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::Pid;
use std::sync::Arc;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

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
        // The kernel looks for this before it looks at the index bit (`io_uring_register`).
        if fd == -1 {
            return self.register_without_ring(call, tid, op);
        }
        let ring = if by_index {
            self.by_index(tid, fd as u32).map(|registered| registered.ring)
        } else {
            self.believed(tid, fd).map_or_else(|| self.identify(tid, fd), Ok)
        };
        let guarded = match ring.map(|ring| self.rings.get_mut(&ring)) {
            Ok(Some(guarded)) => guarded,
            // Never left to the kernel: the descriptor could be a ring by then.
            Ok(None) => return self.listener.fail(call.id, Errno::BADF),
            Err(error) => return self.listener.fail(call.id, error),
        };
        if !guarded.disabled && !guarded.restrictions.allow_register(op) {
            return self.listener.fail(call.id, Errno::ACCESS);
        }
        match op {
            RegisterOp::REGISTER_RESTRICTIONS => {
                let restricted = Self::restrict(guarded, tid, argument, count as u32);
                self.answer(call, restricted.map(|()| 0));
            }
            RegisterOp::REGISTER_ENABLE_RINGS => {
                guarded.disabled = false;
                self.listener.proceed(call.id);
            }
            RegisterOp::REGISTER_RING_FDS => self.register_ring_fds(call, tid),
            RegisterOp::UNREGISTER_RING_FDS => {
                for update in read_updates(tid, argument, count as u32).unwrap_or_default() {
                    self.shared.registered.remove(tid, update.offset as usize);
                }
                self.listener.proceed(call.id);
            }
            _ => self.listener.proceed(call.id),
        }
    }

    /// Calls with -1 in place of a ring.
    fn register_without_ring(&mut self, call: &Notification, tid: Pid, op: RegisterOp) {
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

    /// Remembers the program's own restrictions: the real ring has the guard's already. Checks and
    /// errors as in `io_register_restrictions`.
    fn restrict(guarded: &mut super::Guarded, tid: Pid, argument: u64, count: u32) -> Result<(), Errno> {
        if !guarded.disabled {
            return Err(Errno::BADFD);
        }
        if guarded.restricted {
            return Err(Errno::BUSY);
        }
        let model = guarded.model;
        if argument == 0 || count as usize > Restrictions::max_entries(model) {
            return Err(Errno::INVAL);
        }
        let mut entries = vec![Restriction::new_zeroed(); count as usize];
        memory::read_bytes(tid, argument, entries.as_mut_bytes())?;
        guarded.restrictions = Restrictions::parse(model, &entries)
            .map_err(|errno| Errno::from_raw_os_error(i32::from(errno.0)))?;
        guarded.restricted = true;
        Ok(())
    }

    /// Has the thread register its rings, and remembers which index became which ring.
    fn register_ring_fds(&mut self, call: &Notification, tid: Pid) {
        let [ring, word, argument, count, ..] = call.args;
        let updates = match read_updates(tid, argument, count as u32) {
            Ok(updates) => updates,
            Err(error) => return self.listener.fail(call.id, error),
        };
        let mut rings = Vec::new();
        for update in &updates {
            match self.ring_and_descriptor(tid, update.data as i32) {
                Ok(found) => rings.push(found),
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
            let offsets = read_updates(tid, argument, count as u32).unwrap_or_default();
            for (update, found) in offsets.iter().zip(rings) {
                shared.registered.insert(tid, update.offset as usize, found);
            }
            shared.call_main_thread();
            Ok(After::Return(done))
        });
    }

    fn ring_and_descriptor(&mut self, tid: Pid, fd: i32) -> Result<Registered, Errno> {
        let ring: RingId = self.identify(tid, fd)?;
        let descriptor: OwnedFd = self.tasks.descriptor(tid, fd)?;
        Ok(Registered { ring, descriptor: Arc::new(descriptor) })
    }
}

/// Reads the entries of a call that registers or unregisters rings.
fn read_updates(tid: Pid, argument: u64, count: u32) -> Result<Vec<RingUpdate>, Errno> {
    if count as usize > registered::MAX {
        return Err(Errno::INVAL);
    }
    let mut updates = vec![RingUpdate::default(); count as usize];
    memory::read_bytes(tid, argument, updates.as_mut_bytes())?;
    Ok(updates)
}
