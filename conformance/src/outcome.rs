//! What came of cases, and how it is held against the tables.

use crate::{Case, Check, Expect, Res};
use ringwarden_uapi::KernelModel;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What came of a step, or of what is one in other kinds of cases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the call returned, or `-errno`; of a single request its result.
    pub returned: i32,
    /// The `user_data` and result of each completion, oldest first.
    pub cqes: Vec<(u64, i32)>,
}

/// What came of a case: a line of JSON that a player prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The table, `batches`.
    pub file: String,
    /// The case's name.
    pub case: String,
    /// An outcome for each check, in order.
    pub outcomes: Vec<Outcome>,
    /// Why it was not acted out to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A check that gave something else than the table says.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// The step or what is one.
    pub what: String,
    /// What the table says.
    pub expected: String,
    /// What came of it.
    pub got: String,
}

impl Outcome {
    /// A call without completions.
    pub fn returned(returned: i32) -> Self {
        Self { returned, cqes: Vec::new() }
    }

    /// Whether it is what is expected.
    pub fn fits(&self, expect: &Expect) -> bool {
        let cqes = expect.cqes.as_deref().unwrap_or_default();
        let same =
            |(came, listed): (&(u64, i32), &(u64, Res))| came.0 == listed.0 && listed.1.matches(came.1);
        expect.returns.matches(self.returned)
            && self.cqes.len() == cqes.len()
            && self.cqes.iter().zip(cqes).all(same)
    }

    /// As tables would write it where `expect` is written.
    pub fn show(&self, expect: &Expect) -> String {
        let mut text = expect.returns.show(self.returned);
        for (index, &(user_data, res)) in self.cqes.iter().enumerate() {
            let separator = if index == 0 { ":" } else { "" };
            text += &format!("{separator} {user_data}={}", Res::Value(res));
        }
        text
    }
}

impl Record {
    /// Holds what came of a case against what the table says of that kernel; `None` is one that knows
    /// no filters.
    pub fn disagreements(&self, case: &Case<'_>, model: Option<KernelModel>) -> Vec<Disagreement> {
        let checks = case.checks(model);
        let judge = |(check, outcome): (&Check, &Outcome)| {
            (!outcome.fits(&check.expect)).then(|| Disagreement {
                what: check.what.clone(),
                expected: check.expect.to_string(),
                got: outcome.show(&check.expect),
            })
        };
        let mut disagreements: Vec<_> = checks.iter().zip(&self.outcomes).filter_map(judge).collect();
        if self.error.is_some() || checks.len() != self.outcomes.len() {
            let came = format!("{} came of it", self.outcomes.len());
            disagreements.push(Disagreement {
                what: checks.get(self.outcomes.len()).map_or("the end", |check| &check.what).to_owned(),
                expected: format!("{} results", checks.len()),
                got: self.error.clone().unwrap_or(came),
            });
        }
        disagreements
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: expected {}, got {}", self.what, self.expected, self.got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables;

    /// Holds made-up results against the same step of `tasks.toml`.
    fn disagreements(outcomes: &[i32], model: Option<KernelModel>) -> Vec<String> {
        let tables = tables().unwrap();
        let (_, table) = tables.iter().find(|(file, _)| *file == "tasks").unwrap();
        let name = "a task's later filter, same opcode";
        let case = table.cases().find(|case| case.name() == name).unwrap();
        let outcomes = outcomes.iter().copied().map(Outcome::returned).collect();
        let record = Record { file: "tasks".to_owned(), case: name.to_owned(), outcomes, error: None };
        record.disagreements(&case, model).iter().map(Disagreement::to_string).collect()
    }

    #[test]
    fn kernels_are_held_against_their_own_results() {
        let older = [0, 0, 0, 0, -13, -13];
        assert!(disagreements(&older, Some(KernelModel::V7_2)).is_empty());
        assert_eq!(
            disagreements(&older, Some(KernelModel::V7_3)),
            ["`submit old nop -> 0 (until 7.2: EACCES)`: expected 0, got EACCES"]
        );
    }

    #[test]
    fn a_case_that_was_not_played_to_its_end_disagrees() {
        let short = disagreements(&[0, 0], Some(KernelModel::V7_3));
        assert_eq!(short, ["`filter task deny nop`: expected 6 results, got 2 came of it"]);
    }

    #[test]
    fn a_kernel_without_filters_ends_a_script_at_the_first() {
        assert!(disagreements(&[-9], None).is_empty());
        assert_eq!(disagreements(&[0], None), ["`filter task allow nop`: expected EINVAL or EBADF, got 0"]);
    }
}
