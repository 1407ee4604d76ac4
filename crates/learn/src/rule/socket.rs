//! SOCKET: families, types, protocols.

use super::Clause;
use crate::atom;
use crate::level::Level;
use crate::observations::Fields;
use crate::values::Values;
use ringwarden_policy::Field;
use ringwarden_uapi::Opcode;
use std::collections::{BTreeMap, BTreeSet};

/// As many different values are readable.
const FEW: usize = 8;
/// The types that there is room for: where all were seen, they make no condition.
const TYPES: usize = 16;
/// The families of which `IPPROTO_*` are the protocols.
const IP: [u128; 2] = [2, 10];

pub(super) fn clauses(families: &BTreeMap<u64, Fields>, level: Level) -> Vec<Clause> {
    // Families of which the same is said share a clause.
    let mut alike: Vec<(BTreeSet<u128>, Clause)> = Vec::new();
    let merged = merged(families);
    let any_ip = families.keys().any(|&family| IP.contains(&family.into()));
    for (&family, fields) in families {
        let family = u128::from(family);
        let clause = match level {
            Level::Strict => exact(fields, IP.contains(&family)),
            _ => general(&merged, any_ip),
        };
        match alike.iter_mut().find(|(_, other)| *other == clause) {
            Some((families, _)) => _ = families.insert(family),
            None => alike.push((BTreeSet::from([family]), clause)),
        }
    }
    let with_families = |(families, mut clause): (BTreeSet<u128>, Clause)| {
        clause.splice(0..0, of("family").map(|field| atom::one_of(field, &families)));
        clause
    };
    alike.into_iter().map(with_families).collect()
}

/// The values that were seen, or what very many have in common.
fn exact(fields: &Fields, ip: bool) -> Clause {
    let mut clause = Clause::new();
    clause.extend(types(fields, TYPES - 1));
    let type_flags = fields.get("type_flags").and_then(Values::few);
    clause.extend(of("type_flags").zip(type_flags).map(|(field, flags)| atom::one_of(field, flags)));
    clause.extend(fields.get("protocol").and_then(|protocols| match protocols.few() {
        Some(few) => protocol(few, ip),
        None => {
            let bounds = protocols.bounds();
            let every = (bounds.least, bounds.most) == (0, u32::MAX.into());
            (!every).then(|| format!("protocol in {}..={}", bounds.least, bounds.most))
        }
    }));
    clause
}

/// Few types and protocols. The flags of the type are harmless.
fn general(fields: &Fields, ip: bool) -> Clause {
    let mut clause = Clause::new();
    clause.extend(types(fields, FEW));
    let protocols = fields.get("protocol").and_then(Values::few).filter(|few| few.len() <= FEW);
    clause.extend(protocols.and_then(|few| protocol(few, ip)));
    clause
}

fn types(fields: &Fields, most: usize) -> Option<String> {
    let few = fields.get("type").and_then(Values::few).filter(|few| few.len() <= most)?;
    Some(atom::one_of(of("type")?, few))
}

/// By name where names fit; 0 is every family's default.
fn protocol(values: &BTreeSet<u128>, ip: bool) -> Option<String> {
    let field = of("protocol")?;
    let write = |&value: &u128| match value {
        value if ip && value != 0 => atom::number(field, value),
        value => value.to_string(),
    };
    Some(atom::equals(field.name, &values.iter().map(write).collect::<Vec<_>>()))
}

/// What was seen of all families together.
fn merged(families: &BTreeMap<u64, Fields>) -> Fields {
    let mut merged = Fields::new();
    for (name, values) in families.values().flatten() {
        merged.entry(name.clone()).or_default().merge(values);
    }
    merged
}

fn of(name: &str) -> Option<&'static Field> {
    Field::of(Opcode::SOCKET, name)
}
