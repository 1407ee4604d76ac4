//! Tasks: who may filter itself, and what passes on to children and rings.

use crate::register::register;
use crate::{Errno, KernelModel, Limits, Restrictions, UserMemory};
use ringwarden_uapi::restriction::TaskRestriction;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::{FromZeros, IntoBytes};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A thread as the kernel sees it. Filters are per thread: a sibling is not affected.
#[derive(Debug)]
pub struct Task {
    pub(crate) id: TaskId,
    limits: Limits,
    privileges: Privileges,
    used_io_uring: bool,
}

/// Tells tasks apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId(u64);

impl TaskId {
    fn new() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What decides whether a task may limit itself: either suffices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// `PR_SET_NO_NEW_PRIVS`; once set it stays.
    pub no_new_privs: bool,
    /// CAP_SYS_ADMIN in the task's user namespace.
    pub sys_admin: bool,
}

impl Task {
    /// A task that nothing limits yet.
    pub fn new(model: KernelModel, privileges: Privileges) -> Self {
        Self::with_limits(Limits::new(model), privileges)
    }

    /// A task that starts with limits.
    pub fn with_limits(limits: Limits, privileges: Privileges) -> Self {
        Self { id: TaskId::new(), limits, privileges, used_io_uring: false }
    }

    /// What limits it, and will limit its next ring.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Its privileges, to change as the program changes them.
    pub fn privileges_mut(&mut self) -> &mut Privileges {
        &mut self.privileges
    }

    /// `fork`, `vfork`, `clone` in every form, a new thread too: the child starts with this task's
    /// limits.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::with_limits(self.limits.inherit(), self.privileges)
    }

    /// `execve`: limits stay, but for the mistake of Linux 7.0 and 7.1
    /// ([`exec_drops_restrictions`](ringwarden_uapi::model::ModelFacts::exec_drops_restrictions)).
    pub fn exec(&mut self) {
        let model = self.limits.model();
        if self.used_io_uring && model.facts().exec_drops_restrictions {
            self.limits = Limits::new(model).with_machine(self.limits.machine);
        }
        self.used_io_uring = false;
    }

    /// The limits that a ring gets which it makes now.
    pub(crate) fn limits_of_ring(&mut self) -> Limits {
        self.used_io_uring = true;
        self.limits.inherit()
    }

    /// `io_uring_register(-1, IORING_REGISTER_BPF_FILTER, arg, nr_args)`.
    ///
    /// # Errors
    /// EINVAL if this kernel has no filters for tasks, EACCES without privileges, then those of
    /// [`register`](crate::register::register()).
    pub fn register_filter(
        &mut self,
        memory: &mut impl UserMemory,
        arg: u64,
        nr_args: u32,
        tag: u32,
    ) -> Result<(), Errno> {
        self.check_supported()?;
        self.check_privileges()?;
        self.limits.update(|set| register(set, memory, arg, nr_args, tag))
    }

    /// `io_uring_register(-1, IORING_REGISTER_RESTRICTIONS, arg, nr_args)`.
    ///
    /// # Errors
    /// In this order: EINVAL if this kernel has no restrictions for tasks; EPERM if the task is
    /// limited already, be it by a filter or by inheritance; EACCES without privileges; EINVAL if
    /// `nr_args` is not 1; EFAULT; EINVAL for what the header or an entry holds.
    pub fn register_restrictions(
        &mut self,
        memory: &impl UserMemory,
        arg: u64,
        nr_args: u32,
    ) -> Result<(), Errno> {
        self.check_supported()?;
        if !self.limits.is_empty() {
            return Err(Errno::EPERM);
        }
        self.check_privileges()?;
        if nr_args != 1 {
            return Err(Errno::EINVAL);
        }
        let mut header = TaskRestriction::new_zeroed();
        memory.read(arg, header.as_mut_bytes())?;
        if header.flags != 0 || header.resv != [0; 3] {
            return Err(Errno::EINVAL);
        }
        let entries = arg.wrapping_add(size_of::<TaskRestriction>() as u64);
        self.limits.restrictions =
            Restrictions::read(self.limits.model(), memory, entries, header.nr_res.into())?;
        Ok(())
    }

    fn check_supported(&self) -> Result<(), Errno> {
        if self.limits.model().facts().task_filters { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn check_privileges(&self) -> Result<(), Errno> {
        let Privileges { no_new_privs, sys_admin } = self.privileges;
        if no_new_privs || sys_admin { Ok(()) } else { Err(Errno::EACCES) }
    }
}
