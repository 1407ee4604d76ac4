//! [`KernelModel`]: the differences between releases of the kernel, as data; and what the guard's own filters see.
//!
//! A version number says what a release does when it is unpatched; distributions carry fixes back.
//! What the running kernel does can only be found out by trying it.

use crate::bpf::BpfCtx;
use crate::opcode::Opcode;
use crate::open;
use crate::register::RegisterOp;
use crate::ring::Sqe;
use core::fmt;
use core::str::FromStr;

/// A kernel whose filters are known; later ones compare greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KernelModel {
    /// The patch as posted to the mailing list in January 2026. Not observed running: taken from
    /// its source.
    Posted,
    /// Linux 7.0, the first release with filters, and 7.1. Not observed running: taken from their source.
    V7_0,
    /// Linux 7.2; observed on 7.2.13, which has fixes that the first of the series lack.
    V7_2,
    /// Linux 7.3; observed on 7.3-rc7.
    #[default]
    V7_3,
    /// No kernel: what the guard shows the filters of policies, which is what Linux 7.3 shows and more, since
    /// the guard has a copy of the request that nobody else can change. Kernels take no such filters.
    Guard,
}

/// What one kernel does, where kernels differ. Of Linux 7.2 and 7.3 everything was seen on 7.2.13 and
/// 7.3-rc7 (`conformance/`); of others it was read in their source, unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelFacts {
    /// The model's name: `posted`, `7.0`, `7.2`, `7.3`, `guard`.
    pub name: &'static str,
    /// Size in bytes of the context that a program reads, and what its `LEN` loads give.
    pub context_size: usize,
    /// `IORING_OP_LAST`: the first request opcode that does not exist.
    pub opcodes: u8,
    /// `IORING_REGISTER_LAST`: the first register opcode that does not exist.
    pub register_ops: u32,
    /// The opcodes with a payload, and its size in bytes.
    pub payloads: &'static [(Opcode, u8)],
    /// Behind the 40 bytes of `struct io_uring_bpf_ctx` stands the SQE, without what those say already.
    pub shows_sqe: bool,
    /// `VALID_OPEN_FLAGS`: what OPENAT keeps of its flags.
    pub open_flags: u64,
    /// A registration names its payload size and may be `SZ_STRICT`; where not, the field is
    /// reserved and the flag unknown.
    pub payload_size_checked: bool,
    /// A task can filter and restrict itself (`fd` = -1), not only a ring.
    pub task_filters: bool,
    /// A filter that a task adds reaches the rings and children that took its filters before,
    /// until they add one of their own: taking a task's set does not mark the task's own hold on
    /// it as shared.
    pub later_filters_leak: bool,
    /// `execve` by a task that has used io_uring drops its filters and restrictions
    /// (CVE-2026-80713): 7.0, and 7.1 up to 7.1.7. Read, not observed.
    pub exec_drops_restrictions: bool,
    /// A task's list of register calls does not hold on a ring that is still disabled, and a task may
    /// leave a ring disabled: 7.0, 7.1, and 7.2 up to about 7.2.9. `__io_uring_register` looked at no list
    /// of such a ring (`!(ctx->flags & IORING_SETUP_R_DISABLED)`), which was meant for the ring's own;
    /// reported to the io_uring list in July 2026. On 7.2.13 and 7.3-rc7 it was seen to hold.
    pub disabled_rings_escape_register_lists: bool,
}

const OPEN_AND_SOCKET: &[(Opcode, u8)] =
    &[whole(Opcode::OPENAT), whole(Opcode::OPENAT2), whole(Opcode::SOCKET)];
const WITH_CONNECT: &[(Opcode, u8)] =
    &[whole(Opcode::CONNECT), whole(Opcode::OPENAT), whole(Opcode::OPENAT2), whole(Opcode::SOCKET)];
const WITH_BIND: &[(Opcode, u8)] = &[
    whole(Opcode::BIND),
    whole(Opcode::CONNECT),
    whole(Opcode::OPENAT),
    whole(Opcode::OPENAT2),
    whole(Opcode::SOCKET),
];

/// All of an operation's payload, as every kernel so far shows it that shows it at all.
const fn whole(opcode: Opcode) -> (Opcode, u8) {
    match opcode.payload() {
        Some(kind) => (opcode, kind.size()),
        None => panic!("no row says how its payload is made"),
    }
}

