//! Conditions on one field: the leaves of a rule.

use crate::values::Values;
use ringwarden_policy::{Field, FieldValue, Kind};
use std::collections::BTreeSet;

/// As many consecutive numbers are written as a range.
const RANGE: u128 = 3;

/// `field == a`, or `field in {a, b}`; `values` is not empty.
pub(crate) fn one_of(field: &Field, values: &BTreeSet<u128>) -> String {
    let written: Vec<_> = values.iter().map(|&value| number(field, value)).collect();
    equals(field.name, &written)
}

/// The same with the ranges that consecutive numbers make: `field in {80, 8000..=8003}`.
pub(crate) fn ranges(field: &Field, ranges: &[(u128, u128)]) -> String {
    let mut written = Vec::new();
    for &(first, last) in ranges {
        if last - first + 1 < RANGE {
            written.extend((first..=last).map(|value| number(field, value)));
        } else {
            written.push(format!("{}..={}", number(field, first), number(field, last)));
        }
    }
    match &written[..] {
        [only] if only.contains("..=") => format!("{} in {only}", field.name),
        _ => equals(field.name, &written),
    }
}

/// `name == a`, or `name in {a, b}`.
pub(crate) fn equals(name: &str, written: &[String]) -> String {
    match written {
        [only] => format!("{name} == {only}"),
        _ => format!("{name} in {{{}}}", written.join(", ")),
    }
}

/// The runs of consecutive numbers, ascending.
pub(crate) fn runs(values: &BTreeSet<u128>) -> Vec<(u128, u128)> {
    let mut runs: Vec<(u128, u128)> = Vec::new();
    for &value in values {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == value => *last = value,
            _ => runs.push((value, value)),
        }
    }
    runs
}

/// No bits but those that some value has: `field & ~(A | B) == 0`; `None` where that is every bit of
/// `mask`, the bits that the field can have.
pub(crate) fn no_other_bits(field: &Field, values: &Values, mask: u128) -> Option<String> {
    let any = values.bounds().any;
    match number(field, any) {
        _ if any & mask == mask => None,
        _ if any == 0 => Some(format!("{} == {}", field.name, number(field, 0))),
        written if written.contains('|') => Some(format!("{} & ~({written}) == 0", field.name)),
        written => Some(format!("{} & ~{written} == 0", field.name)),
    }
}

/// The bits that all values have: `field & A`, `field & (A | B) == A | B`; `None` without any.
pub(crate) fn required_bits(field: &Field, values: &Values) -> Option<String> {
    let all = values.bounds().all;
    let written = number(field, all);
    match all.count_ones() {
        0 => None,
        1 => Some(format!("{} & {written}", field.name)),
        _ if written.contains('|') => Some(format!("{} & ({written}) == {written}", field.name)),
        _ => Some(format!("{0} & {written} == {written}", field.name)),
    }
}

/// A value by name where it has one: `AF_INET`, `O_WRONLY | O_CREAT`, `0o644`, `443`.
pub(crate) fn number(field: &Field, value: u128) -> String {
    match (field.kind, value) {
        (Kind::Mode, 0) => "0".to_owned(),
        _ => field.write(FieldValue::Number(value as u64)).replace('|', " | "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_uapi::Opcode;

    fn set(values: &[u128]) -> BTreeSet<u128> {
        values.iter().copied().collect()
    }

    #[test]
    fn numbers_are_written_as_few_ranges() {
        let port = Field::of(Opcode::CONNECT, "port").unwrap();
        for (values, expected) in [
            (&[443][..], "port == 443"),
            (&[80, 443], "port in {80, 443}"),
            (&[80, 81], "port in {80, 81}"),
            (&[80, 81, 82], "port in 80..=82"),
            (&[22, 80, 81, 82, 443], "port in {22, 80..=82, 443}"),
        ] {
            assert_eq!(ranges(port, &runs(&set(values))), expected);
        }
    }

    #[test]
    fn flags_are_written_by_name() {
        let flags = Field::of(Opcode::OPENAT2, "flags").unwrap();
        let resolve = Field::of(Opcode::OPENAT2, "resolve").unwrap();
        let values = |all: &[u128]| Values::Few(set(all));
        let every = u128::from(u64::MAX);
        for (seen, expected) in [
            (&[0][..], Some("flags == O_RDONLY")),
            (&[0o2000000], Some("flags & ~(O_RDONLY | O_CLOEXEC) == 0")),
            (&[1, 0o101], Some("flags & ~(O_WRONLY | O_CREAT) == 0")),
            (&[u64::MAX.into()], None),
        ] {
            assert_eq!(no_other_bits(flags, &values(seen), every).as_deref(), expected, "{seen:?}");
        }
        for (seen, expected) in [
            (&[0, 8][..], None),
            (&[8], Some("resolve & RESOLVE_BENEATH")),
            (
                &[12, 13],
                Some(
                    "resolve & (RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH) == RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH",
                ),
            ),
        ] {
            assert_eq!(required_bits(resolve, &values(seen)).as_deref(), expected, "{seen:?}");
        }
    }
}
