//! IP addresses and networks as policies write them.

use std::fmt;
use std::net::IpAddr;

/// A network, or a single address with the full prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    /// The first address; its bits past the prefix are zero.
    pub(crate) address: IpAddr,
    /// How many leading bits count: up to 32, or 128 for IPv6.
    pub(crate) prefix: u8,
}

/// Why a text is no network, and the one that was perhaps meant.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) reason: &'static str,
    pub(crate) instead: Option<Network>,
}

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/PREFIX`.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let fault = |reason| Fault { reason, instead: None };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| {
            fault(if address.contains(':') {
                "this is not an IPv6 address"
            } else {
                "an IPv4 address has four numbers from 0 to 255, without leading zeros"
            })
        })?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(text) => text.parse().ok().filter(|&prefix| prefix <= bits).ok_or_else(|| {
                fault(if bits == 32 {
                    "the prefix of an IPv4 network is a number from 0 to 32"
                } else {
                    "the prefix of an IPv6 network is a number from 0 to 128"
                })
            })?,
        };
        let network = Self { address: mask(address, prefix), prefix };
        if network.address != address {
            return Err(Fault { reason: "the address has bits past the prefix", instead: Some(network) });
        }
        Ok(network)
    }

    /// Whether it is one address.
    pub(crate) fn is_single(&self) -> bool {
        self.prefix == if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// Whether an address lies in the network; one of the other family never does.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && mask(address, self.prefix) == self.address
    }

    /// The address and the mask of the prefix as words in the order of the bytes on the wire, the
    /// first byte in the lowest bits: the way a little-endian context holds them. One word for
    /// IPv4, four for IPv6.
    pub(crate) fn words(&self) -> Vec<(u32, u32)> {
        let (bytes, masks) = match self.address {
            IpAddr::V4(v4) => (v4.octets().to_vec(), leading_ones(32, self.prefix)),
            IpAddr::V6(v6) => (v6.octets().to_vec(), leading_ones(128, self.prefix)),
        };
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        bytes.chunks(4).zip(masks.chunks(4)).map(|(bytes, masks)| (word(bytes), word(masks))).collect()
    }
}

fn leading_ones(bits: usize, prefix: u8) -> Vec<u8> {
    let ones = |byte: usize| usize::from(prefix).saturating_sub(byte * 8).min(8);
    (0..bits / 8).map(|byte| !(0xffu16 >> ones(byte)) as u8).collect()
}

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.is_single() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let cases = [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::", false),
            ("::/0", "fd00::1", true),
            ("fd00::/9", "fd7f::1", true),
            ("fd00::/9", "fd80::1", false),
            ("1.2.3.4", "1.2.3.4", true),
            ("1.2.3.4", "1.2.3.5", false),
        ];
        for (network, address, inside) in cases {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network} {address}");
        }
    }

    #[test]
    fn words_are_in_wire_order() {
        assert_eq!(Network::parse("127.0.0.1").unwrap().words(), [(0x0100_007f, u32::MAX)]);
        assert_eq!(Network::parse("10.128.0.0/9").unwrap().words(), [(0x0000_800a, 0x0000_80ff)]);
        let v6 = Network::parse("fd00:1::/36").unwrap().words();
        assert_eq!(v6, [(0x0100_00fd, u32::MAX), (0, 0xf0), (0, 0), (0, 0)]);
    }

    #[test]
    fn stray_bits_are_refused_with_the_network() {
        let fault = Network::parse("10.1.2.3/8").unwrap_err();
        assert_eq!(fault.instead.map(|network| network.to_string()).as_deref(), Some("10.0.0.0/8"));
    }
}
