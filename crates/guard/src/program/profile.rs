//! A seccomp profile that somebody else has put on a program whose calls are to be served: what it leads to, found out
//! by running its filters.

use crate::program::inject;
use ringwarden_cbpf::Program;
use ringwarden_filter::RegisterRules;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::arch::{AUDIT_ARCH, AUDIT_ARCH_32, MARKS, SECCOMP_32};
use ringwarden_uapi::register::USE_REGISTERED_RING;
use ringwarden_uapi::ring::EnterFlags;
use rustix::io::Errno;
use rustix::process::Pid;

/// `struct seccomp_data`, in words.
const WORDS: usize = 16;
/// Where the arguments begin.
const ARGS: usize = 4;

/// The seccomp filters that a program is under.
#[derive(Clone, Debug)]
pub struct Profile(Vec<Program>);

/// Why a maker cannot rely on a profile to hold a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// Rings can be made that are not the maker's.
    #[error("the profile does not have io_uring_setup notified in every system call table")]
    Setup,
    /// A program can have a listener of its own, which is the one that is asked when the maker has died.
    #[error("the profile lets `seccomp` through with SECCOMP_FILTER_FLAG_NEW_LISTENER")]
    Listener,
    /// Messages to rings can be sent without a ring, which the policy refuses.
    #[error("the policy refuses msg_ring, and the profile lets io_uring_register(-1, SEND_MSG_RING) through")]
    Messages,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fails,
    IsNotified,
    Passes,
}

/// The numbers of the calls that matter, in one system call table.
#[derive(Clone, Copy)]
struct Table {
    arch: u32,
    seccomp: u32,
    /// What is added to the numbers of io_uring's calls.
    mark: u32,
}

fn tables() -> impl Iterator<Item = Table> {
    let native = |mark| Table { arch: AUDIT_ARCH, seccomp: libc::SYS_seccomp as u32 | mark, mark };
    let compat = Table { arch: AUDIT_ARCH_32, seccomp: SECCOMP_32, mark: 0 };
    [native(0), compat].into_iter().chain(MARKS.iter().map(move |&mark| native(mark)))
}

impl Profile {
    /// The filters of a thread, which is stopped for a moment.
    ///
    /// # Errors
    /// They cannot be read: without CAP_SYS_ADMIN, by a process that is under a filter itself, or on a kernel without
    /// CONFIG_CHECKPOINT_RESTORE. `EINVAL` for a program that this crate does not understand.
    pub fn of(thread: Pid) -> Result<Self, Errno> {
        let filters = inject::filters_of(thread)?;
        let program = |insns: &Vec<_>| Program::new(insns, 4 * WORDS).map_err(|_| Errno::INVAL);
        filters.iter().map(program).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a maker can hold a policy with it, where messages to rings are allowed or not.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, messages: bool) -> Result<(), Distrust> {
        if !self.refuses_listeners() {
            return Err(Distrust::Listener);
        }
        let setup = libc::SYS_io_uring_setup as u32;
        for table in tables() {
            let fate = self.fate(table.arch, setup | table.mark, [0; 6]);
            let native = table.mark == 0 && table.arch == AUDIT_ARCH;
            if fate == Fate::Passes || native && fate != Fate::IsNotified {
                return Err(Distrust::Setup);
            }
            let send = RegisterOp::REGISTER_SEND_MSG_RING;
            if !messages && self.registers(table, u64::from(u32::MAX), send) {
                return Err(Distrust::Messages);
            }
        }
        Ok(())
    }

    /// Whether nobody under it can have a listener of their own. Where they can, one that exists must not be closed before
    /// they are gone: until then the kernel refuses a second.
    pub fn refuses_listeners(&self) -> bool {
        // All flags that there are, and what no kernel reads.
        let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let set = libc::SECCOMP_SET_MODE_FILTER.into();
        let flags = (0..64).flat_map(|flags| [flags | listener, flags | listener | 1 << 32]);
        let calls = flags.flat_map(|flags| tables().map(move |table| (table, [set, flags, 0, 0, 0, 0])));
        !calls.into_iter().any(|(table, args)| self.passes(table.arch, table.seccomp, args))
    }

    /// Register calls that must not be made on rings which are not enabled, whose list is not in force yet, and that it
    /// lets through; of those that a kernel has.
    pub(crate) fn unheld(&self, rules: RegisterRules, registers: u8) -> Vec<RegisterOp> {
        let never = [RegisterOp::REGISTER_RESTRICTIONS, RegisterOp::REGISTER_ENABLE_RINGS];
        let ops = (0..u32::from(registers)).map(RegisterOp);
        let held = ops.filter(|op| never.contains(op) || !rules.allow(*op));
        held.filter(|&op| tables().any(|table| self.registers(table, 3, op))).collect()
    }

