//! A set of filters, ready to be put on a thread.

use crate::registration::{self, Filter, TASK};
use crate::seccomp::RegisterFilter;
use ringwarden_cbpf::Insn;
use ringwarden_cbpf::insn::{BPF_K, BPF_RET};
use ringwarden_filter::{FilterSet, RegisterRules};
use ringwarden_launch::descriptors;
use ringwarden_uapi::bpf::FilterFlags;
use ringwarden_uapi::{KernelModel, Opcode, RegisterOp};
use rustix::io::Errno;

/// Everything that confines a thread, prepared so that [`apply`](Self::apply) has only system calls to
/// make.
#[derive(Clone, Debug)]
pub struct Confinement {
    /// In the order of registration.
    filters: Vec<Prepared>,
    /// The opcodes that DENY_REST is for, as far as the model knows them; empty without it.
    rest: Vec<Opcode>,
    model: KernelModel,
    calls: Option<RegisterFilter>,
}

#[derive(Clone, Debug)]
struct Prepared {
    opcode: Opcode,
    flags: FilterFlags,
    insns: Vec<Insn>,
}

/// Which part of a confinement could not be put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfineError {
    /// `no_new_privs`, without which nobody but root may register filters.
    #[error("no_new_privs cannot be set: {0}")]
    NoNewPrivs(Errno),
    /// A filter.
    #[error("the kernel refuses the filter for {opcode}: {error}")]
    Filter {
        /// The requests that it is for.
        opcode: Opcode,
        /// `EMSGSIZE`: the kernel's requests show more or less than those of the model that the filters
        /// were made for. `EINVAL`: it does not know the opcode, or has no filters.
        error: Errno,
    },
    /// Filters for what no kernel shows them.
    #[error("only a guard can hold these filters: no kernel shows what they look at")]
    Guard,
    /// The seccomp filter for register calls.
    #[error("the seccomp filter for io_uring_register is refused: {0}")]
    Seccomp(Errno),
    /// Open descriptors, among which io_urings may be.
    #[error("open descriptors cannot be listed in /proc/self/fd: {0}")]
    Descriptors(Errno),
}

impl ConfineError {
    /// The kernel's answer, all that gets through
    /// [`pre_exec`](std::os::unix::process::CommandExt::pre_exec).
    pub const fn errno(&self) -> Errno {
        match self {
            Self::NoNewPrivs(error) | Self::Seccomp(error) | Self::Descriptors(error) => *error,
            Self::Filter { error, .. } => *error,
            // What a kernel answers to such programs.
            Self::Guard => Errno::INVAL,
        }
    }
}

const DENY: &[Insn] = &[Insn::stmt(BPF_RET | BPF_K, 0)];
/// The first word of a context that depends on the opcode.
const PAYLOAD_WORD: u32 = 4;

impl Confinement {
    /// What `filters` decide, for a kernel that keeps to their model, and of the register calls those
    /// that `register` allows.
    pub fn new(filters: &FilterSet, mut register: RegisterRules) -> Self {
        let model = filters.model();
        let known = || (0..model.facts().opcodes).map(Opcode);
        let rest: Vec<_> = known().filter(|&opcode| filters.is_rest_denied(opcode)).collect();
        // What lies above a sentinel changes nothing any more.
        let mut prepared: Vec<_> = known()
            .filter(|opcode| !rest.contains(opcode))
            .flat_map(|opcode| {
                let mut stack: Vec<_> = filters.filters(opcode).collect();
                stack.reverse();
                stack.into_iter().map(move |filter| {
                    let insns = filter.program.insns().to_vec();
                    let reads_payload = filter.program.loads() >> PAYLOAD_WORD != 0;
                    let flags = if reads_payload { FilterFlags::SZ_STRICT } else { FilterFlags::empty() };
                    Prepared { opcode, flags, insns }
                })
            })
            .collect();
        if let Some(&first) = rest.first() {
            if prepared.is_empty() {
                // Only a filter can carry the flag.
                let flags = FilterFlags::empty();
                prepared.push(Prepared { opcode: first, flags, insns: DENY.to_vec() });
            }
            // At the end, when every slot that has filters is filled.
            prepared.iter_mut().last().into_iter().for_each(|last| last.flags |= FilterFlags::DENY_REST);
        }
        // `io_uring_sync_msg_ring` asks no filter.
        if filters.outright(Opcode::MSG_RING) != Some(true) {
            register.set(RegisterOp::REGISTER_SEND_MSG_RING, false);
        }
        let calls = (register != RegisterRules::default()).then(|| RegisterFilter::new(&register));
        Self { filters: prepared, rest, model, calls }
    }

