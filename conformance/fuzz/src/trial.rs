//! Both sides of a case, held against each other.

use crate::case::Case;
use crate::memory::Memory;
use crate::outcome::Outcome;
use crate::{engine, kernel};
use ringwarden_filter::KernelModel;

/// Runs cases on the kernel and in the engine.
pub(crate) struct Trial {
    model: KernelModel,
    memory: Memory,
}

/// The first step that the two see differently.
#[derive(Clone, Debug)]
pub(crate) struct Disagreement {
    /// Which step, counted from 0.
    pub(crate) step: usize,
    pub(crate) kernel: Outcome,
    pub(crate) engine: Outcome,
}

impl Trial {
    /// # Errors
    /// What mapping memory answered.
    pub(crate) fn new(model: KernelModel) -> anyhow::Result<Self> {
        Ok(Self { model, memory: Memory::new()? })
    }

    /// Runs a case. What takes place at the same time completes in any order: completions are compared by
    /// their `user_data`.
    pub(crate) fn run(&mut self, case: &Case) -> anyhow::Result<Option<Disagreement>> {
        let t0 = std::time::Instant::now();
        let mut kernel = kernel::act(case, &mut self.memory)?;
        kernel.iter_mut().for_each(|outcome| outcome.cqes.sort_unstable());
        kernel::T[5].fetch_add(t0.elapsed().as_micros() as u64, std::sync::atomic::Ordering::Relaxed);
        let t0 = std::time::Instant::now();
        let mut engine = engine::act(self.model, case, &kernel, &mut self.memory)?;
        engine.iter_mut().for_each(|outcome| outcome.cqes.sort_unstable());
        kernel::T[6].fetch_add(t0.elapsed().as_micros() as u64, std::sync::atomic::Ordering::Relaxed);
        let different = kernel.iter().zip(&engine).position(|(kernel, engine)| kernel != engine);
        Ok(different.map(|step| Disagreement {
            step,
            kernel: kernel[step].clone(),
            engine: engine[step].clone(),
        }))
    }
}
