//! Rings: what may be registered on them. What becomes of their requests is for [`Requests`] to say.

use crate::register::register;
use crate::task::TaskId;
use crate::{Errno, KernelModel, Limits, Requests, Restrictions, Task, UserMemory};
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::ring::SetupFlags;

/// A ring: the limits it took from the task that made it, and its own on top.
#[derive(Debug)]
pub struct Ring {
    setup: SetupFlags,
    disabled: bool,
    limits: Limits,
    /// A ring's own list of register calls holds once it is enabled, a task's at once but for
    /// [the mistake](ringwarden_uapi::model::ModelFacts::disabled_rings_escape_register_lists) of older
    /// kernels.
    register_restricted: bool,
    submitter: Option<TaskId>,
}

impl Task {
    /// `io_uring_setup(2)`: a ring with this task's limits as they are now.
    #[must_use]
    pub fn ring(&mut self, setup: SetupFlags) -> Ring {
        Ring::new(self.limits_of_ring(), setup, self.id)
    }
}

impl Ring {
    fn new(limits: Limits, setup: SetupFlags, maker: TaskId) -> Self {
        let disabled = setup.contains(SetupFlags::R_DISABLED);
        let escapes = disabled && limits.model().facts().disabled_rings_escape_register_lists;
        let single = setup.contains(SetupFlags::SINGLE_ISSUER);
        Self {
            setup,
            disabled,
            register_restricted: !escapes,
            submitter: (single && !disabled).then_some(maker),
            limits,
        }
    }

    /// The kernel whose rules it follows.
    pub fn model(&self) -> KernelModel {
        self.limits.model()
    }

    /// What limits it.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Its requests, of which there are none yet.
    pub fn requests(&self) -> Requests {
        Requests::new(self.model(), self.setup)
    }

    /// Whether it is still to be [enabled](Self::enable); until then nothing can be submitted
    /// (EBADFD).
    pub fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// Whether `by` may make that register call on this ring at all.
    ///
    /// # Errors
    /// EINVAL for an opcode that the kernel does not have, EEXIST for a task that is not the single
    /// issuer, EACCES if an allow list does not have the call.
    pub fn check_register(&self, by: &Task, op: RegisterOp) -> Result<(), Errno> {
        if op.0 >= self.model().facts().register_ops {
            return Err(Errno::EINVAL);
        }
        if self.submitter.is_some_and(|submitter| submitter != by.id) {
            return Err(Errno::EEXIST);
        }
        if self.register_restricted && !self.limits.restrictions.allow_register(op) {
            return Err(Errno::EACCES);
        }
        Ok(())
    }

    /// `IORING_REGISTER_BPF_FILTER` on this ring. It needs no privilege, enabled or not.
    ///
    /// # Errors
    /// Those of [`check_register`](Self::check_register) and [`register`](crate::register::register()).
    pub fn register_filter(
        &mut self,
        by: &Task,
        memory: &mut impl UserMemory,
        arg: u64,
        nr_args: u32,
        tag: u32,
    ) -> Result<(), Errno> {
        self.check_register(by, RegisterOp::REGISTER_BPF_FILTER)?;
        self.limits.update(|set| register(set, memory, arg, nr_args, tag))
    }

    /// `IORING_REGISTER_RESTRICTIONS` on this ring.
    ///
    /// # Errors
    /// Those of [`check_register`](Self::check_register); EBADFD once it is enabled; EBUSY if it
    /// has restrictions, its own or its task's; EINVAL for a null `arg` or a bad entry; EFAULT.
    pub fn register_restrictions(
        &mut self,
        by: &Task,
        memory: &impl UserMemory,
        arg: u64,
        nr_args: u32,
    ) -> Result<(), Errno> {
        self.check_register(by, RegisterOp::REGISTER_RESTRICTIONS)?;
        if !self.disabled {
            return Err(Errno::EBADFD);
        }
        if !self.limits.restrictions.is_empty() {
            return Err(Errno::EBUSY);
        }
        if arg == 0 {
            return Err(Errno::EINVAL);
        }
        self.limits.restrictions = Restrictions::read(self.model(), memory, arg, nr_args)?;
        self.register_restricted = false;
        Ok(())
    }

    /// `IORING_REGISTER_ENABLE_RINGS`; the caller becomes the single issuer if there is to be one.
    ///
    /// # Errors
    /// Those of [`check_register`](Self::check_register), EBADFD if it is enabled already.
    pub fn enable(&mut self, by: &Task) -> Result<(), Errno> {
        self.check_register(by, RegisterOp::REGISTER_ENABLE_RINGS)?;
        if !self.disabled {
            return Err(Errno::EBADFD);
        }
        self.disabled = false;
        self.register_restricted = true;
        if self.setup.contains(SetupFlags::SINGLE_ISSUER) {
            self.submitter = Some(by.id);
        }
        Ok(())
    }
}
