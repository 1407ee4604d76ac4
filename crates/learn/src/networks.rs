//! Many addresses summed up as a few networks.

use crate::values::Values;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The two kinds of addresses, as numbers of that many bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

impl Version {
    fn bits(self) -> u32 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The prefixes of networks that people speak of, the longest first: single addresses, sites,
    /// providers.
    fn prefixes(self) -> [u32; 4] {
        match self {
            Self::V4 => [32, 24, 16, 8],
            Self::V6 => [128, 64, 48, 32],
        }
    }

    fn write(self, network: u128, prefix: u32) -> String {
        let address = match self {
            Self::V4 => Ipv4Addr::from_bits(network as u32).to_string(),
            Self::V6 => Ipv6Addr::from_bits(network).to_string(),
        };
        if prefix == self.bits() { address } else { format!("{address}/{prefix}") }
    }
}

/// The smallest networks of one prefix that hold all addresses, at most `most` of them; ascending, as
/// policies write them. `None` where they share too little.
pub(crate) fn around(version: Version, addresses: &Values, most: usize) -> Option<Vec<String>> {
    let network = |address: u128, prefix: u32| {
        let host = version.bits() - prefix;
        address >> host << host
    };
    match addresses.few() {
        Some(addresses) => version.prefixes().into_iter().find_map(|prefix| {
            let networks: BTreeSet<_> = addresses.iter().map(|&address| network(address, prefix)).collect();
            let few = networks.len() <= most;
            few.then(|| networks.into_iter().map(|network| version.write(network, prefix)).collect())
        }),
        None => {
            let bounds = addresses.bounds();
            // From the first bit in which two of them differ, they share nothing.
            let shared = version.bits() - (128 - (bounds.any ^ bounds.all).leading_zeros());
            let prefix = version.prefixes().into_iter().find(|&prefix| prefix <= shared)?;
            Some(vec![version.write(network(bounds.all, prefix), prefix)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn seen(addresses: &[&str]) -> Values {
        let mut values = Values::default();
        for address in addresses {
            values.add(match address.parse().unwrap() {
                IpAddr::V4(v4) => v4.to_bits().into(),
                IpAddr::V6(v6) => v6.to_bits(),
            });
        }
        values
    }

    #[test]
    fn few_addresses_stay_and_many_become_networks() {
        let v4 = |addresses: &[&str]| around(Version::V4, &seen(addresses), 2);
        assert_eq!(v4(&["10.0.0.1"]).unwrap(), ["10.0.0.1"]);
        assert_eq!(v4(&["10.0.0.2", "10.0.0.1"]).unwrap(), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(v4(&["10.0.0.1", "10.0.0.2", "10.0.1.1"]).unwrap(), ["10.0.0.0/24", "10.0.1.0/24"]);
        assert_eq!(v4(&["10.0.0.1", "10.0.2.2", "10.0.1.1"]).unwrap(), ["10.0.0.0/16"]);
        assert_eq!(v4(&["10.0.0.1", "11.0.2.2", "12.0.1.1"]), None);
        let v6 = around(Version::V6, &seen(&["fd00::1", "fd00::2", "fd00:0:0:1::1"]), 2);
        assert_eq!(v6.unwrap(), ["fd00::/64", "fd00:0:0:1::/64"]);
    }

    #[test]
    fn very_many_addresses_become_the_network_that_they_share() {
        let many = |address: fn(u32) -> String| {
            let addresses: Vec<_> = (0..400).map(address).collect();
            seen(&addresses.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let v4 = |address| around(Version::V4, &many(address), 16);
        assert_eq!(v4(|n| format!("10.7.{}.{}", n / 200, n % 200)).unwrap(), ["10.7.0.0/16"]);
        assert_eq!(v4(|n| format!("{}.7.0.{}", n / 200, n % 200)), None);
        let v6 = around(Version::V6, &many(|n| format!("2001:db8::{n:x}")), 16);
        assert_eq!(v6.unwrap(), ["2001:db8::/64"]);
    }
}
