//! What stops at the guard where it splits rings: on x86-64, whose tables it knows.

use super::builder::{self, Builder, Table};
use super::{INJECTED, Notification};
use libc::sock_filter;
use ringwarden_filter::RegisterRules;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::arch::AUDIT_ARCH_32;
use ringwarden_uapi::register::USE_REGISTERED_RING;
use ringwarden_uapi::ring::{EnterFlags, OFF_CQ_RING, OFF_SQ_RING, OFF_SQES};
use rustix::io::Errno;

const X32_SYSCALL_BIT: u32 = 0x4000_0000;
const EXEC: [u32; 2] = [libc::SYS_execve as u32, libc::SYS_execveat as u32];
/// `clone`, `fork`, `vfork` and `clone3` of the 32-bit table, and of the 64-bit one, which x32 shares.
const I386_CLONE: [u32; 4] = [120, 2, 190, 435];
const CLONE: [u32; 4] =
    [libc::SYS_clone as u32, libc::SYS_fork as u32, libc::SYS_vfork as u32, libc::SYS_clone3 as u32];
/// `execve` and `execveat` of the 32-bit and x32 tables (`syscall_32.tbl`, `syscall_64.tbl`).
const I386_EXEC: [u32; 2] = [11, 358];
const X32_EXEC: [u32; 2] = [520, 545];
const UFFD_USER_MODE_ONLY: u32 = 1;
/// `UDMABUF_CREATE` and `UDMABUF_CREATE_LIST` (`include/uapi/linux/udmabuf.h`).
const UDMABUF_CREATE: [u32; 2] = [0x4018_7542, 0x4008_7543];
const READ_WRITE: u32 = (libc::PROT_READ | libc::PROT_WRITE) as u32;

/// System calls that lead around the guard, by their numbers in one table.
struct Loopholes {
    userfaultfd: u32,
    bpf: u32,
    ioctl: u32,
    /// What is added to every number.
    marked: u32,
    everywhere: Table,
}

const NATIVE: Loopholes = Loopholes {
    userfaultfd: libc::SYS_userfaultfd as u32,
    bpf: libc::SYS_bpf as u32,
    ioctl: libc::SYS_ioctl as u32,
    marked: 0,
    everywhere: builder::NATIVE,
};
/// `syscall_64.tbl`: x32 has the numbers of the 64-bit table but for `ioctl` and few others.
const X32: Loopholes =
    Loopholes { ioctl: 514, marked: X32_SYSCALL_BIT, everywhere: Table::marked(X32_SYSCALL_BIT), ..NATIVE };
/// `syscall_32.tbl`.
const I386: Loopholes =
    Loopholes { userfaultfd: 374, bpf: 357, ioctl: 54, marked: 0, everywhere: builder::COMPAT };

impl Builder {
    /// Refuses what would lead around the guard. The accumulator holds the call's number.
    fn without_loopholes(&mut self, traps: &Traps<'_>, loopholes: Loopholes) {
        use libc::{BPF_JEQ, BPF_JSET, SECCOMP_RET_ALLOW};
        let Loopholes { userfaultfd, bpf, ioctl, marked, everywhere } = loopholes;
        if traps.bpf {
            // A BPF program in place of a ring's wait loop submits whatever it finds in the ring's memory.
            self.when(BPF_JEQ, bpf | marked, |b| b.fail(Errno::PERM));
        }
        if traps.udmabuf {
            self.when(BPF_JEQ, ioctl | marked, |b| {
                b.load_arg(1, false);
                for create in UDMABUF_CREATE {
                    b.when(BPF_JEQ, create, |b| b.fail(Errno::PERM));
                }
                b.ret(SECCOMP_RET_ALLOW);
            });
        }
        // Kernel-mode page faults that the program answers at leisure would stall the guard while it
        // reads arguments.
        self.when(BPF_JEQ, userfaultfd | marked, |b| {
            b.load_arg(0, false).when(BPF_JSET, UFFD_USER_MODE_ONLY, |b| b.ret(SECCOMP_RET_ALLOW));
            b.fail(Errno::PERM);
        });
        self.without_ways_around(everywhere);
    }
}

/// What stops at the guard besides what always does, and what programs may register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traps<'a> {
    /// The register calls that programs may make.
    pub(crate) register: &'a RegisterRules,
    /// Every call that makes a thread or a process.
    pub(crate) clones: bool,
    /// Every exec.
    pub(crate) execs: bool,
    /// `bpf` is refused.
    pub(crate) bpf: bool,
    /// The calls that make a DMA buffer of a memfd are refused.
    pub(crate) udmabuf: bool,
}

