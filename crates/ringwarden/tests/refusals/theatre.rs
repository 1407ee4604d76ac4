//! Cases on the stage: a program under the guard, and what comes of each step.

use crate::launch::{Stage, finish};
use crate::layers::MODEL;
use io_uring::{IoUring, Probe};
use ringwarden::uapi::Errno;
use ringwarden_conformance::{Action, Request, Res, Step};
use serde::Deserialize;
use std::path::PathBuf;

/// Runs cases under the guard.
pub(crate) struct Theatre {
    stage: Stage,
    actor: PathBuf,
    /// What this kernel has.
    probe: Probe,
}

/// What came of a step.
#[derive(Deserialize)]
pub(crate) struct Outcome {
    pub(crate) returned: i32,
    cqes: Vec<(u64, i32)>,
}

impl Theatre {
    pub(crate) fn new() -> Self {
        let stage = Stage::unprivileged();
        let mut probe = Probe::new();
        IoUring::new(1).and_then(|ring| ring.submitter().register_probe(&mut probe)).expect("a probe");
        Self { actor: stage.example("actor"), stage, probe }
    }

    /// What came of every step of a case but its filters, for which `layers` stand.
    pub(crate) fn play(&self, layers: &[String], file: &str, case: &str) -> Vec<Outcome> {
        let mut command = self.stage.layered(layers, &self.actor);
        command.args([file, case]);
        let output = finish(command);
        assert!(output.status.success(), "{file}: {case}: {layers:#?} {output:?}");
        serde_json::from_slice(&output.stdout).expect("outcomes")
    }

    /// Whether a request is of an operation that is newer than this kernel.
    pub(crate) fn lacks(&self, request: &Request) -> bool {
        MODEL.has_opcode(request.opcode()) && !self.probe.is_supported(request.opcode().0)
    }

    /// Whether a step is such a request alone: EINVAL, whether it is refused or not.
    pub(crate) fn lacks_request(&self, step: &Step) -> bool {
        matches!(&step.action, Action::Submit { request, .. } if self.lacks(request))
    }
}

impl Outcome {
    /// Whether it is what the table says.
    pub(crate) fn fits(&self, step: &Step) -> bool {
        let expected = step.expect(MODEL);
        let cqes = expected.cqes.as_deref().unwrap_or_default();
        let same =
            |(came, listed): (&(u64, i32), &(u64, Res))| came.0 == listed.0 && listed.1.matches(came.1);
        expected.returns.matches(self.returned)
            && self.cqes.len() == cqes.len()
            && self.cqes.iter().zip(cqes).all(same)
    }

    /// Whether the request was refused.
    pub(crate) fn is_refusal(&self) -> bool {
        self.returned == Errno::EACCES.negated()
    }

    /// Whether the operation is not known.
    pub(crate) fn is_unknown(&self) -> bool {
        self.returned == Errno::EINVAL.negated()
    }

    /// As tables write it.
    pub(crate) fn show(&self) -> String {
        let mut text = Res::Value(self.returned).to_string();
        for (index, &(user_data, res)) in self.cqes.iter().enumerate() {
            let separator = if index == 0 { ":" } else { "" };
            text += &format!("{separator} {user_data}={}", Res::Value(res));
        }
        text
    }
}
