//! What `learn` makes of records.

use crate::columns::SHOWN;
use crate::error::{Error, Place};
use crate::judge::{Judge, Judged};
use crate::record::Record;
use arrow_array::cast::AsArray;
use ringwarden::learn::Observations;
use ringwarden::uapi::ring::Params;
use ringwarden::uapi::{Opcode, RegisterOp};
use serde::Serialize;
use std::collections::BTreeSet;

/// Calls that are counted, whatever a record claims.
const MOST_CALLS: u64 = 1 << 20;

/// What records show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// All that was asked for, a run for each record: what was refused, too, and rings and register calls.
    pub observations: Observations,
    /// What some policy refuses of it: names of operations, `register OP` and `rings`.
    pub lacking: BTreeSet<String>,
    /// Requests of which something was not recorded. They are left out.
    #[serde(skip)]
    pub left_out: u64,
}

impl Outcome {
    /// Adds what a record shows, and what the policy of `kept` refuses of it.
    ///
    /// # Errors
    /// The record is damaged.
    pub fn add(&mut self, record: &Record, kept: Option<&Judge>) -> Result<(), Error> {
        let mut seen = Observations::new();
        let columns: Vec<_> = SHOWN.iter().map(|(name, _)| *name).chain(["complete"]).collect();
        let mut refused = [false; 256];
        let mut verdicts = Vec::new();
        for group in 0..record.row_groups() {
            record.read(group, &columns, |first, batch| {
                let words = record.words(first, batch)?;
                let complete = batch.column_by_name("complete").and_then(|array| array.as_boolean_opt());
                let complete =
                    complete.ok_or_else(|| record.wrong(Place::Row(first), "`complete` is missing"))?;
                if let Some(kept) = kept {
                    kept.judge(&words, |row| complete.value(row), &mut verdicts);
                }
                for row in 0..words.rows() {
                    if !complete.value(row) {
                        self.left_out += 1;
                        continue;
                    }
                    let context = words.context(row);
                    seen.request(&context);
                    if verdicts.get(row).is_some_and(|judged| *judged != Judged::Allow) {
                        refused[usize::from(context[2].to_ne_bytes()[0])] = true;
                    }
                }
                Ok(())
            })?;
        }
        let refused = (0..=u8::MAX).filter(|opcode| refused[usize::from(*opcode)]);
        self.lacking.extend(refused.map(|opcode| Opcode(opcode).to_string()));
        let calls = kept.map(|kept| kept.enforcement().calls());
        let metadata = record.metadata();
        let rings = metadata.rings;
        let params = Params { flags: rings.flags, cq_entries: rings.cq_entries, ..Params::default() };
        // As many as there were, each with what all had together.
        (0..rings.rings.min(MOST_CALLS)).for_each(|_| seen.setup(rings.entries, &params));
        if rings.rings > 0 && calls.is_some_and(|calls| !calls.setup.allow(rings.entries, &params)) {
            self.lacking.insert("rings".into());
        }
        for (&op, &count) in &metadata.register {
            let op = RegisterOp(op);
            (0..count.min(MOST_CALLS)).for_each(|_| seen.register(op));
            if calls.is_some_and(|calls| !calls.register.allow(op)) {
                self.lacking.insert(format!("register {op}"));
            }
        }
        self.observations.merge(&seen);
        Ok(())
    }
}