impl Notification {
    /// Whether this makes a thread or a process.
    pub(crate) fn clones(&self) -> bool {
        let number = self.number as u32;
        if self.arch == AUDIT_ARCH_32 {
            I386_CLONE.contains(&number)
        } else {
            CLONE.contains(&(number & !X32_SYSCALL_BIT))
        }
    }
}

impl Traps<'_> {
    /// Of the calls that make threads and processes and of those that execute programs, those that stop.
    fn numbers<'n>(&self, clones: &'n [u32], execs: &'n [u32]) -> impl Iterator<Item = u32> + 'n {
        let clones = if self.clones { clones } else { &[] };
        let execs = if self.execs { execs } else { &[] };
        clones.iter().chain(execs).copied()
    }
}

/// The program that decides which system calls stop at the guard. Every `return` leads to the
/// notification, to `ALLOW`, or to an errno; nothing else of the process changes. Calls that are marked
/// as the guard's own pass only as far as `rules` let programs make them.
pub(crate) fn program(traps: &Traps<'_>) -> Vec<sock_filter> {
    use libc::{BPF_JEQ, BPF_JSET, SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF};
    let rules = traps.register;
    let (setup, enter, register) = (
        libc::SYS_io_uring_setup as u32,
        libc::SYS_io_uring_enter as u32,
        libc::SYS_io_uring_register as u32,
    );
    let native = |b: &mut Builder| {
        // First what a program calls most: waiting without submitting is native, unless an emulated
        // SQPOLL thread is to be woken.
        b.when(BPF_JEQ, enter, |b| {
            b.load_arg(1, false).when(BPF_JEQ, 0, |b| {
                b.load_arg(3, false);
                // Flags of later kernels might change what a call does.
                b.when(BPF_JSET, !EnterFlags::all().bits(), |b| b.fail(Errno::INVAL));
                b.when(BPF_JSET, EnterFlags::SQ_WAKEUP.bits(), |b| b.ret(SECCOMP_RET_USER_NOTIF));
                b.ret(SECCOMP_RET_ALLOW);
            });
            b.ret(SECCOMP_RET_USER_NOTIF);
        });
        b.when(BPF_JEQ, libc::SYS_mmap as u32, |b| {
            // A ring is mapped shared, for reading and writing, at one of three offsets.
            b.load_arg(2, false).and(READ_WRITE).unless_eq(READ_WRITE, |b| b.ret(SECCOMP_RET_ALLOW));
            b.load_arg(5, true).unless_eq(0, |b| b.ret(SECCOMP_RET_ALLOW));
            b.load_arg(4, false).when(BPF_JSET, 1 << 31, |b| b.ret(SECCOMP_RET_ALLOW));
            b.load_arg(3, false).when(BPF_JSET, libc::MAP_SHARED as u32, |b| {
                b.load_arg(5, false);
                for offset in [OFF_SQ_RING, OFF_CQ_RING, OFF_SQES] {
                    b.when(BPF_JEQ, offset as u32, |b| b.ret(SECCOMP_RET_USER_NOTIF));
                }
            });
            b.ret(SECCOMP_RET_ALLOW);
        });
        b.when(BPF_JEQ, register, |b| {
            // Would move the SQEs out of the guard's reach. The real ring's restrictions forbid it, too,
            // but not before the ring is enabled.
            b.load_arg(1, false).and(!USE_REGISTERED_RING);
            b.when(BPF_JEQ, RegisterOp::REGISTER_RESIZE_RINGS.0, |b| b.fail(Errno::INVAL));
            b.load_arg(1, true).when(BPF_JEQ, INJECTED as u32, |b| {
                // Only what the guard injects: enabling a ring that it made, registering rings. Where
                // programs may not enable rings, they have none that is not (`Rules::new`).
                b.load_arg(1, false).and(!USE_REGISTERED_RING);
                b.when(BPF_JEQ, RegisterOp::REGISTER_ENABLE_RINGS.0, |b| b.ret(SECCOMP_RET_ALLOW));
                if rules.allow(RegisterOp::REGISTER_RING_FDS) {
                    b.when(BPF_JEQ, RegisterOp::REGISTER_RING_FDS.0, |b| b.ret(SECCOMP_RET_ALLOW));
                }
            });
            b.ret(SECCOMP_RET_USER_NOTIF);
        });
        for number in traps.numbers(&CLONE, &EXEC).chain([setup]) {
            b.when(BPF_JEQ, number, |b| b.ret(SECCOMP_RET_USER_NOTIF));
        }
        b.without_loopholes(traps, NATIVE);
        b.without_loopholes(traps, X32);
        for number in [setup, enter, register] {
            b.when(BPF_JEQ, number | X32_SYSCALL_BIT, |b| b.fail(Errno::NOSYS));
        }
        for number in traps.numbers(&CLONE, &X32_EXEC) {
            b.when(BPF_JEQ, number | X32_SYSCALL_BIT, |b| b.ret(SECCOMP_RET_USER_NOTIF));
        }
        b.ret(SECCOMP_RET_ALLOW);
    };
    let i386 = |b: &mut Builder| {
        b.without_loopholes(traps, I386);
        // io_uring has the same numbers in every table.
        for number in [setup, enter, register] {
            b.when(BPF_JEQ, number, |b| b.fail(Errno::NOSYS));
        }
        for number in traps.numbers(&I386_CLONE, &I386_EXEC) {
            b.when(BPF_JEQ, number, |b| b.ret(SECCOMP_RET_USER_NOTIF));
        }
        b.ret(SECCOMP_RET_ALLOW);
    };
    Builder::new(native, i386).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::last_errno;
    use rustix::fd::{FromRawFd, OwnedFd};

    /// A raw call's result, or errno.
    fn call(number: libc::c_long, args: [usize; 3]) -> Result<libc::c_long, Errno> {
        // SAFETY: callers pass integers and null pointers only.
        let ret = unsafe { libc::syscall(number, args[0], args[1], args[2]) };
        if ret < 0 { Err(last_errno()) } else { Ok(ret) }
    }

    fn enter_with(flags: u32) -> Result<libc::c_long, Errno> {
        // SAFETY: no ring has that number, and no pointer is passed.
        let ret = unsafe { libc::syscall(libc::SYS_io_uring_enter, -1, 0, 0, flags, 0, 0) };
        if ret < 0 { Err(last_errno()) } else { Ok(ret) }
    }

    /// A filter holds for one thread: this one ends with the test.
    #[test]
    fn without_the_guard_nothing_leads_around_it() {
        let results = std::thread::spawn(|| {
            rustix::thread::set_no_new_privs(true).expect("no_new_privs");
            let register = RegisterRules::default();
            let traps = Traps { register: &register, clones: true, execs: true, bpf: true, udmabuf: true };
            let listener = super::super::install(&program(&traps)).expect("a listener");
            // SAFETY: installing has just made it, for nobody else.
            drop(unsafe { OwnedFd::from_raw_fd(listener) });
            let new_listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as usize;
            let set_filter = libc::SECCOMP_SET_MODE_FILTER as usize;
            [
                call(libc::SYS_io_uring_setup, [1, 0, 0]),
                call(libc::SYS_seccomp, [set_filter, new_listener, 0]),
                call(libc::SYS_seccomp, [set_filter, new_listener | 1 << 5, 0]),
                // Without a listener it may have filters of its own; this is none.
                call(libc::SYS_seccomp, [set_filter, 0, 0]),
                call(libc::SYS_pidfd_getfd, [0, 0, 0]),
                call(libc::SYS_userfaultfd, [0, 0, 0]),
                call(libc::SYS_bpf, [0, 0, 0]),
                call(libc::SYS_ioctl, [usize::MAX, UDMABUF_CREATE[0] as usize, 0]),
                call(libc::SYS_ioctl, [usize::MAX, UDMABUF_CREATE[1] as usize, 0]),
                call(libc::SYS_ioctl, [usize::MAX, 0, 0]),
                // Flags that no kernel knows yet, with nothing to submit.
                enter_with(0),
                enter_with(1 << 31),
            ]
        })
        .join()
        .expect("a thread");
        let expected = [
            Errno::NOSYS,
            Errno::BUSY,
            Errno::BUSY,
            Errno::FAULT,
            Errno::PERM,
            Errno::PERM,
            Errno::PERM,
            Errno::PERM,
            Errno::PERM,
            Errno::BADF,
            Errno::BADF,
            Errno::INVAL,
        ];
        assert_eq!(results, expected.map(Err));
    }
}
