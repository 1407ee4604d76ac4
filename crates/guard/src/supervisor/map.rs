//! `mmap` of a ring: the program gets the shared part and the shadow instead.

use super::{After, Call, Guarded, Premapped, Supervisor};
use crate::mapping::page_align;
use crate::plan::RINGS_OFFSET;
use ringwarden_launch::descriptors::is_ring;
use ringwarden_uapi::ring::OFF_SQES;
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::sync::Arc;

impl Supervisor {
    pub(super) fn map(&self, call: Call<'_>) {
        let [_, len, _, _, fd, offset] = call.args();
        let fd = fd as i32;
        let known = {
            let mut state = self.state();
            // Most shared mappings are of files. The kernel lets nobody map a ring of the guard's, so a
            // descriptor that turns into one meanwhile gains nothing.
            if state.rings.is_empty()
                && !state.tasks.descriptor(call.tid, fd).is_ok_and(|copy| is_ring(copy.as_fd()))
            {
                drop(state);
                return self.proceed(call);
            }
            state.believed(call.tid, fd).cloned()
        };
        let guarded = match known.map_or_else(|| self.identify(call, fd), Ok) {
            Ok(guarded) => guarded,
            Err(Errno::ACCESS) => return self.fail(call, Errno::ACCESS),
            Err(_) => return self.proceed(call),
        };
        let plan = guarded.ring.plan();
        let (target, most) = if offset == OFF_SQES {
            (plan.shadow_offset(), plan.shadow_len)
        } else {
            (RINGS_OFFSET, plan.rings_len)
        };
        if len == 0 || len > usize::MAX as u64 / 2 || page_align(len as usize) > most {
            return self.fail(call, Errno::INVAL);
        }
        match self.take_premapped(call, &guarded) {
            Some(address) if offset == OFF_SQES && page_align(len as usize) == most => {
                self.listener.answer(call.id(), address);
            }
            _ => self.redirect(call, &guarded, target),
        }
    }

    /// The shadow's mapping that was made along with the ring's, if this call would make the same.
    fn take_premapped(&self, call: Call<'_>, guarded: &Guarded) -> Option<i64> {
        let [address, _, protection, flags, ..] = call.args();
        let tgid = self.state().tasks.process_of(call.tid).ok()?.0;
        let premapped = guarded.premapped().take()?;
        let same = (premapped.tgid, premapped.protection, premapped.flags) == (tgid, protection, flags);
        (same && address == 0).then_some(premapped.address)
    }

    /// Makes the same call in the thread, with the ring's memfd in the ring's place. Mapping the ring
    /// maps the shadow, too, which saves the injection that the program's next call would need.
    fn redirect(&self, call: Call<'_>, guarded: &Arc<Guarded>, target: u64) {
        let [address, len, protection, flags, ..] = call.args();
        let ring = &guarded.ring;
        let (shadow_offset, shadow_len) = (ring.plan().shadow_offset(), ring.plan().shadow_len as u64);
        let ahead = target == RINGS_OFFSET && address == 0 && flags & libc::MAP_FIXED as u64 == 0;
        let process = self.state().tasks.process_of(call.tid).map(|(tgid, _)| tgid);
        let prepare = || self.listener.add_fd(call.id(), ring.memory());
        self.inject(call, prepare, |injection, number| {
            let fd = number as u64;
            let result = injection.syscall(libc::SYS_mmap, [address, len, protection, flags, fd, target])?;
            if ahead && result > 0 {
                let args = [0, shadow_len, protection, flags, fd, shadow_offset];
                let shadow = injection.syscall(libc::SYS_mmap, args)?;
                // Before the thread goes on, which asks for it next.
                if let (true, Ok(tgid)) = (shadow > 0, process) {
                    *guarded.premapped() = Some(Premapped { tgid, address: shadow, protection, flags });
                }
            }
            injection.syscall(libc::SYS_close, [fd, 0, 0, 0, 0, 0])?;
            Ok(After::Return(result))
        });
    }
}
