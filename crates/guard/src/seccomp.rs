//! The seccomp side: which system calls stop at the guard, and how it answers.

use libc::{sock_filter, sock_fprog};
use ringwarden_filter::RegisterRules;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::register::USE_REGISTERED_RING;
use ringwarden_uapi::ring::{EnterFlags, OFF_CQ_RING, OFF_SQ_RING, OFF_SQES};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use std::mem::{offset_of, size_of};

/// Upper half of the opcode that marks an `io_uring_register` call which the guard itself injects. The
/// kernel reads only the lower half. It is no secret: a program that uses it enables its own ring, or
/// registers one whose index the guard then does not know.
pub(crate) const INJECTED: u64 = 0x5257_0000;

const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const X32_SYSCALL_BIT: u32 = 0x4000_0000;
/// `execve` and `execveat` of the 32-bit and x32 tables (`syscall_32.tbl`, `syscall_64.tbl`).
const I386_EXEC: [u32; 2] = [11, 358];
const X32_EXEC: [u32; 2] = [520, 545];
const EXEC: [u32; 2] = [libc::SYS_execve as u32, libc::SYS_execveat as u32];
/// `clone`, `fork`, `vfork` and `clone3` of the 32-bit table, and of the 64-bit one, which x32 shares.
const I386_CLONE: [u32; 4] = [120, 2, 190, 435];
const CLONE: [u32; 4] =
    [libc::SYS_clone as u32, libc::SYS_fork as u32, libc::SYS_vfork as u32, libc::SYS_clone3 as u32];
const UFFD_USER_MODE_ONLY: u32 = 1;
/// `UDMABUF_CREATE` and `UDMABUF_CREATE_LIST` (`include/uapi/linux/udmabuf.h`).
const UDMABUF_CREATE: [u32; 2] = [0x4018_7542, 0x4008_7543];
const READ_WRITE: u32 = (libc::PROT_READ | libc::PROT_WRITE) as u32;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
const SYNC_WAKE_UP: usize = 1;

