//! The machine that rings are to be split on.

use crate::error::Error;
use crate::hazards::Hazards;
use crate::kernel_ring::KernelRing;
use crate::preconditions::check_yama;

/// What has to be known of it beforehand.
pub(crate) struct Host {
    pub(crate) kernel: KernelRing,
    pub(crate) hazards: Hazards,
}

impl Host {
    /// Finds it out.
    ///
    /// # Errors
    /// What the machine lacks.
    pub(crate) fn probe() -> Result<Self, Error> {
        check_yama()?;
        let kernel = KernelRing::probe().map_err(Error::NoIoUring)?;
        let hazards = Hazards::find(kernel.filters_tasks());
        Ok(Self { kernel, hazards })
    }
}
