//! The steps of a script.

use crate::Outcome;
use crate::queue::Queue;
use ringwarden_conformance::{Action, ScriptCase, Step};
use ringwarden_uapi::KernelModel;
use std::collections::HashMap;
use std::io;

/// Acts out every step but the filters.
pub(crate) fn act_out(case: &ScriptCase) -> io::Result<Vec<Outcome>> {
    let mut rings = Rings::default();
    let steps = case.steps.iter().filter(|step| !matches!(step.action, Action::Filter { .. }));
    steps.map(|step| rings.act(step)).collect()
}

/// The rings of a script, by name.
#[derive(Default)]
struct Rings<'case>(HashMap<&'case str, Queue>);

impl<'case> Rings<'case> {
    fn get(&mut self, name: &str) -> io::Result<&mut Queue> {
        self.0.get_mut(name).ok_or_else(|| io::Error::other(format!("no ring {name}")))
    }

    fn act(&mut self, step: &'case Step) -> io::Result<Outcome> {
        // Kernels differ in results, not in how many completions there are.
        let expected = step.expect(KernelModel::default()).cqes.as_ref().map(Vec::len);
        let mut cqes = Vec::new();
        let returned = match &step.action {
            Action::Ring { ring, setup } => {
                self.0.insert(ring, Queue::new(*setup)?);
                0
            }
            Action::Enable { ring } => self.get(ring)?.enable(),
            Action::Restrict { target, entries } => {
                let ring = target.ring().ok_or_else(|| io::Error::other("a task is restricted"))?;
                self.get(ring)?.restrict(entries)
            }
            Action::Submit { ring, request } => self.get(ring)?.submit_next(request)?,
            Action::Enter { ring, min_complete, requests } => {
                let queue = self.get(ring)?;
                for request in requests {
                    queue.push_next(request)?;
                }
                let returned = queue.enter(*min_complete);
                if let Some(count) = expected {
                    cqes = queue.wait(count)?;
                }
                returned
            }
            Action::Complete { ring } => {
                cqes = self.get(ring)?.wait(expected.unwrap_or_default())?;
                0
            }
            other => return Err(io::Error::other(format!("{other:?} is not acted out"))),
        };
        Ok(Outcome { returned, cqes })
    }
}
