//! `io_uring_enter` that wakes a submission thread which does not exist.

use super::session::{Call, Session};
use ringwarden_uapi::ring::EnterFlags;
use rustix::io::Errno;

impl Session {
    /// Has the calling thread submit all that is queued, as the submission thread would, and then wait if it is
    /// to.
    pub(super) fn wake(&self, call: Call<'_>) {
        let [fd, _, _, flags, ..] = call.args;
        let Some(flags) = EnterFlags::from_bits(flags as u32) else { return self.fail(call, Errno::INVAL) };
        // The kernel takes no more than there is (`io_submit_sqes`).
        self.inject(call, || Ok(()), |injection, ()| injection.submit(fd, u32::MAX, flags));
    }
}
