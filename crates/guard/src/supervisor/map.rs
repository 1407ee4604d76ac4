//! `mmap` of a ring: the program gets the shared part and the shadow instead.

use super::{After, Guarded, Premapped, Supervisor};
use crate::inherited::is_ring;
use crate::mapping::page_align;
use crate::plan::RINGS_OFFSET;
use crate::seccomp::Notification;
use crate::tasks::RingId;
use ringwarden_uapi::ring::OFF_SQES;
use rustix::fd::AsFd;
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
        let (target, most) = if offset == OFF_SQES {
            (plan.shadow_offset(), plan.shadow_len)
        } else {
            (RINGS_OFFSET, plan.rings_len)
        };
        if len == 0 || len > usize::MAX as u64 / 2 || page_align(len as usize) > most {
            return self.listener.fail(call.id, Errno::INVAL);
        }
        match self.take_premapped(tid, id, call) {
            Some(address) if offset == OFF_SQES && page_align(len as usize) == most => {
                self.listener.answer(call.id, address);
            }
            _ => self.redirect(call, tid, id, target),
        }
    }

    /// The shadow's mapping that was made along with the ring's, if this call would make the same.
    fn take_premapped(&mut self, tid: Pid, id: RingId, call: &Notification) -> Option<i64> {
        let [address, _, protection, flags, ..] = call.args;
        let (tgid, _) = self.tasks.process_of(tid).ok()?;
        let premapped = self.rings.get_mut(&id)?.premapped.take()?;
        let same = (premapped.tgid, premapped.protection, premapped.flags) == (tgid, protection, flags);
        (same && address == 0).then_some(premapped.address)
    }

    fn may_be_foreign(&mut self, tid: Pid, fd: i32) -> bool {
        self.tasks.descriptor(tid, fd).is_ok_and(|copy| is_ring(copy.as_fd()))
    }

    /// Makes the same call in the thread, with the ring's memfd in the ring's place. Mapping the ring
    /// maps the shadow, too, which saves the injection that the program's next call would need.
    fn redirect(&mut self, call: &Notification, tid: Pid, id: RingId, target: u64) {
        let [address, len, protection, flags, ..] = call.args;
        let Some(Guarded { ring, .. }) = self.rings.get(&id) else {
            return self.listener.fail(call.id, Errno::BADF);
        };
        let (shadow_offset, shadow_len) = (ring.plan().shadow_offset(), ring.plan().shadow_len as u64);
        let ahead = target == RINGS_OFFSET && address == 0 && flags & libc::MAP_FIXED as u64 == 0;
        let mut shadow = None;
        let prepare = || self.listener.add_fd(call.id, ring.memory());
        self.inject(call, tid, prepare, |injection, number| {
            let fd = number as u64;
            let result = injection.syscall(libc::SYS_mmap, [address, len, protection, flags, fd, target])?;
            if ahead && result > 0 {
                let args = [0, shadow_len, protection, flags, fd, shadow_offset];
                shadow = Some(injection.syscall(libc::SYS_mmap, args)?).filter(|&address| address > 0);
            }
            injection.syscall(libc::SYS_close, [fd, 0, 0, 0, 0, 0])?;
            Ok(After::Return(result))
        });
        if let (Some(address), Ok((tgid, _)), Some(guarded)) =
            (shadow, self.tasks.process_of(tid), self.rings.get_mut(&id))
        {
            guarded.premapped = Some(Premapped { tgid, address, protection, flags });
        }
    }
}
