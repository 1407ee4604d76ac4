//! What the running kernel's filters do, found out by doing it.

use crate::availability::Availability;
use crate::exec_image;
use crate::registration::{self, Filter, TASK};
use crate::ring::nop;
use io_uring::IoUring;
use io_uring::register::Restriction;
use ringwarden_cbpf::Insn;
use ringwarden_cbpf::insn::{BPF_K, BPF_RET};
use ringwarden_trial::{self as trial, TrialError};
use ringwarden_uapi::bpf::FilterFlags;
use ringwarden_uapi::{KernelModel, Opcode, RegisterOp};
use rustix::io::Errno;
use std::os::fd::AsRawFd;
use std::{fmt, io};

/// What came of a question with two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// So it is.
    Yes,
    /// It is not.
    No,
    /// It could not be tried, for this reason; `None` where something that it needs is missing.
    Unknown(Option<TrialError>),
}

/// What one machine's kernel does, to this process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Facts {
    /// Whether rings can be made.
    pub io_uring: Availability,
    /// Whether a task can register filters, or what the kernel answers.
    pub filters: Result<(), TrialError>,
    /// Index: request opcode. The size in bytes of what filters see beyond the header; empty without
    /// filters.
    pub payloads: Vec<u8>,
    /// A denied request fails with EACCES.
    pub enforced: Finding,
    /// Filters outlive an exec by a task that has used a ring. Not so: CVE-2026-80713.
    pub survive_exec: Finding,
    /// Filters of a ring outlive a refused registration of restrictions.
    pub survive_restrictions: Finding,
    /// A filter that a task adds later reaches rings and children that it made before (Linux 7.2 and
    /// older). It only tightens.
    pub later_filters_leak: Finding,
    /// A task's list of register calls holds on rings that are still disabled. Not before about Linux
    /// 7.2.9; nothing of this backend stands on it, which leaves register calls to seccomp.
    pub register_lists_hold: Finding,
}

/// Why the kernel's filters are not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lacking {
    /// There are no rings to filter.
    #[error("io_uring: {0}")]
    IoUring(Availability),
    /// The kernel has no filters for tasks, or a seccomp filter stands before them.
    #[error("a task cannot register io_uring filters ({0}){hint}", hint = lacking_hint(*.0))]
    Filters(TrialError),
    /// The kernel's filters cannot be relied on: what they must do, and what the trial found.
    #[error("the self-test of this kernel's filters failed: expected that {0}, but this {1}")]
    SelfTest(&'static str, Finding),
    /// What filters see is not what any known kernel shows.
    #[error("this kernel's filters see requests in a way that this version does not know")]
    Payloads,
}

/// An unknown register opcode is answered with EINVAL, on a task of older kernels with EBADF.
fn lacking_hint(error: TrialError) -> &'static str {
    match error {
        TrialError::Failed(Errno::INVAL | Errno::BADF) => {
            ": that needs Linux 7.0, built with CONFIG_IO_URING_BPF"
        }
        _ => "",
    }
}

impl Facts {
    /// Tries everything, in throw-away children. Takes a few milliseconds.
    pub fn find() -> Self {
        let io_uring = Availability::find();
        let filters = task(|| Ok(registration::exists().map(|()| true)?)).map(drop);
        let nothing = Finding::Unknown(None);
        let mut facts = Self {
            io_uring,
            filters,
            payloads: Vec::new(),
            enforced: nothing,
            survive_exec: nothing,
            survive_restrictions: nothing,
            later_filters_leak: nothing,
            register_lists_hold: nothing,
        };
        if filters.is_ok() {
            facts.payloads = payloads();
        }
        if filters.is_ok() && io_uring == Availability::Available {
            facts.enforced = Finding::of(task(denied));
            facts.survive_exec = survives_exec();
            facts.survive_restrictions = Finding::of(task(denied_after_bad_restrictions));
            facts.later_filters_leak = Finding::of(task(denied_by_later_filter));
            facts.register_lists_hold = Finding::of(task(refused_on_disabled_ring));
        }
        facts
    }

    /// The self-test for filters that a program inherits: the newest known model that this kernel keeps to.
    ///
    /// # Errors
    /// The first thing that keeps the filters from being relied on.
    pub fn usable(&self) -> Result<KernelModel, Lacking> {
        let model = self.usable_on_rings()?;
        relied_on("filters survive an exec (CVE-2026-80713)", self.survive_exec)?;
        Ok(model)
    }

