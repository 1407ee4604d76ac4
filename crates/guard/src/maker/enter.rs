//! `io_uring_enter` that wakes a submission thread which does not exist.

use super::session::{Call, Session};
use crate::inject::After;
use ringwarden_uapi::ring::EnterFlags;
use rustix::io::Errno;

impl Session {
    /// Has the calling thread submit all that is queued, as the submission thread would, and then wait if it is
    /// to.
    pub(super) fn wake(&self, call: Call<'_>) {
        let [fd, _, _, flags, ..] = call.args;
        let Some(flags) = EnterFlags::from_bits(flags as u32) else { return self.fail(call, Errno::INVAL) };
        let waits = flags.contains(EnterFlags::GETEVENTS);
        let rest = flags - EnterFlags::SQ_WAKEUP;
        let submitting = u64::from((rest & EnterFlags::REGISTERED_RING).bits());
        self.inject(
            call,
            || Ok(()),
            |injection, ()| {
                // The kernel takes no more than there is (`io_submit_sqes`).
                let all = [fd, u32::MAX.into(), 0, submitting, 0, 0];
                let submitted = injection.syscall(libc::SYS_io_uring_enter, all)?;
                Ok(match submitted {
                    ..0 => After::Return(submitted),
                    _ if waits => After::AgainWith(0, rest.bits().into()),
                    _ => After::Return(0),
                })
            },
        );
    }
}
