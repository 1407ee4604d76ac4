//! Whether two sides have no request in common.

use super::example::Example;
use super::side::Side;
use crate::format::Document;
use crate::layers;
use crate::style::{BAD, BOLD, tell};
use ringwarden::diff::{CompareError, Difference, Effort, common};
use ringwarden::uapi::Opcode;
use schemars::JsonSchema;
use serde::Serialize;

/// What both sides allow.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Apart {
    /// What OLD is.
    old: String,
    /// What NEW is.
    new: String,
    /// The kernel that both are compiled for.
    kernel: String,
    /// There is no request that both allow.
    apart: bool,
    /// Those of which both allow some request, or may.
    operations: Vec<Shared>,
    /// Whether both allow operations that kernels may get after this version.
    newer: bool,
}

impl Document for Apart {}

#[derive(JsonSchema, Serialize)]
struct Shared {
    /// Its name.
    operation: String,
    /// A request that both allow; there is none where it was too much to compute.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<Example>,
}

impl Apart {
    /// Looks at those operations; where there are several, at those of later kernels, too.
    pub(super) fn new(old: &Side, new: &Side, opcodes: &[Opcode]) -> Result<Self, CompareError> {
        let model = old.filters().model();
        let mut operations = Vec::new();
        for &opcode in opcodes {
            let example = match common(old.filters(), new.filters(), opcode, Effort::default())? {
                Difference::Never => continue,
                Difference::Example(context) => Some(Example::new(model, &context, old, new)),
                Difference::Unknown => None,
            };
            operations.push(Shared { operation: opcode.to_string(), example });
        }
        let newer = opcodes.len() > 1 && [old, new].iter().all(|side| side.allows_newer() == Some(true));
        let apart = operations.is_empty() && !newer;
        let (old, new) = (old.name.clone(), new.name.clone());
        Ok(Self { old, new, kernel: model.to_string(), apart, operations, newer })
    }

    pub(super) fn is_apart(&self) -> bool {
        self.apart
    }

    pub(super) fn print(&self) {
        let mut groups: Vec<Vec<&Shared>> = Vec::new();
        for operation in &self.operations {
            // What can be said of several is said once.
            match groups.iter_mut().find(|group| group[0].is_like(operation)) {
                Some(group) => group.push(operation),
                None => groups.push(vec![operation]),
            }
        }
        for group in groups {
            let names: Vec<_> = group.iter().map(|one| one.operation.as_str()).collect();
            let names = names.join(", ");
            match &group[0].example {
                None => tell!("{BOLD}{names}{BOLD:#}: unknown: too much to compute"),
                Some(example) => {
                    tell!("{BOLD}{names}{BOLD:#}: both allow some");
                    let heading = format!("{BAD}both allow{BAD:#}");
                    example.print(&heading, &group[0].operation, ["allowed", "allowed"]);
                }
            }
        }
        if self.newer {
            tell!("{BOLD}operations of later kernels{BOLD:#}: both allow them");
        }
        let Self { old, new, kernel, operations, .. } = self;
        let count = match operations.len() {
            1 => "1 operation".to_owned(),
            count => format!("{count} operations"),
        };
        match self.apart {
            true => {
                tell!("apart: there is no request that both {old} and {new} allow, {}", layers::whose(kernel))
            }
            false => {
                tell!("not apart: {old} and {new} meet in {count}, {}", layers::whose(kernel))
            }
        }
    }
}

impl Shared {
    fn is_like(&self, other: &Self) -> bool {
        match (&self.example, &other.example) {
            (Some(one), Some(other)) => one.is_like(other),
            (None, None) => true,
            _ => false,
        }
    }
}
