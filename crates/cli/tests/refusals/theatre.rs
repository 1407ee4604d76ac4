//! Cases on the stage: a program under the guard, and what comes of each step.

use crate::launch::{Stage, finish};
use crate::layers::MODEL;
use io_uring::{IoUring, Probe};
use ringwarden_conformance::{Action, Outcome, Record, Request, Step};
use std::path::PathBuf;

/// Runs cases under the guard.
pub(crate) struct Theatre {
    stage: Stage,
    player: PathBuf,
    /// What this kernel has.
    probe: Probe,
}

impl Theatre {
    pub(crate) fn new() -> Self {
        let stage = Stage::unprivileged();
        let mut probe = Probe::new();
        IoUring::new(1).and_then(|ring| ring.submitter().register_probe(&mut probe)).expect("a probe");
        Self { player: stage.example("player"), stage, probe }
    }

    /// What came of every step of a case but its filters, for which `layers` stand.
    pub(crate) fn play(&self, layers: &[String], file: &str, case: &str) -> Vec<Outcome> {
        let mut command = self.stage.layered(layers, &self.player);
        command.args(["--kernel", &MODEL.to_string(), "--filters", "pass-over", file, case]);
        let output = finish(command);
        let record: Option<Record> = serde_json::from_slice(&output.stdout).ok();
        match record {
            Some(Record { outcomes, error: None, .. }) => outcomes,
            _ => panic!("{file}: {case}: {layers:#?} {output:?}"),
        }
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
