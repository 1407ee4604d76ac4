//! seccomp programs under construction.

use libc::sock_filter;
use ringwarden_uapi::arch::{AUDIT_ARCH, AUDIT_ARCH_32, SECCOMP_32};
use rustix::io::Errno;
use std::mem::offset_of;

const fn stmt(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// A filter under construction: straight tests that end in an action, no jumps to keep count of.
pub(super) struct Builder(Vec<sock_filter>);

impl Builder {
    pub(super) fn load(&mut self, offset: usize) -> &mut Self {
        self.0.push(stmt(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset as u32));
        self
    }

    /// Loads one half of an argument.
    pub(super) fn load_arg(&mut self, index: usize, high: bool) -> &mut Self {
        self.load(offset_of!(libc::seccomp_data, args) + 8 * index + if high { 4 } else { 0 })
    }

    pub(super) fn ret(&mut self, action: u32) {
        self.0.push(stmt(libc::BPF_RET | libc::BPF_K, action));
    }

    pub(super) fn and(&mut self, mask: u32) -> &mut Self {
        self.0.push(stmt(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask));
        self
    }

    /// Runs `body` only when the loaded word passes `test` (a `BPF_JMP` operation) against `k`.
    pub(super) fn when(&mut self, test: u32, k: u32, body: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.0.len();
        self.0.push(stmt(libc::BPF_JMP | test | libc::BPF_K, k));
        body(self);
        self.0[at].jf = u8::try_from(self.0.len() - at - 1).expect("a block is short");
        self
    }

    /// Runs `body` only when the loaded word differs from `k`.
    pub(super) fn unless_eq(&mut self, k: u32, body: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.0.len();
        self.0.push(stmt(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k));
        body(self);
        self.0[at].jt = u8::try_from(self.0.len() - at - 1).expect("a block is short");
        self
    }
}

/// Numbers in one system call table of what every lane refuses.
#[derive(Clone, Copy)]
pub(super) struct Table {
    seccomp: u32,
    /// What is added to every number.
    marked: u32,
}

/// io_uring's system calls and most others have the same numbers in all tables that share `marked`.
pub(super) const NATIVE: Table = Table { seccomp: libc::SYS_seccomp as u32, marked: 0 };
/// The table of 32-bit programs.
pub(super) const COMPAT: Table = Table { seccomp: SECCOMP_32, marked: 0 };

impl Table {
    /// The table whose calls have that bit, with the numbers of the native one but for few.
    pub(super) const fn marked(mark: u32) -> Self {
        Self { marked: mark, ..NATIVE }
    }
}

impl Builder {
    /// Runs `native` for calls of the 64-bit table, marked ones included, and `compat` for calls of the
    /// 32-bit one, both with the call's number loaded. A call of any other table ends the process.
    pub(super) fn new(native: impl FnOnce(&mut Self), compat: impl FnOnce(&mut Self)) -> Self {
        let mut b = Self(Vec::new());
        let nr = offset_of!(libc::seccomp_data, nr);
        b.load(offset_of!(libc::seccomp_data, arch));
        b.when(libc::BPF_JEQ, AUDIT_ARCH, |b| {
            b.load(nr);
            native(b);
        });
        b.unless_eq(AUDIT_ARCH_32, |b| b.ret(libc::SECCOMP_RET_KILL_PROCESS));
        b.load(nr);
        compat(&mut b);
        b
    }

    pub(super) fn build(self) -> Vec<sock_filter> {
        self.0
    }

    pub(super) fn fail(&mut self, error: Errno) {
        self.ret(libc::SECCOMP_RET_ERRNO | error.raw_os_error() as u32);
    }

    /// Refuses what no lane can do with. The accumulator holds the call's number.
    pub(super) fn without_ways_around(&mut self, table: Table) {
        let Table { seccomp, marked } = table;
        // The kernel says so, too, but only as long as the guard lives.
        self.when(libc::BPF_JEQ, seccomp | marked, |b| {
            let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
            b.load_arg(1, false).when(libc::BPF_JSET, listener, |b| b.fail(Errno::BUSY));
            b.ret(libc::SECCOMP_RET_ALLOW);
        });
        // Would bring a ring in from outside; the last way to do so (since Linux 6.7 no message carries
        // one).
        self.when(libc::BPF_JEQ, libc::SYS_pidfd_getfd as u32 | marked, |b| b.fail(Errno::PERM));
    }
}