    /// The same for the filters that rings have from the process that makes them, which executes nothing.
    ///
    /// # Errors
    /// As [`usable`](Self::usable).
    pub fn usable_on_rings(&self) -> Result<KernelModel, Lacking> {
        if self.io_uring != Availability::Available {
            return Err(Lacking::IoUring(self.io_uring));
        }
        self.filters.map_err(Lacking::Filters)?;
        relied_on("a denied request fails", self.enforced)?;
        relied_on("filters survive refused restrictions", self.survive_restrictions)?;
        self.model().ok_or(Lacking::Payloads)
    }

    /// Every payload of the model is there, at the same size; of several such models that which shares
    /// filters as this kernel does, and the newest.
    fn model(&self) -> Option<KernelModel> {
        let leaks = self.later_filters_leak == Finding::Yes;
        KernelModel::ALL
            .into_iter()
            .filter(|model| model.facts().task_filters)
            .filter(|model| model.facts().payloads.iter().all(|&(op, size)| self.payload(op) == size))
            .max_by_key(|model| (model.facts().later_filters_leak == leaks, *model))
    }

    /// How many bytes of payload filters see of that opcode's requests.
    pub fn payload(&self, opcode: Opcode) -> u8 {
        self.payloads.get(usize::from(opcode.0)).copied().unwrap_or(0)
    }
}

/// # Errors
/// That it is not known to be so.
fn relied_on(what: &'static str, finding: Finding) -> Result<(), Lacking> {
    if finding == Finding::Yes { Ok(()) } else { Err(Lacking::SelfTest(what, finding)) }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("holds"),
            Self::No => f.write_str("does not hold"),
            Self::Unknown(Some(error)) => write!(f, "could not be tried ({error})"),
            Self::Unknown(None) => f.write_str("could not be tried"),
        }
    }
}

impl Finding {
    fn of(answer: Result<bool, TrialError>) -> Self {
        match answer {
            Ok(true) => Self::Yes,
            Ok(false) => Self::No,
            Err(error) => Self::Unknown(Some(error)),
        }
    }
}

const ALLOW: &[Insn] = &[Insn::stmt(BPF_RET | BPF_K, 1)];
const DENY: &[Insn] = &[Insn::stmt(BPF_RET | BPF_K, 0)];

/// A filter for NOP, the one request that is harmless everywhere.
fn nop_filter(insns: &[Insn]) -> Filter<'_> {
    Filter { opcode: Opcode::NOP, flags: FilterFlags::empty(), pdu_size: 0, insns }
}

/// Has a child that may register filters answer.
fn task(attempt: impl FnOnce() -> io::Result<bool>) -> Result<bool, TrialError> {
    let attempt = || {
        rustix::thread::set_no_new_privs(true)?;
        attempt().map(i32::from)
    };
    trial::ask(attempt).map(|answer| answer != 0)
}

fn is_denied(ring: &mut IoUring) -> io::Result<bool> {
    Ok(nop(ring)? == -Errno::ACCESS.raw_os_error())
}

fn denied() -> io::Result<bool> {
    nop_filter(DENY).register(TASK)?;
    is_denied(&mut IoUring::new(1)?)
}

/// Releases before the first forgot a ring's filters with the restrictions that they refused, and began
/// a new set at the ring's next filter.
fn denied_after_bad_restrictions() -> io::Result<bool> {
    nop_filter(DENY).register(TASK)?;
    let mut ring = IoUring::builder().setup_r_disabled().build(1)?;
    let unknown_opcode = Restriction::sqe_op(u8::MAX);
    if ring.submitter().register_restrictions(&mut [unknown_opcode]).is_ok() {
        return Err(Errno::INVAL.into());
    }
    nop_filter(ALLOW).register(ring.as_raw_fd())?;
    ring.submitter().register_enable_rings()?;
    is_denied(&mut ring)
}

fn denied_by_later_filter() -> io::Result<bool> {
    nop_filter(ALLOW).register(TASK)?;
    let mut ring = IoUring::new(1)?;
    nop_filter(DENY).register(TASK)?;
    is_denied(&mut ring)
}

