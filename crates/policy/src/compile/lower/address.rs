//! Addresses: masked words compared in network order, after the family.

use super::{Families, family_in};
use crate::compile::logic::Logic;
use crate::compile::word::Word;
use crate::data::field::{AF_INET, AF_INET6, Field};
use crate::syntax::network::Network;
use std::collections::{BTreeMap, BTreeSet};

/// The address is in one of the networks, or in none of them; false where no network is of the
/// address's family.
pub(super) fn test(field: &Field, networks: &[Network], negated: bool, known: &Families) -> Logic {
    let (v4, v6): (Vec<&Network>, Vec<&Network>) =
        networks.iter().partition(|network| network.address.is_ipv4());
    let of_family = |family: u64, networks: &[&Network], within: Logic| {
        if networks.is_empty() {
            return Logic::Const(false);
        }
        let within = if negated { within.not() } else { within };
        Logic::all([family_in(&BTreeSet::from([family]), known), within])
    };
    Logic::any([
        of_family(AF_INET, &v4, within_v4(field.byte, &v4)),
        of_family(AF_INET6, &v6, within_v6(field.byte, &v6)),
    ])
}

/// One search for all networks of the same prefix.
fn within_v4(byte: usize, networks: &[&Network]) -> Logic {
    let mut by_mask: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for network in networks {
        for (word, mask) in network.words() {
            by_mask.entry(mask).or_default().insert(word);
        }
    }
    Logic::any(by_mask.into_iter().map(|(mask, words)| {
        let points = words.into_iter().map(|word| (word, word)).collect();
        Logic::within(&Word::load(byte).and(mask), points)
    }))
}

fn within_v6(byte: usize, networks: &[&Network]) -> Logic {
    Logic::any(networks.iter().map(|network| {
        let words = network.words().into_iter().enumerate();
        Logic::all(words.map(|(index, (word, mask))| {
            Logic::equal(&Word::load(byte + 4 * index).and(mask), &Word::constant(word))
        }))
    }))
}
