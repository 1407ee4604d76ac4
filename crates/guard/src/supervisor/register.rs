//! `io_uring_register`: what would take the ring out of the guard's hands is refused.

use super::Supervisor;
use crate::audit::Refused;
use crate::seccomp::Notification;
use ringwarden_uapi::register::RegisterOp;
use rustix::io::Errno;
use rustix::process::Pid;

/// `IORING_REGISTER_USE_REGISTERED_RING`, a bit of the opcode: `fd` is an index.
const USE_REGISTERED_RING: u32 = 1 << 31;
const RING_FDS: u32 = 20;
const RESIZE_RINGS: u32 = 33;

impl Supervisor {
    pub(super) fn register(&mut self, call: &Notification, tid: Pid) {
        let op = call.args[1] as u32;
        match op {
            _ if op & USE_REGISTERED_RING != 0 => self.listener.fail(call.id, Errno::INVAL),
            RING_FDS => self.listener.fail(call.id, Errno::INVAL),
            RESIZE_RINGS => {
                self.refused(tid, Refused::Register { op: RegisterOp(op) });
                self.listener.fail(call.id, Errno::INVAL);
            }
            _ => self.listener.proceed(call.id),
        }
    }
}
