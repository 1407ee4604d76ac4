//! [`Comparison`]: what came of cases, held against all that the tables say of a kernel.

use crate::{Case, Record, TableError, tables};
use ringwarden_uapi::KernelModel;
use std::collections::HashMap;
use std::fmt::Display;

/// How the records of one who has acted the tables out compare with them. Whoever acts, be it a kernel, what stands for one
/// or an engine without any, is known by its records alone.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// How many cases there are that say something of the kernel.
    pub cases: usize,
    /// How many things they say.
    pub checks: usize,
    /// Cases that say nothing of it.
    pub silent: usize,
    /// A line for each disagreement, with its table and case.
    pub disagreements: Vec<String>,
}

impl Comparison {
    /// Compares with the cases about a kernel, or one that knows no filters, of which the actor was `asked`. One without a record
    /// disagrees, and so does a record of no such case.
    ///
    /// # Errors
    /// A table cannot be read.
    pub fn of(
        records: impl IntoIterator<Item = Record>,
        model: Option<KernelModel>,
        asked: impl Fn(&Case<'_>) -> bool,
    ) -> Result<Self, TableError> {
        let place = |record: Record| ((record.file.clone(), record.case.clone()), record);
        let mut records: HashMap<_, _> = records.into_iter().map(place).collect();
        let mut comparison = Self::default();
        for (file, table) in &tables()? {
            let about = |case: &Case<'_>| case.kernels().include(model.unwrap_or_default()) && asked(case);
            for case in table.cases().filter(about) {
                let record = records.remove(&((*file).to_owned(), case.name().into_owned()));
                let checks = case.checks(model).len();
                if checks == 0 {
                    comparison.silent += 1;
                    continue;
                }
                comparison.cases += 1;
                comparison.checks += checks;
                let mut line = |what: &dyn Display| {
                    comparison.disagreements.push(format!("{file}: \"{}\": {what}", case.name()));
                };
                match record {
                    Some(record) => record.disagreements(&case, model).iter().for_each(|it| line(it)),
                    None => line(&"was not acted out"),
                }
            }
        }
        let unasked =
            records.values().map(|record| format!("{}: \"{}\": was not asked for", record.file, record.case));
        comparison.disagreements.extend(unasked);
        Ok(comparison)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    #[test]
    fn what_is_missing_and_what_is_too_much_disagree() {
        let model = Some(KernelModel::V7_3);
        let of_tasks = |case: &Case<'_>| case.name() == "a task's later filter, same opcode";
        let record = |case: &str, outcomes: &[i32]| Record {
            file: "tasks".to_owned(),
            case: case.to_owned(),
            outcomes: outcomes.iter().copied().map(Outcome::returned).collect(),
            error: None,
        };
        let compared = |records: Vec<Record>| {
            let compared = Comparison::of(records, model, of_tasks).expect("tables");
            assert_eq!((compared.cases, compared.checks), (1, 6));
            compared.disagreements
        };
        let right = record("a task's later filter, same opcode", &[0, 0, 0, 0, 0, -13]);
        assert!(compared(vec![right.clone()]).is_empty());
        assert_eq!(compared(vec![]), ["tasks: \"a task's later filter, same opcode\": was not acted out"]);
        let other = record("another", &[]);
        assert_eq!(compared(vec![right, other]), ["tasks: \"another\": was not asked for"]);
    }
}
