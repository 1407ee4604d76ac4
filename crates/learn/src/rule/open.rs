//! OPENAT and OPENAT2: which flags, and with which permissions files are made.

use super::Clause;
use crate::atom;
use crate::level::Level;
use crate::observations::Fields;
use crate::values::Values;
use ringwarden_policy::Field;
use ringwarden_uapi::{Opcode, PayloadKind, open};
use std::collections::BTreeMap;

/// As many different values of flags are readable.
const FEW: usize = 4;

/// The bits with which files are made: without them `mode` means nothing.
const CREATING: u64 = open::O_CREAT | open::O_TMPFILE_BIT;

pub(super) fn clauses(operation: Opcode, families: &BTreeMap<u64, Fields>, level: Level) -> Vec<Clause> {
    let Some(seen) = families.get(&0) else { return Vec::new() };
    let of = |name| Some((Field::of(operation, name)?, seen.get(name)?));
    let mut clause = Clause::new();
    let creates = of("flags").is_none_or(|(_, flags)| flags.bounds().any & u128::from(CREATING) != 0);
    // Conditions that every request meets are errors: `flags` never shows O_LARGEFILE.
    let every_flag = u128::from(!open::O_LARGEFILE);
    if let Some((field, values)) = of("flags") {
        clause
            .extend(exactly(field, values, level).or_else(|| atom::no_other_bits(field, values, every_flag)));
    }
    if let Some((field, values)) = of("mode").filter(|_| creates) {
        let others = atom::no_other_bits(field, values, u64::MAX.into());
        clause.extend(exactly(field, values, level).or(others));
    }
    // Flags of `resolve` only restrict. Of openat it is always 0.
    if let Some((field, values)) = of("resolve").filter(|_| operation.payload() == Some(PayloadKind::OpenHow))
    {
        clause.extend(exactly(field, values, level).or_else(|| atom::required_bits(field, values)));
    }
    vec![clause]
}

/// The very values, where those are wanted and few.
fn exactly(field: &Field, values: &Values, level: Level) -> Option<String> {
    let few = values.few().filter(|values| level == Level::Strict && values.len() <= FEW)?;
    Some(atom::one_of(field, few))
}
