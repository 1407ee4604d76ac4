//! What was found, for people and for scripts.

use super::calls::Calls;
use super::example::Example;
use super::relation::sentence;
use super::side::Side;
use crate::format::Document;
use crate::layers;
use crate::style::{BAD, BOLD, GOOD, tell};
use ringwarden::diff::{CompareError, Difference, Effort, Relation, compare};
use ringwarden::uapi::Opcode;
use schemars::JsonSchema;
use serde::Serialize;

/// Everything that was compared.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Report {
    /// What OLD is.
    old: String,
    /// What NEW is.
    new: String,
    /// The kernel that both are compiled for.
    kernel: String,
    /// How many operations there are of each kind.
    pub(crate) summary: Summary,
    /// Those that were compared, by opcode.
    operations: Vec<Operation>,
    /// Operations that kernels may get after this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) newer: Option<Newer>,
    /// What is no request: rings and register calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls: Option<Calls>,
}

impl Document for Report {}

/// How many operations there are of each kind.
#[derive(Default, JsonSchema, Serialize)]
pub(crate) struct Summary {
    /// Both allow the same.
    equal: usize,
    /// NEW refuses some more.
    tightens: usize,
    /// NEW allows some more.
    loosens: usize,
    /// NEW does both.
    neither: usize,
    /// It was too much to compute.
    unknown: usize,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct Operation {
    /// Its name.
    pub(crate) operation: String,
    /// What NEW does: `equal`, `tightens`, `loosens`, `neither` or `unknown`.
    pub(crate) relation: &'static str,
    /// A request that OLD allows and NEW refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tightened: Option<Example>,
    /// A request that OLD refuses and NEW allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loosened: Option<Example>,
}

/// What becomes of operations that only later kernels have.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Newer {
    /// `allow` or `deny`.
    pub(crate) old: &'static str,
    /// `allow` or `deny`.
    pub(crate) new: &'static str,
}

impl Report {
    /// Compares those operations; where there are several, what is no operation too.
    pub(crate) fn new(old: &Side, new: &Side, opcodes: &[Opcode]) -> Result<Self, CompareError> {
        let model = old.filters().model();
        let mut summary = Summary::default();
        let mut operations = Vec::new();
        for &opcode in opcodes {
            let comparison = compare(old.filters(), new.filters(), opcode, Effort::default())?;
            let example = |difference| match difference {
                Difference::Example(context) => Some(Example::new(model, &context, old, new)),
                Difference::Never | Difference::Unknown => None,
            };
            operations.push(Operation {
                operation: opcode.to_string(),
                relation: summary.count(comparison.relation()),
                tightened: example(comparison.tightened),
                loosened: example(comparison.loosened),
            });
        }
        let whole = opcodes.len() > 1;
        let newer = old.allows_newer().zip(new.allows_newer()).filter(|_| whole);
        let calls = old.enforcement().zip(new.enforcement()).filter(|_| whole);
        Ok(Self {
            old: old.name.clone(),
            new: new.name.clone(),
            kernel: model.to_string(),
            summary,
            operations,
            newer: newer.map(|(old, new)| Newer { old: decision(old), new: decision(new) }),
            calls: calls.map(|(old, new)| Calls::new(old.calls(), new.calls())),
        })
    }

    /// Whether both allow the same of everything.
    pub(crate) fn is_equal(&self) -> bool {
        self.summary.equal == self.operations.len()
            && self.newer.as_ref().is_none_or(|newer| newer.old == newer.new)
            && self.calls.as_ref().is_none_or(Calls::is_equal)
    }

    pub(super) fn print(&self) {
        self.print_operations();
        if let Some(Newer { old, new }) = self.newer.as_ref().filter(|newer| newer.old != newer.new) {
            tell!("{BOLD}operations of later kernels{BOLD:#}: OLD says {old}, NEW says {new}");
        }
        if let Some(calls) = &self.calls {
            calls.print();
        }
        let Self { old, new, kernel, .. } = self;
        if self.is_equal() {
            tell!("equal: {old} and {new} allow the same, {}", layers::whose(kernel));
        } else {
            tell!("{new} {}, {}", self.summary.sentence(), layers::whose(kernel));
        }
    }

    /// The operations that differ; those of which the same is to be said together.
    pub(crate) fn groups(&self) -> Vec<Vec<&Operation>> {
        let mut groups: Vec<Vec<&Operation>> = Vec::new();
        for operation in self.operations.iter().filter(|operation| operation.relation != "equal") {
            match groups.iter_mut().find(|group| group[0].is_like(operation)) {
                Some(group) => group.push(operation),
                None => groups.push(vec![operation]),
            }
        }
        groups
    }

    fn print_operations(&self) {
        for group in self.groups() {
            let Operation { operation, relation, tightened, loosened } = group[0];
            let names: Vec<_> = group.iter().map(|one| one.operation.as_str()).collect();
            let what = sentence(relation);
            tell!("{BOLD}{}{BOLD:#}: {what}", names.join(", "));
            if let Some(example) = tightened {
                example.print(&format!("{BAD}now refused{BAD:#}"), operation, ["allowed", "refused"]);
            }
            if let Some(example) = loosened {
                example.print(&format!("{GOOD}now allowed{GOOD:#}"), operation, ["refused", "allowed"]);
            }
        }
    }
}

impl Operation {
    /// Whether the same can be said of both.
    fn is_like(&self, other: &Self) -> bool {
        let alike = |mine: &Option<Example>, theirs: &Option<Example>| match (mine, theirs) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => mine.is_like(theirs),
            _ => false,
        };
        self.relation == other.relation
            && alike(&self.tightened, &other.tightened)
            && alike(&self.loosened, &other.loosened)
    }
}

impl Summary {
    /// Counts an operation, and says what it is.
    fn count(&mut self, relation: Relation) -> &'static str {
        let (count, name) = match relation {
            Relation::Equal => (&mut self.equal, "equal"),
            Relation::Tightens => (&mut self.tightens, "tightens"),
            Relation::Loosens => (&mut self.loosens, "loosens"),
            Relation::Neither => (&mut self.neither, "neither"),
            Relation::Unknown => (&mut self.unknown, "unknown"),
        };
        *count += 1;
        name
    }

    pub(crate) fn sentence(&self) -> String {
        let Self { equal, tightens, loosens, neither, unknown } = self;
        let operations = if *tightens == 1 { "operation" } else { "operations" };
        let unknown = if *unknown == 0 { String::new() } else { format!(", unknown {unknown}") };
        format!(
            "tightens {tightens} {operations}, loosens {loosens}, neither {neither}{unknown}; {equal} equal"
        )
    }
}

fn decision(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}