const fn stmt(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// A filter under construction: straight tests that end in an action, no jumps to keep count of.
struct Builder(Vec<sock_filter>);

impl Builder {
    fn load(&mut self, offset: usize) -> &mut Self {
        self.0.push(stmt(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset as u32));
        self
    }

    /// Loads one half of an argument.
    fn load_arg(&mut self, index: usize, high: bool) -> &mut Self {
        self.load(offset_of!(libc::seccomp_data, args) + 8 * index + if high { 4 } else { 0 })
    }

    fn ret(&mut self, action: u32) {
        self.0.push(stmt(libc::BPF_RET | libc::BPF_K, action));
    }

    fn and(&mut self, mask: u32) -> &mut Self {
        self.0.push(stmt(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask));
        self
    }

    /// Runs `body` only when the loaded word passes `test` (a `BPF_JMP` operation) against `k`.
    fn when(&mut self, test: u32, k: u32, body: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.0.len();
        self.0.push(stmt(libc::BPF_JMP | test | libc::BPF_K, k));
        body(self);
        self.0[at].jf = u8::try_from(self.0.len() - at - 1).expect("a block is short");
        self
    }

    /// Runs `body` only when the loaded word differs from `k`.
    fn unless_eq(&mut self, k: u32, body: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.0.len();
        self.0.push(stmt(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k));
        body(self);
        self.0[at].jt = u8::try_from(self.0.len() - at - 1).expect("a block is short");
        self
    }
}

/// System calls that lead around the guard, by their numbers in one table.
struct Loopholes {
    seccomp: u32,
    userfaultfd: u32,
    bpf: u32,
    ioctl: u32,
    /// What is added to every number.
    table: u32,
}

const NATIVE: Loopholes = Loopholes {
    seccomp: libc::SYS_seccomp as u32,
    userfaultfd: libc::SYS_userfaultfd as u32,
    bpf: libc::SYS_bpf as u32,
    ioctl: libc::SYS_ioctl as u32,
    table: 0,
};
/// `syscall_64.tbl`: x32 has the numbers of the 64-bit table but for `ioctl` and few others.
const X32: Loopholes = Loopholes { ioctl: 514, table: X32_SYSCALL_BIT, ..NATIVE };
/// `syscall_32.tbl`.
const I386: Loopholes = Loopholes { seccomp: 354, userfaultfd: 374, bpf: 357, ioctl: 54, table: 0 };

impl Builder {
    /// Refuses what would lead around the guard. The accumulator holds the call's number.
    fn without_loopholes(&mut self, traps: &Traps<'_>, loopholes: Loopholes) {
        use libc::{BPF_JEQ, BPF_JSET, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO};
        let Loopholes { seccomp, userfaultfd, bpf, ioctl, table } = loopholes;
        let refused = |errno| SECCOMP_RET_ERRNO | errno as u32;
        if traps.bpf {
            // A BPF program in place of a ring's wait loop submits whatever it finds in the ring's memory.
            self.when(BPF_JEQ, bpf | table, |b| b.ret(refused(libc::EPERM)));
        }
        if traps.udmabuf {
            self.when(BPF_JEQ, ioctl | table, |b| {
                b.load_arg(1, false);
                for create in UDMABUF_CREATE {
                    b.when(BPF_JEQ, create, |b| b.ret(refused(libc::EPERM)));
                }
                b.ret(SECCOMP_RET_ALLOW);
            });
        }
        // The kernel says so, too, but only as long as the guard lives.
        self.when(BPF_JEQ, seccomp | table, |b| {
            let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
            b.load_arg(1, false).when(BPF_JSET, listener, |b| b.ret(refused(libc::EBUSY)));
            b.ret(SECCOMP_RET_ALLOW);
        });
        // Kernel-mode page faults that the program answers at leisure would stall the guard while it
        // reads arguments.
        self.when(BPF_JEQ, userfaultfd | table, |b| {
            b.load_arg(0, false).when(BPF_JSET, UFFD_USER_MODE_ONLY, |b| b.ret(SECCOMP_RET_ALLOW));
            b.ret(refused(libc::EPERM));
        });
        // Would bring a ring in from outside; the last way to do so (since Linux 6.7 no message carries
        // one).
        self.when(BPF_JEQ, libc::SYS_pidfd_getfd as u32 | table, |b| b.ret(refused(libc::EPERM)));
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
fn program(traps: &Traps<'_>) -> Vec<sock_filter> {
    use libc::{BPF_JEQ, BPF_JSET, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF};
    let rules = traps.register;
    let enosys = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let (setup, enter, register) = (
        libc::SYS_io_uring_setup as u32,
        libc::SYS_io_uring_enter as u32,
        libc::SYS_io_uring_register as u32,
    );
    let nr = offset_of!(libc::seccomp_data, nr);
    let mut b = Builder(Vec::new());
    b.load(offset_of!(libc::seccomp_data, arch));
    b.when(BPF_JEQ, AUDIT_ARCH_X86_64, |b| {
        b.load(nr);
        // First what a program calls most: waiting without submitting is native, unless an emulated
        // SQPOLL thread is to be woken.
        b.when(BPF_JEQ, enter, |b| {
            b.load_arg(1, false).when(BPF_JEQ, 0, |b| {
                b.load_arg(3, false);
                // Flags of later kernels might change what a call does.
                b.when(BPF_JSET, !EnterFlags::all().bits(), |b| {
                    b.ret(SECCOMP_RET_ERRNO | libc::EINVAL as u32)
                });
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
            let refused = SECCOMP_RET_ERRNO | libc::EINVAL as u32;
            b.load_arg(1, false).and(!USE_REGISTERED_RING);
            b.when(BPF_JEQ, RegisterOp::REGISTER_RESIZE_RINGS.0, |b| b.ret(refused));
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
            b.when(BPF_JEQ, number | X32_SYSCALL_BIT, |b| b.ret(enosys));
        }
        for number in traps.numbers(&CLONE, &X32_EXEC) {
            b.when(BPF_JEQ, number | X32_SYSCALL_BIT, |b| b.ret(SECCOMP_RET_USER_NOTIF));
        }
        b.ret(SECCOMP_RET_ALLOW);
    });
    // 32-bit calls: io_uring has the same numbers in every table.
    b.unless_eq(AUDIT_ARCH_I386, |b| b.ret(libc::SECCOMP_RET_KILL_PROCESS));
    b.load(nr);
    b.without_loopholes(traps, I386);
    for number in [setup, enter, register] {
        b.when(BPF_JEQ, number, |b| b.ret(enosys));
    }
    for number in traps.numbers(&I386_CLONE, &I386_EXEC) {
        b.when(BPF_JEQ, number, |b| b.ret(SECCOMP_RET_USER_NOTIF));
    }
    b.ret(SECCOMP_RET_ALLOW);
    b.0
}

/// Installs the filter on the calling thread and gives its listener's descriptor number, which is
/// close-on-exec. Async-signal-safe but for the allocation of the program; called in the child
/// between fork and exec, in a process that had a single thread.
///
/// # Errors
/// `EBUSY` when the thread is already under another supervisor's listener; `EINVAL` on kernels that
/// lack `WAIT_KILLABLE_RECV` (before 5.19).
pub(crate) fn install(traps: &Traps<'_>) -> Result<RawFd, Errno> {
    let mut insns = program(traps);
    let fprog = sock_fprog { len: insns.len() as u16, filter: insns.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: `fprog` names `insns`, alive for the call; the kernel copies the program.
    let ret =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog) };
    if ret < 0 { Err(last_errno()) } else { Ok(ret as RawFd) }
}

/// The listener: notifications come in, answers go out.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

/// One system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notification {
    /// The cookie that answers carry.
    pub(crate) id: u64,
    /// The thread, in the guard's pid namespace; 0 when it is outside.
    pub(crate) tid: u32,
    /// The system call's architecture and number.
    pub(crate) arch: u32,
    pub(crate) number: i32,
    /// Its arguments, as in the registers.
    pub(crate) args: [u64; 6],
}

impl Notification {
    /// Whether this makes a thread or a process.
    pub(crate) fn clones(&self) -> bool {
        let number = self.number as u32;
        if self.arch == AUDIT_ARCH_I386 {
            I386_CLONE.contains(&number)
        } else {
            CLONE.contains(&(number & !X32_SYSCALL_BIT))
        }
    }

    /// Whether this is a call of the 64-bit table proper.
    pub(crate) fn is_native(&self) -> bool {
        self.arch == AUDIT_ARCH_X86_64 && self.number as u32 & X32_SYSCALL_BIT == 0
    }
}

impl Listener {
    /// Takes the listener over and asks for synchronous wake-ups (Linux 6.6): the guard then runs on
    /// the core of the thread that it serves, at once.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let listener = Self(fd);
        // Older kernels refuse; everything works there, ten times slower.
        let flags = std::ptr::without_provenance_mut(SYNC_WAKE_UP);
        let _ = listener.ioctl(libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags);
        listener
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        rustix::fd::AsFd::as_fd(&self.0)
    }

    fn ioctl(&self, request: u64, argument: *mut libc::c_void) -> Result<i32, Errno> {
        // SAFETY: every caller passes what its request takes: a pointer to a live structure of the
        // request's size, or an integer for SET_FLAGS.
        let call = || unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument) };
        loop {
            match call() {
                // Rings that end interrupt the thread that made them (`io_ring_exit_work`).
                -1 if last_errno() == Errno::INTR => {}
                -1 => return Err(last_errno()),
                ret => return Ok(ret),
            }
        }
    }

    /// Waits for the next notification.
    ///
    /// # Errors
    /// `EINTR` and `ENOENT` (the caller died meanwhile) are worth another try; others are final.
    pub(crate) fn receive(&self) -> Result<Notification, Errno> {
        // SAFETY: plain integers; the kernel insists on zeroes.
        let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_RECV, (&raw mut raw).cast())?;
        Ok(Notification {
            id: raw.id,
            tid: raw.pid,
            arch: raw.data.arch,
            number: raw.data.nr,
            args: raw.data.args,
        })
    }

    /// Whether a notification is there to be received.
    pub(crate) fn has_more(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&Timespec::default()));
        fds[0].revents().contains(PollFlags::IN)
    }

    /// Whether no guarded task is left.
    pub(crate) fn is_abandoned(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::empty())];
        let _ = poll(&mut fds, Some(&Timespec::default()));
        fds[0].revents().contains(PollFlags::HUP)
    }

    /// Whether the notification still waits: then its thread is alive, and its number nobody else's.
    pub(crate) fn is_valid(&self, id: u64) -> bool {
        is_valid(self.as_fd(), id)
    }

    /// Makes the call return `value`.
    pub(crate) fn answer(&self, id: u64, value: i64) {
        self.respond(id, value, 0, 0);
    }

    /// Lets the call go on in the kernel as the registers have it.
    pub(crate) fn proceed(&self, id: u64) {
        self.respond(id, 0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32);
    }

    /// Makes the call fail.
    pub(crate) fn fail(&self, id: u64, error: Errno) {
        self.respond(id, 0, -error.raw_os_error(), 0);
    }

    fn respond(&self, id: u64, val: i64, error: i32, flags: u32) {
        let mut response = libc::seccomp_notif_resp { id, val, error, flags };
        // The thread may have died: ENOENT, and nothing is left to answer.
        let _ = self.ioctl(libc::SECCOMP_IOCTL_NOTIF_SEND, (&raw mut response).cast());
    }

    /// Installs a copy of `fd` in the process that waits, close-on-exec, and gives its number there.
    ///
    /// `SECCOMP_ADDFD_FLAG_SEND`, which would answer the call in the same step, is of no use here:
    /// when the guard is interrupted in it the call returns 0 and no descriptor is installed.
    pub(crate) fn add_fd(&self, id: u64, fd: BorrowedFd<'_>) -> Result<i32, Errno> {
        let mut request = libc::seccomp_notif_addfd {
            id,
            flags: 0,
            srcfd: fd.as_raw_fd() as u32,
            newfd: 0,
            newfd_flags: libc::O_CLOEXEC as u32,
        };
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_ADDFD, (&raw mut request).cast())
    }
}

/// Whether the notification `id` of a listener still waits for its answer.
pub(crate) fn is_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the request reads a `u64`, which lives for the call.
    let ret = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) };
    ret == 0
}

/// Takes a copy of descriptor `fd` of the process that `pidfd` names.
pub(crate) fn listener_of(pidfd: BorrowedFd<'_>, fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: integers only; the result is a new descriptor of ours.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    if ret < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(ret as RawFd) })
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

const _: () = assert!(size_of::<libc::seccomp_notif>() == 80);

#[cfg(test)]
mod tests {
    use super::*;

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
            let listener = install(&traps).expect("a listener");
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
