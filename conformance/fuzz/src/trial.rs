//! Both sides of a case, held against each other.

use crate::case::Case;
use crate::memory::Memory;
use crate::outcome::Outcome;
use crate::{engine, kernel};
use ringwarden_filter::{Errno, KernelModel};
use serde::{Deserialize, Serialize};

/// Runs cases on the kernel and in the engine.
pub(crate) struct Trial {
    model: KernelModel,
    memory: Memory,
    /// What cases were made of so far.
    pub(crate) seen: Seen,
}

/// How often the kernel did what, to tell whether cases get anywhere.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Filters that were registered.
    pub(crate) registered: u64,
    /// Requests that completed.
    pub(crate) completed: u64,
    /// Those of them that were denied.
    pub(crate) denied: u64,
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
        Ok(Self { model, memory: Memory::new()?, seen: Seen::default() })
    }

    /// Runs a case. What takes place at the same time completes in any order: completions are compared by
    /// their `user_data`.
    pub(crate) fn run(&mut self, case: &Case) -> anyhow::Result<Option<Disagreement>> {
        let mut kernel = kernel::act(case, &mut self.memory)?;
        kernel.iter_mut().for_each(|outcome| outcome.cqes.sort_unstable());
        kernel.iter().for_each(|outcome| self.seen.count(outcome));
        let mut engine = engine::act(self.model, case, &kernel, &mut self.memory)?;
        engine.iter_mut().for_each(|outcome| outcome.cqes.sort_unstable());
        let different = kernel.iter().zip(&engine).position(|(kernel, engine)| kernel != engine);
        Ok(different.map(|step| Disagreement {
            step,
            kernel: kernel[step].clone(),
            engine: engine[step].clone(),
        }))
    }
}

impl Seen {
    fn count(&mut self, outcome: &Outcome) {
        self.registered += u64::from(outcome.pdu_size.is_some() && outcome.returned == 0);
        self.completed += outcome.cqes.len() as u64;
        let denied = outcome.cqes.iter().filter(|(_, res)| *res == Errno::EACCES.negated());
        self.denied += denied.count() as u64;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.registered += other.registered;
        self.completed += other.completed;
        self.denied += other.denied;
    }
}