    /// Whether a call stops that wakes a submission thread with nothing to submit.
    pub(crate) fn stops_waking(&self) -> bool {
        let enter = libc::SYS_io_uring_enter as u32;
        let wake = EnterFlags::SQ_WAKEUP.bits().into();
        self.fate(AUDIT_ARCH, enter, [3, 0, 0, wake, 0, 0]) == Fate::IsNotified
    }

    /// Whether a register call gets through, however its opcode is written.
    fn registers(&self, table: Table, fd: u64, op: RegisterOp) -> bool {
        let register = libc::SYS_io_uring_register as u32 | table.mark;
        let indexed = USE_REGISTERED_RING;
        let words =
            [op.0, op.0 | indexed].into_iter().flat_map(|word| [word.into(), 1 << 32 | u64::from(word)]);
        words.into_iter().any(|word| self.passes(table.arch, register, [fd, word, 0, 0, 0, 0]))
    }

    fn passes(&self, arch: u32, number: u32, args: [u64; 6]) -> bool {
        self.fate(arch, number, args) == Fate::Passes
    }

    /// What the filters make of a call, all together (`seccomp_run_filters`): the smallest number wins.
    fn fate(&self, arch: u32, number: u32, args: [u64; 6]) -> Fate {
        let mut data = [0; WORDS];
        data[..2].copy_from_slice(&[number, arch]);
        for (words, arg) in data[ARGS..].chunks_mut(2).zip(args) {
            words.copy_from_slice(&[arg as u32, (arg >> 32) as u32]);
        }
        let answers = self.0.iter().map(|filter| filter.run(&data) & libc::SECCOMP_RET_ACTION_FULL);
        match answers.min_by_key(|&action| action as i32) {
            Some(libc::SECCOMP_RET_USER_NOTIF) => Fate::IsNotified,
            // What another tracer makes of a call nobody knows.
            None | Some(libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG | libc::SECCOMP_RET_TRACE) => {
                Fate::Passes
            }
            Some(_) => Fate::Fails,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::rings::{self, Calls};
    use libc::sock_filter;
    use ringwarden_cbpf::Insn;

    fn profile(filters: &[&[sock_filter]]) -> Profile {
        let insns = |filter: &&[sock_filter]| {
            filter.iter().map(|i| Insn { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect::<Vec<_>>()
        };
        let program = |filter| Program::new(&insns(filter), 4 * WORDS).expect("a filter");
        Profile(filters.iter().map(program).collect())
    }

    const ALLOW: sock_filter =
        sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };

    #[test]
    fn a_maker_trusts_its_own_filters_and_nobody_elses() {
        let mut register = RegisterRules::default();
        register.set(RegisterOp::REGISTER_BUFFERS, false);
        let calls = |register, messages, sqpoll| {
            rings::program(&Calls { register, sqpoll, messages, probes: true, task_filters: false })
        };
        let all = RegisterRules::default();
        let own = calls(&register, false, true);
        for filters in [&[&*own][..], &[&[ALLOW], &own], &[&own, &[ALLOW]]] {
            let own = profile(filters);
            assert_eq!(own.check(false), Ok(()));
            assert!(own.unheld(register, 38).is_empty() && own.stops_waking());
        }
        let looser = profile(&[&calls(&all, true, false)]);
        assert_eq!(looser.check(true), Ok(()));
        assert_eq!(looser.check(false), Err(Distrust::Messages));
        assert_eq!(looser.unheld(register, 38), [RegisterOp::REGISTER_BUFFERS]);
        assert!(looser.unheld(all, 38).is_empty() && !looser.stops_waking());
        let [native, compat] = [libc::SYS_seccomp as u32, SECCOMP_32];
        let marked = MARKS.first().map_or(native, |mark| native | mark);
        let text = format!(
            "ld [0]\n jeq #{native}, no\n jeq #{compat}, no\n jeq #{marked}, no\n ret #{:#x}\n no: ret #{:#x}",
            libc::SECCOMP_RET_ALLOW,
            libc::SECCOMP_RET_ERRNO
        );
        let insns = ringwarden_cbpf::asm::assemble(&text).expect("a program");
        let closed = Profile(vec![Program::new(&insns, 4 * WORDS).expect("a filter")]);
        assert_eq!(closed.check(true), Err(Distrust::Setup));
        for open in [&[][..], &[&[ALLOW][..]]] {
            assert_eq!(profile(open).check(true), Err(Distrust::Listener));
        }
    }
}
