//! `mmap` of a ring: the program gets the shared part and the shadow instead.

use super::{After, Supervisor};
use crate::mapping::page_align;
use crate::seccomp::{Notification, RINGS_OFFSET, SQES_OFFSET};
use ringwarden_uapi::ring::OFF_SQES;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;

impl Supervisor {
    pub(super) fn map(&mut self, call: &Notification, tid: Pid) {
        let [_, len, _, _, fd, offset] = call.args;
        // Most shared mappings are of files. The kernel lets nobody map a ring of the guard's, so a
        // descriptor that turns into one meanwhile gains nothing.
        if self.rings.is_empty() && !self.may_be_foreign(tid, fd as i32) {
            return self.listener.proceed(call.id);
        }
        let id = match self.believed(tid, fd as i32).map_or_else(|| self.identify(tid, fd as i32), Ok) {
            Ok(id) => id,
            Err(Errno::ACCESS) => return self.listener.fail(call.id, Errno::ACCESS),
            Err(_) => return self.listener.proceed(call.id),
        };
        let Some(guarded) = self.rings.get(&id) else {
            return self.listener.proceed(call.id);
        };
        let plan = guarded.ring.plan();
        let (target, most) =
            if offset == OFF_SQES { (SQES_OFFSET, plan.shadow_len) } else { (RINGS_OFFSET, plan.rings_len) };
        if len == 0 || len > usize::MAX as u64 / 2 || page_align(len as usize) > most {
            return self.listener.fail(call.id, Errno::INVAL);
        }
        self.redirect(call, tid, id, target);
    }

    fn may_be_foreign(&mut self, tid: Pid, fd: i32) -> bool {
        self.tasks.descriptor(tid, fd).is_ok_and(|copy: OwnedFd| super::is_ring(copy.as_fd()))
    }

    /// Makes the same call in the thread, with the ring's memfd in the ring's place.
    fn redirect(&mut self, call: &Notification, tid: Pid, id: crate::tasks::RingId, target: u64) {
        let [address, len, protection, flags, ..] = call.args;
        let memory = self.rings[&id].ring.memory();
        let number = match self.listener.add_fd(call.id, memory, false) {
            Ok(number) => number,
            Err(error) => return self.listener.fail(call.id, error),
        };
        self.inject(call, tid, |injection| {
            let args = [address, len, protection, flags, number as u64, target];
            let result = injection.syscall(libc::SYS_mmap, args)?;
            injection.syscall(libc::SYS_close, [number as u64, 0, 0, 0, 0, 0])?;
            Ok(After::Return(result))
        });
    }
}