/// A task's list is meant to hold at once, a ring's own when it is enabled; there was one test for both.
fn refused_on_disabled_ring() -> io::Result<bool> {
    registration::restrict_task_to(RegisterOp::REGISTER_ENABLE_RINGS)?;
    let ring: IoUring = IoUring::builder().setup_r_disabled().build(1)?;
    match nop_filter(ALLOW).register(ring.as_raw_fd()) {
        Ok(()) => Ok(false),
        Err(Errno::ACCESS) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn survives_exec() -> Finding {
    let status = trial::exec(|| {
        let filtered = || -> io::Result<()> {
            rustix::thread::set_no_new_privs(true)?;
            nop_filter(DENY).register(TASK)?;
            nop(&mut IoUring::new(1)?)?;
            Ok(())
        };
        filtered().err().unwrap_or_else(exec_image::execute)
    });
    Finding::of(status.map(|status| status == exec_image::FILTERED))
}

/// Asks for more payload than there can be, which registers nothing, and has the kernel say how much
/// there is; to the first opcode that it does not know.
fn payloads() -> Vec<u8> {
    let sizes = trial::answer(|| {
        let mut sizes = [[0u8; 2]; 256];
        let _ = rustix::thread::set_no_new_privs(true);
        for (opcode, [size, known]) in (0..=u8::MAX).zip(&mut sizes) {
            let filter = Filter { opcode: Opcode(opcode), pdu_size: u8::MAX, ..nop_filter(ALLOW) };
            let (result, kernels) = filter.call(TASK);
            if result != Err(Errno::MSGSIZE) {
                break;
            }
            (*size, *known) = (kernels, 1);
        }
        sizes
    });
    let sizes = sizes.unwrap_or([[0; 2]; 256]);
    sizes.iter().take_while(|[_, known]| *known == 1).map(|[size, _]| *size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with those payloads that passes everything.
    fn kernel(payloads: &[(Opcode, u8)], later_filters_leak: Finding) -> Facts {
        let mut sizes = vec![0; 65];
        for &(opcode, size) in payloads {
            sizes[usize::from(opcode.0)] = size;
        }
        Facts {
            io_uring: Availability::Available,
            filters: Ok(()),
            payloads: sizes,
            enforced: Finding::Yes,
            survive_exec: Finding::Yes,
            survive_restrictions: Finding::Yes,
            later_filters_leak,
            register_lists_hold: Finding::Unknown(None),
        }
    }

    #[test]
    fn every_model_is_recognised_by_what_it_does() {
        use KernelModel::{V7_0, V7_2, V7_3};
        for (payloads, leak, expected) in [
            (V7_0.facts().payloads, Finding::Yes, V7_0),
            // Distributions carry fixes back.
            (V7_0.facts().payloads, Finding::No, V7_0),
            (V7_2.facts().payloads, Finding::Yes, V7_2),
            (V7_3.facts().payloads, Finding::No, V7_3),
        ] {
            assert_eq!(kernel(payloads, leak).usable(), Ok(expected));
        }
        let mut newer = V7_3.facts().payloads.to_vec();
        newer.push((Opcode::LISTEN, 4));
        assert_eq!(kernel(&newer, Finding::No).usable(), Ok(V7_3), "more payloads do no harm");
        let other = [(Opcode::SOCKET, 16), (Opcode::OPENAT, 24), (Opcode::OPENAT2, 24)];
        assert_eq!(kernel(&other, Finding::No).usable(), Err(Lacking::Payloads));
    }

    #[test]
    fn whatever_is_not_known_to_hold_is_not_relied_on() {
        let good = || kernel(KernelModel::V7_3.facts().payloads, Finding::No);
        let broken: [fn(&mut Facts, Finding); 3] = [
            |facts, finding| facts.enforced = finding,
            |facts, finding| facts.survive_exec = finding,
            |facts, finding| facts.survive_restrictions = finding,
        ];
        for breaks in broken {
            for finding in [Finding::No, Finding::Unknown(None)] {
                let mut facts = good();
                breaks(&mut facts, finding);
                assert!(matches!(facts.usable(), Err(Lacking::SelfTest(_, found)) if found == finding));
                // Who makes rings executes nothing.
                assert_eq!(facts.usable_on_rings().is_ok(), facts.survive_exec == finding);
            }
        }
        let missing = Facts { io_uring: Availability::Missing, ..good() };
        assert_eq!(missing.usable(), Err(Lacking::IoUring(Availability::Missing)));
        let error = TrialError::Failed(Errno::INVAL);
        let older = Facts { filters: Err(error), ..good() };
        assert_eq!(older.usable(), Err(Lacking::Filters(error)));
    }
}
