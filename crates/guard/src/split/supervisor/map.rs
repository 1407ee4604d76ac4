//! `mmap` of a ring: the program gets the shared part and the shadow instead.

use super::{Call, Guarded, Premapped, Supervisor};
use crate::mapping::page_align;
use crate::program::credentials::as_its_user;
use crate::program::inject::After;
use crate::split::plan::RINGS_OFFSET;
use ringwarden_uapi::ring::OFF_SQES;
use rustix::fs::lstat;
use rustix::io::Errno;
use rustix::process::Pid;
use std::sync::Arc;

impl Supervisor {
    pub(super) fn map(&self, call: Call<'_>) {
        let [_, len, _, _, fd, offset] = call.args();
        let fd = fd as i32;
        // What was a ring may be any file by now. The kernel lets nobody map a ring of the guard's, so a
        // descriptor that turns into one meanwhile gains nothing.
        let guarded = match self.identify(call, fd) {
            Ok(guarded) => guarded,
            Err(Errno::ACCESS) => return self.fail(call, Errno::ACCESS),
            // Most shared mappings are of files.
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
        let len = guarded.ring.plan().shadow_len as u64;
        // An exec, which need not stop here, takes it away.
        (same && address == 0 && has_mapping(call.tid, premapped.address as u64, len))
            .then_some(premapped.address)
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

/// Whether a file is mapped in `tid`'s memory from `address` on, for just that length. Which one it is the
/// kernel tells only those who are privileged (`proc_map_files_get_link`).
fn has_mapping(tid: Pid, address: u64, len: u64) -> bool {
    let end = address.saturating_add(len);
    let path = format!("/proc/{}/map_files/{address:x}-{end:x}", tid.as_raw_nonzero());
    as_its_user(tid, || lstat(&*path)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Mapping, PAGE};
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    #[test]
    fn a_mapping_is_seen_by_all_of_its_range() {
        let file = memfd_create("a", MemfdFlags::CLOEXEC).expect("a file");
        ftruncate(&file, 2 * PAGE as u64).expect("two pages");
        let mapping = Mapping::shared(&file, 0, 2 * PAGE).expect("memory");
        let (own, address) = (rustix::process::getpid(), mapping.address());
        assert!(has_mapping(own, address, 2 * PAGE as u64));
        assert!(!has_mapping(own, address, PAGE as u64));
    }
}
