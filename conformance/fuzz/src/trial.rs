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
    /// Those that were cancelled with their link.
    pub(crate) cancelled: u64,
    /// Those whose place among others was compared, too.
    pub(crate) ordered: u64,
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

    /// Runs a case.
    pub(crate) fn run(&mut self, case: &Case) -> anyhow::Result<Option<Disagreement>> {
        let kernel = kernel::act(case, &mut self.memory)?;
        let engine = engine::act(self.model, case, &kernel, &mut self.memory)?;
        kernel.iter().zip(&engine).for_each(|(kernel, engine)| self.seen.count(kernel, engine));
        let different = kernel.iter().zip(&engine).position(|(kernel, engine)| !engine.is_that_of(kernel));
        Ok(different.map(|step| Disagreement {
            step,
            kernel: kernel[step].clone(),
            engine: engine[step].clone(),
        }))
    }
}

impl Seen {
    fn count(&mut self, outcome: &Outcome, engine: &Outcome) {
        self.registered += u64::from(outcome.pdu_size.is_some() && outcome.returned == 0);
        self.completed += outcome.cqes.len() as u64;
        let with =
            |errno: Errno| outcome.cqes.iter().filter(|(_, res)| *res == errno.negated()).count() as u64;
        self.denied += with(Errno::EACCES);
        self.cancelled += with(Errno::ECANCELED);
        if !engine.unordered {
            self.ordered += outcome.cqes.len() as u64;
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.registered += other.registered;
        self.completed += other.completed;
        self.denied += other.denied;
        self.cancelled += other.cancelled;
        self.ordered += other.ordered;
    }
}