    /// The same without the seccomp filter, for a process that makes rings for others and sees to their register
    /// calls in another way.
    #[must_use]
    pub fn of_requests(filters: &FilterSet) -> Self {
        Self { calls: None, ..Self::new(filters, RegisterRules::default()) }
    }

    /// Confines the calling thread and everything that it starts from now on, for good: sets
    /// `no_new_privs`, registers the filters, installs a seccomp filter where one is needed, and closes
    /// every io_uring among the process's descriptors. Makes system calls only and allocates nothing, so
    /// that it may run between fork and exec, whatever other threads the process had; meant for
    /// [`pre_exec`](std::os::unix::process::CommandExt::pre_exec) and for programs that confine
    /// themselves while they have a single thread.
    ///
    /// ```no_run
    /// # use ringwarden_kernel::{Confinement, Facts};
    /// # let model = Facts::find().usable()?;
    /// # let filters = ringwarden_filter::FilterSet::new(model);
    /// # let register = ringwarden_filter::RegisterRules::default();
    /// use std::os::unix::process::CommandExt;
    ///
    /// let confinement = Confinement::new(&filters, register);
    /// let mut command = std::process::Command::new("server");
    /// // SAFETY: `apply` may run between fork and exec.
    /// unsafe { command.pre_exec(move || confinement.apply().map_err(|error| error.errno().into())) };
    /// command.spawn()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Rings that were there before are not covered, which is why they are closed; other threads aren't
    /// either.
    ///
    /// # Errors
    /// What could not be put in force. What was before it is in force, so that a caller who goes on is
    /// confined in part; one who started it for a program must not execute that.
    pub fn apply(&self) -> Result<(), ConfineError> {
        if self.model != self.model.kernel() {
            return Err(ConfineError::Guard);
        }
        rustix::thread::set_no_new_privs(true).map_err(ConfineError::NoNewPrivs)?;
        if !self.rest.is_empty() && registration::is_filtered() {
            self.deny_rest_explicitly()?;
        }
        for Prepared { opcode, flags, insns } in &self.filters {
            let pdu_size = self.model.payload_size(*opcode);
            let filter = Filter { opcode: *opcode, flags: *flags, pdu_size, insns };
            filter.register(TASK).map_err(|error| ConfineError::Filter { opcode: *opcode, error })?;
        }
        descriptors::close_rings().map_err(ConfineError::Descriptors)?;
        self.calls.as_ref().map_or(Ok(()), |calls| calls.install().map_err(ConfineError::Seccomp))
    }

    /// Denies what DENY_REST is for one by one, up to the last opcode that the kernel knows. DENY_REST
    /// passes by what has a filter already, so an outer sandbox that allows a request would overrule it.
    fn deny_rest_explicitly(&self) -> Result<(), ConfineError> {
        for opcode in (0..=u8::MAX).map(Opcode) {
            let unknown = !self.model.has_opcode(opcode);
            if !unknown && !self.rest.contains(&opcode) {
                continue;
            }
            let filter = Filter { opcode, flags: FilterFlags::empty(), pdu_size: 0, insns: DENY };
            match filter.register(TASK) {
                Err(Errno::INVAL) if unknown => break,
                result => result.map_err(|error| ConfineError::Filter { opcode, error })?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_does_not_show_is_not_put_in_force() {
        let filters = FilterSet::new(KernelModel::Guard);
        let confinement = Confinement::new(&filters, RegisterRules::default());
        assert_eq!(confinement.apply(), Err(ConfineError::Guard));
        assert!(!rustix::thread::no_new_privs().expect("prctl"), "nothing was done");
    }
}
