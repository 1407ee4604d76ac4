//! What stops at the guard where it makes rings and the kernel holds them: the calls that make and enable
//! rings, and nothing that submits.

use super::builder::{Builder, COMPAT, NATIVE, Table};
use libc::{BPF_JEQ, BPF_JSET, SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF, sock_filter};
use ringwarden_filter::RegisterRules;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::arch::MARKS;
use ringwarden_uapi::register::USE_REGISTERED_RING;
use ringwarden_uapi::ring::EnterFlags;
use rustix::io::Errno;

/// What is to be known for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls<'a> {
    /// The register calls that programs may make.
    pub(crate) register: &'a RegisterRules,
    /// Programs may have rings with a submission thread, which is emulated.
    pub(crate) sqpoll: bool,
    /// Messages to rings may be sent without a ring, too.
    pub(crate) messages: bool,
    /// What the kernel says of operations is corrected.
    pub(crate) probes: bool,
    /// The kernel has filters for tasks, which rings that the guard makes would not have.
    pub(crate) task_filters: bool,
}

const SETUP: u32 = libc::SYS_io_uring_setup as u32;
const ENTER: u32 = libc::SYS_io_uring_enter as u32;
const REGISTER: u32 = libc::SYS_io_uring_register as u32;

/// The program that decides. Where no ring has a submission thread, `io_uring_enter` is answered without a look
/// at its arguments, which the kernel then remembers (`seccomp_cache_check_allow`).
pub(crate) fn program(calls: &Calls<'_>) -> Vec<sock_filter> {
    let native = |b: &mut Builder| {
        b.when(BPF_JEQ, ENTER, |b| {
            if calls.sqpoll {
                b.load_arg(3, false).when(BPF_JSET, EnterFlags::SQ_WAKEUP.bits(), |b| {
                    // With a number, it does what it says.
                    b.load_arg(1, false).when(BPF_JEQ, 0, |b| b.ret(SECCOMP_RET_USER_NOTIF));
                });
            }
            b.ret(SECCOMP_RET_ALLOW);
        });
        b.when(BPF_JEQ, SETUP, |b| b.ret(SECCOMP_RET_USER_NOTIF));
        b.when(BPF_JEQ, REGISTER, |b| b.register_calls(calls));
        b.without_ways_around(NATIVE);
        for &mark in MARKS {
            b.without_ways_around(Table::marked(mark));
            for number in [SETUP, ENTER, REGISTER] {
                b.when(BPF_JEQ, number | mark, |b| b.fail(Errno::NOSYS));
            }
        }
        b.ret(SECCOMP_RET_ALLOW);
    };
    let compat = |b: &mut Builder| {
        b.without_ways_around(COMPAT);
        // io_uring has the same numbers in every table.
        for number in [SETUP, ENTER, REGISTER] {
            b.when(BPF_JEQ, number, |b| b.fail(Errno::NOSYS));
        }
        b.ret(SECCOMP_RET_ALLOW);
    };
    Builder::new(native, compat).build()
}

impl Builder {
    fn register_calls(&mut self, calls: &Calls<'_>) {
        // The kernel looks at the lower half of the argument only, and at the index bit apart
        // (`io_uring_register`).
        let opcode = |b: &mut Self| {
            b.load_arg(1, false).and(!USE_REGISTERED_RING);
        };
        opcode(self);
        for op in calls.register.known(false) {
            self.when(BPF_JEQ, op.0, |b| b.fail(Errno::ACCESS));
        }
        // What such a call would do on a later kernel nobody knows.
        let unknown = if calls.register.allow_unknown() { Errno::INVAL } else { Errno::ACCESS };
        self.when(libc::BPF_JGE, RegisterOp::LAST, |b| b.fail(unknown));
        if !calls.messages {
            // `io_uring_sync_msg_ring` asks neither a ring's list nor its filters.
            self.when(BPF_JEQ, RegisterOp::REGISTER_SEND_MSG_RING.0, |b| b.fail(Errno::ACCESS));
        }
        if calls.task_filters {
            let limits = [RegisterOp::REGISTER_RESTRICTIONS, RegisterOp::REGISTER_BPF_FILTER];
            self.load_arg(0, false).when(BPF_JEQ, u32::MAX, |b| {
                opcode(b);
                for op in limits {
                    b.when(BPF_JEQ, op.0, |b| b.fail(Errno::INVAL));
                }
                b.ret(SECCOMP_RET_ALLOW);
            });
            opcode(self);
        }
        // A ring is enabled by the guard alone, or where it says so.
        for op in [RegisterOp::REGISTER_RESTRICTIONS, RegisterOp::REGISTER_ENABLE_RINGS] {
            self.when(BPF_JEQ, op.0, |b| b.ret(SECCOMP_RET_USER_NOTIF));
        }
        if calls.probes {
            self.when(BPF_JEQ, RegisterOp::REGISTER_PROBE.0, |b| b.ret(SECCOMP_RET_USER_NOTIF));
        }
        self.ret(SECCOMP_RET_ALLOW);
    }
}
