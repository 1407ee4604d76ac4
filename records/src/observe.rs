//! What `learn` makes of records.

use crate::columns::SHOWN;
use crate::error::{Error, Place};
use crate::record::Record;
use arrow_array::cast::AsArray;
use ringwarden::learn::Observations;
use ringwarden::uapi::RegisterOp;
use ringwarden::uapi::ring::Params;

/// Everything that was asked for in a record, as one run: what was refused, too, and rings and register calls.
/// Requests of which something was not recorded are left out; how many those are is given as well.
///
/// # Errors
/// The record is damaged.
pub fn observe(record: &Record) -> Result<(Observations, u64), Error> {
    let (mut seen, mut left_out) = (Observations::new(), 0);
    let columns: Vec<_> = SHOWN.iter().map(|(name, _)| *name).chain(["complete"]).collect();
    for group in 0..record.row_groups() {
        record.read(group, &columns, |first, batch| {
            let words = record.words(first, batch)?;
            let complete = batch.column_by_name("complete").and_then(|array| array.as_boolean_opt());
            let complete =
                complete.ok_or_else(|| record.wrong(Place::Row(first), "`complete` is missing"))?;
            for row in 0..words.rows() {
                match complete.value(row) {
                    true => seen.request(&words.context(row)),
                    false => left_out += 1,
                }
            }
            Ok(())
        })?;
    }
    let metadata = record.metadata();
    let rings = metadata.rings;
    let params = Params { flags: rings.flags, cq_entries: rings.cq_entries, ..Params::default() };
    // One that has what all had together; as many as there were.
    (0..rings.rings.min(MOST_CALLS)).for_each(|_| seen.setup(rings.entries, &params));
    for (&op, &calls) in &metadata.register {
        (0..calls.min(MOST_CALLS)).for_each(|_| seen.register(RegisterOp(op)));
    }
    Ok((seen, left_out))
}

/// Calls that are counted, whatever a record claims.
const MOST_CALLS: u64 = 1 << 20;