const POSTED: ModelFacts = ModelFacts {
    name: "posted",
    context_size: 64,
    opcodes: Opcode::LAST,
    register_ops: RegisterOp::LAST,
    payloads: &[],
    shows_sqe: false,
    open_flags: open::VALID_OPEN_FLAGS,
    payload_size_checked: false,
    task_filters: false,
    later_filters_leak: false,
    exec_drops_restrictions: false,
    disabled_rings_escape_register_lists: false,
};
const V7_0: ModelFacts = ModelFacts {
    name: "7.0",
    context_size: 40,
    payloads: OPEN_AND_SOCKET,
    payload_size_checked: true,
    task_filters: true,
    later_filters_leak: true,
    exec_drops_restrictions: true,
    disabled_rings_escape_register_lists: true,
    ..POSTED
};
const V7_2: ModelFacts = ModelFacts {
    name: "7.2",
    payloads: WITH_CONNECT,
    open_flags: open::VALID_OPEN_FLAGS | open::O_EMPTYPATH,
    exec_drops_restrictions: false,
    disabled_rings_escape_register_lists: false,
    ..V7_0
};
const V7_3: ModelFacts = ModelFacts { name: "7.3", later_filters_leak: false, ..V7_2 };
const GUARD: ModelFacts = ModelFacts {
    name: "guard",
    context_size: BpfCtx::SIZE + size_of::<Sqe>(),
    payloads: WITH_BIND,
    shows_sqe: true,
    ..V7_3
};

impl KernelModel {
    /// Every kernel's model, oldest first.
    pub const ALL: [Self; 4] = [Self::Posted, Self::V7_0, Self::V7_2, Self::V7_3];
    /// The same, and what the guard shows.
    pub const WITH_GUARD: [Self; 5] = [Self::Posted, Self::V7_0, Self::V7_2, Self::V7_3, Self::Guard];

    /// What this kernel does.
    pub const fn facts(self) -> &'static ModelFacts {
        match self {
            Self::Posted => &POSTED,
            Self::V7_0 => &V7_0,
            Self::V7_2 => &V7_2,
            Self::V7_3 => &V7_3,
            Self::Guard => &GUARD,
        }
    }

    /// The kernel that programs see: this one, and where the guard shows more the one that it is like.
    pub const fn kernel(self) -> Self {
        match self {
            Self::Guard => Self::V7_3,
            kernel => kernel,
        }
    }

    /// How many bytes of payload this kernel gives a program for that opcode; 0 if none.
    pub const fn payload_size(self, opcode: Opcode) -> u8 {
        let mut rest = self.facts().payloads;
        while let [(op, size), others @ ..] = rest {
            if op.0 == opcode.0 {
                return *size;
            }
            rest = others;
        }
        0
    }

    /// The first model that shows filters a payload of that opcode, if any does.
    pub const fn first_to_show(opcode: Opcode) -> Option<Self> {
        let mut rest: &[Self] = &Self::WITH_GUARD;
        while let [model, later @ ..] = rest {
            if model.payload_size(opcode) != 0 {
                return Some(*model);
            }
            rest = later;
        }
        None
    }

    /// Whether this kernel has that request opcode.
    pub const fn has_opcode(self, opcode: Opcode) -> bool {
        opcode.0 < self.facts().opcodes
    }
}

impl fmt::Display for KernelModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().name)
    }
}

/// A name that is no model's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownModel(String);

impl fmt::Display for UnknownModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown kernel `{}`; known are", self.0)?;
        for model in KernelModel::WITH_GUARD {
            write!(f, " {model}")?;
        }
        // As far as filters go; conformance/ knows of nothing else.
        f.write_str(" (7.1 is like 7.0)")?;
        let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
        let mut parts = self.0.split('.');
        match (number(parts.next()), number(parts.next())) {
            (Some(..7), Some(_)) => {
                f.write_str("; kernels before 7.0 have no filters, and need not be named")
            }
            _ => Ok(()),
        }
    }
}

impl core::error::Error for UnknownModel {}

impl FromStr for KernelModel {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        // What conformance/ knows of 7.1 is what it knows of 7.0.
        let name = if name == "7.1" { Self::V7_0.facts().name } else { name };
        Self::WITH_GUARD
            .into_iter()
            .find(|model| model.facts().name == name)
            .ok_or_else(|| UnknownModel(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_the_newest_is_the_default() {
        for model in KernelModel::WITH_GUARD {
            assert_eq!(model.to_string().parse(), Ok(model));
        }
        assert_eq!(KernelModel::ALL.last(), Some(&KernelModel::default()));
        assert_eq!(
            "6.18".parse::<KernelModel>().unwrap_err().to_string(),
            "unknown kernel `6.18`; known are posted 7.0 7.2 7.3 guard (7.1 is like 7.0); kernels before 7.0 have no \
             filters, and need not be named"
        );
        assert_eq!("7.1".parse(), Ok(KernelModel::V7_0));
        assert!("8.0".parse::<KernelModel>().unwrap_err().to_string().ends_with("(7.1 is like 7.0)"));
    }

    #[test]
    fn payloads_fit_their_context() {
        for model in KernelModel::WITH_GUARD {
            assert!(KernelModel::ALL.contains(&model.kernel()), "{model}");
            for &(opcode, size) in model.facts().payloads {
                assert!(usize::from(size) + 16 <= model.facts().context_size, "{model} {opcode}");
                assert_eq!(model.payload_size(opcode), size);
            }
            assert_eq!(model.payload_size(Opcode::NOP), 0);
        }
        assert_eq!(KernelModel::first_to_show(Opcode::CONNECT), Some(KernelModel::V7_2));
        assert_eq!(KernelModel::first_to_show(Opcode::NOP), None);
    }
}
