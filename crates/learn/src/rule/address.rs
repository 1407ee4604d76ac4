//! Addresses, such as CONNECT's: families, and of IP the addresses and ports.

use super::Clause;
use crate::atom;
use crate::level::Level;
use crate::networks::{self, Version};
use crate::observations::Fields;
use crate::values::Values;
use ringwarden_policy::Field;
use ringwarden_uapi::Opcode;
use std::collections::{BTreeMap, BTreeSet};

const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;

/// As many ranges of ports are readable.
const FEW_PORTS: usize = 8;
/// The ports that everybody may bind.
const UNPRIVILEGED: u128 = 1024;
/// The ports that Linux gives to programs that ask for any (`net.ipv4.ip_local_port_range`, its default).
const GIVEN: (u128, u128) = (32768, 60999);
/// So many of them are no service's own.
const SEVERAL: usize = 3;

/// A family, and the networks that its addresses are in if anything is said of that.
type Place = (u64, Option<Vec<String>>);

pub(super) fn clauses(operation: Opcode, families: &BTreeMap<u64, Fields>, level: Level) -> Vec<Clause> {
    let port = Field::of(operation, "port");
    let mut all_ports = Values::default();
    families.values().filter_map(|fields| fields.get("port")).for_each(|ports| all_ports.merge(ports));
    // Families of which the same ports are seen, or none, share a clause.
    let mut alike: BTreeMap<Option<String>, Vec<Place>> = BTreeMap::new();
    for (&family, fields) in families {
        let ports = match level {
            Level::Strict => {
                fields.get("port").zip(port).and_then(|(ports, field)| exact_ports(field, ports))
            }
            _ if is_ip(family) => port.and_then(|field| general_ports(field, &all_ports)),
            _ => None,
        };
        alike.entry(ports).or_default().push((family, networks_of(family, fields, level)));
    }
    let of_family = Field::of(operation, "family");
    alike.into_iter().flat_map(|(ports, places)| clauses_of(of_family, &places, ports.as_ref())).collect()
}

/// These places and ports: the families that are free of conditions, and the networks.
fn clauses_of(of_family: Option<&Field>, places: &[Place], ports: Option<&String>) -> Vec<Clause> {
    let free = places.iter().filter(|(_, networks)| networks.is_none());
    let free: BTreeSet<_> = free.map(|(family, _)| u128::from(*family)).collect();
    let networks: Vec<_> = places.iter().filter_map(|(_, networks)| networks.as_ref()).flatten().collect();
    let of_family = of_family.filter(|_| !free.is_empty()).map(|field| atom::one_of(field, &free));
    let of_address = match &networks[..] {
        [] => None,
        [only] if !only.contains('/') => Some(format!("addr == {only}")),
        [only] => Some(format!("addr in {only}")),
        _ => {
            let all: Vec<_> = networks.iter().map(|network| network.as_str()).collect();
            Some(format!("addr in {{{}}}", all.join(", ")))
        }
    };
    let places = of_family.into_iter().chain(of_address);
    places.map(|place| std::iter::once(place).chain(ports.cloned()).collect()).collect()
}

fn networks_of(family: u64, fields: &Fields, level: Level) -> Option<Vec<String>> {
    let version = match family {
        AF_INET => Version::V4,
        AF_INET6 => Version::V6,
        _ => return None,
    };
    let most = match level {
        Level::Strict => 16,
        _ => 4,
    };
    networks::around(version, fields.get("addr")?, most)
}

/// The ports that were seen, or the range of very many.
fn exact_ports(field: &Field, ports: &Values) -> Option<String> {
    match ports.few() {
        Some(few) => Some(atom::ranges(field, &atom::runs(few))),
        None => {
            let bounds = ports.bounds();
            range(bounds.least, bounds.most)
        }
    }
}

/// The ports that were seen, if they are few, and for several that were given to somebody all that are;
/// of many whether they are unprivileged ones.
fn general_ports(field: &Field, ports: &Values) -> Option<String> {
    let given = |port: &u128| (GIVEN.0..=GIVEN.1).contains(port);
    let runs = ports.few().map(|ports| {
        if ports.iter().filter(|port| given(port)).count() < SEVERAL {
            return atom::runs(ports);
        }
        let mut runs = atom::runs(&ports.iter().copied().filter(|port| !given(port)).collect());
        runs.insert(runs.partition_point(|run| *run < GIVEN), GIVEN);
        runs
    });
    let runs = runs.filter(|runs| runs.len() <= FEW_PORTS);
    match runs {
        Some(runs) if runs.is_empty() => None,
        Some(runs) => Some(atom::ranges(field, &runs)),
        None if ports.bounds().least >= UNPRIVILEGED => range(UNPRIVILEGED, u16::MAX.into()),
        None => None,
    }
}

fn range(first: u128, last: u128) -> Option<String> {
    ((first, last) != (0, u16::MAX.into())).then(|| format!("port in {first}..={last}"))
}

fn is_ip(family: u64) -> bool {
    matches!(family, AF_INET | AF_INET6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn general_ports(ports: &Values) -> Option<String> {
        super::general_ports(Field::of(Opcode::CONNECT, "port")?, ports)
    }

    fn exact_ports(ports: &Values) -> Option<String> {
        super::exact_ports(Field::of(Opcode::CONNECT, "port")?, ports)
    }

    #[test]
    fn ports_are_written_by_what_they_have_in_common() {
        let many: Vec<u128> = (0..40).map(|n| 2000 + 2 * n).collect();
        let low: Vec<u128> = many.iter().copied().chain([80]).collect();
        for (ports, strict, balanced) in [
            (&[443][..], "port == 443", Some("port == 443")),
            (&[443, 8000, 8001, 8002], "port in {443, 8000..=8002}", Some("port in {443, 8000..=8002}")),
            (&[50051, 50052], "port in {50051, 50052}", Some("port in {50051, 50052}")),
            (
                &[22, 40000, 41000, 42000, 61000],
                "port in {22, 40000, 41000, 42000, 61000}",
                Some("port in {22, 32768..=60999, 61000}"),
            ),
            (&many, "", Some("port in 1024..=65535")),
            (&low, "", None),
        ] {
            let values = Values::Few(ports.iter().copied().collect());
            assert_eq!(general_ports(&values).as_deref(), balanced, "{ports:?}");
            let exact = exact_ports(&values);
            assert!(strict.is_empty() || exact.as_deref() == Some(strict), "{exact:?}");
        }
        let mut very_many = Values::default();
        (3000..4000).step_by(2).for_each(|port| very_many.add(port));
        assert_eq!(exact_ports(&very_many).as_deref(), Some("port in 3000..=3998"));
        assert_eq!(general_ports(&very_many).as_deref(), Some("port in 1024..=65535"));
    }
}
