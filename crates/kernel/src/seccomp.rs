//! The seccomp side: register calls that a policy refuses, or that are requests in disguise.

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS};
use libc::{seccomp_data, sock_filter, sock_fprog};
use ringwarden_filter::RegisterRules;
use ringwarden_trial::last_errno;
use ringwarden_uapi::arch::{AUDIT_ARCH, AUDIT_ARCH_32, MARKS};
use ringwarden_uapi::register::USE_REGISTERED_RING;
use rustix::io::Errno;
use std::mem::offset_of;

/// A filter that refuses some `io_uring_register` opcodes with EACCES, whatever the descriptor and
/// through every system call table, and lets everything else pass.
#[derive(Clone, Debug)]
pub(crate) struct RegisterFilter(Vec<sock_filter>);

impl RegisterFilter {
    /// Refuses what `rules` do not allow.
    pub(crate) fn new(rules: &RegisterRules) -> Self {
        let stmt = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
        let load = |offset: usize| stmt(BPF_LD | BPF_W | BPF_ABS, offset as u32);
        let ret = |action: u32| stmt(BPF_RET | BPF_K, action);
        let and = |mask: u32| stmt(BPF_ALU | BPF_AND | BPF_K, mask);
        let equal =
            |k: u32, jt: u8, jf: u8| sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt, jf, k };
        let mut insns = vec![
            load(offset_of!(seccomp_data, arch)),
            equal(AUDIT_ARCH, 2, 0),
            equal(AUDIT_ARCH_32, 1, 0),
            ret(SECCOMP_RET_KILL_PROCESS),
            // io_uring_register has one number in every table, which some mark with a bit.
            load(offset_of!(seccomp_data, nr)),
            and(!MARKS.iter().fold(0, |marks, mark| marks | mark)),
            equal(libc::SYS_io_uring_register as u32, 1, 0),
            ret(SECCOMP_RET_ALLOW),
            // The kernel looks at the lower half of the argument only.
            load(offset_of!(seccomp_data, args) + 8),
            and(!USE_REGISTERED_RING),
        ];
        let refuse = SECCOMP_RET_ERRNO | libc::EACCES as u32;
        let (rest, exception) =
            if rules.allow_unknown() { (SECCOMP_RET_ALLOW, refuse) } else { (refuse, SECCOMP_RET_ALLOW) };
        let exceptions: Vec<_> = rules.known(!rules.allow_unknown()).collect();
        for (index, op) in exceptions.iter().enumerate() {
            // Behind the other tests and what is the rest's. There are fewer than 64 opcodes.
            insns.push(equal(op.0, (exceptions.len() - index) as u8, 0));
        }
        insns.push(ret(rest));
        insns.push(ret(exception));
        Self(insns)
    }

    /// Installs it on the calling thread, which must have `no_new_privs`. Makes one system call and
    /// allocates nothing.
    ///
    /// # Errors
    /// Those of `seccomp(2)`.
    pub(crate) fn install(&self) -> Result<(), Errno> {
        let program = sock_fprog { len: self.0.len() as u16, filter: self.0.as_ptr().cast_mut() };
        // SAFETY: `program` names instructions that live for the call; the kernel copies and does not
        // change them.
        let ret =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        if ret == 0 { Ok(()) } else { Err(last_errno()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_trial::{self as trial, TrialError};
    use ringwarden_uapi::RegisterOp;
    use std::io;

    fn register(rules: &RegisterRules, number: i64, op: u64) -> Result<i32, TrialError> {
        trial::ask(|| {
            rustix::thread::set_no_new_privs(true)?;
            RegisterFilter::new(rules).install()?;
            // SAFETY: no ring has that number, and no pointer is passed.
            match unsafe { libc::syscall(number, 9999, op, 0, 0) } {
                -1 => Err(io::Error::last_os_error()),
                ret => Ok(ret as i32),
            }
        })
    }

    #[test]
    fn exactly_the_named_opcodes_are_refused_in_every_disguise() {
        let native = libc::SYS_io_uring_register;
        let refused = Err(TrialError::Failed(Errno::ACCESS));
        let upper_half = 5 << 32;
        let mut all_but_messages = RegisterRules::default();
        all_but_messages.set(RegisterOp::REGISTER_SEND_MSG_RING, false);
        let mut only_probes = RegisterRules::NONE;
        only_probes.set(RegisterOp::REGISTER_PROBE, true);
        let by_index = u64::from(USE_REGISTERED_RING);
        for (rules, op, passes) in [
            (&all_but_messages, 31, false),
            (&all_but_messages, 0, true),
            (&all_but_messages, 30, true),
            (&all_but_messages, 32, true),
            (&all_but_messages, 1000, true),
            (&only_probes, 8, true),
            (&only_probes, 0, false),
            (&only_probes, 7, false),
            (&only_probes, 9, false),
            (&only_probes, 37, false),
            (&only_probes, 1000, false),
        ] {
            for disguise in [0, by_index, upper_half] {
                // Without a ring what passes fails, too, but otherwise.
                let result = register(rules, native, op | disguise);
                assert!(result.is_err());
                assert_eq!(result != refused, passes, "{op} {disguise:#x}");
            }
            if !passes {
                for &mark in MARKS {
                    let marked = register(rules, native | i64::from(mark), op);
                    assert_eq!(marked, refused, "{mark:#x} {op}");
                }
            }
        }
        assert_eq!(register(&RegisterRules::default(), native, 31), Err(TrialError::Failed(Errno::BADF)));
        assert_eq!(register(&RegisterRules::NONE, native, 8), refused);
    }
}
