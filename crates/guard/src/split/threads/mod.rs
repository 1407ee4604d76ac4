//! What the guard keeps of threads and processes: who they are, what they use and what they hold themselves to.

pub(crate) mod leases;
pub(crate) mod limits;
pub(crate) mod registered;
pub(crate) mod task_fd;
pub(crate) mod tasks;
pub(crate) mod unsettled;
