//! CONNECT, and BIND where it is shown: an address, as far as its length covers it (`io_connect_bpf_populate`,
//! `io_uring/net.c`).

use super::{Shown, Words};
use crate::Errno;
use ringwarden_uapi::bpf::ConnectPayload;
use ringwarden_uapi::payload::SOCKADDR_MAX;
use ringwarden_uapi::ring::SqeFlags;
use zerocopy::transmute;

/// `AF_INET`.
const AF_INET: u16 = 2;
/// `AF_INET6`.
const AF_INET6: u16 = 10;
/// `sizeof(struct sockaddr_in)`.
const SOCKADDR_IN: usize = 16;
/// `SIN6_LEN_RFC2133`: an IPv6 address up to and including the address bytes.
const SOCKADDR_IN6_MIN: usize = 24;

/// The family if there are two bytes for it, port and address if all of them are there.
pub(super) fn encode(bytes: &[u8]) -> Result<Shown, Errno> {
    if bytes.len() > SOCKADDR_MAX {
        return Err(Errno::EINVAL);
    }
    let mut shown = ConnectPayload::default();
    if let Some((family, rest)) = bytes.split_first_chunk() {
        let family = u16::from_ne_bytes(*family);
        shown.family = family.into();
        // `rest` starts at byte 2 of the address: the port, then v4 at 4 or, behind flowinfo, v6 at 8.
        match family {
            AF_INET if bytes.len() >= SOCKADDR_IN => {
                shown.port.copy_from_slice(&rest[..2]);
                shown.addr[..4].copy_from_slice(&rest[2..6]);
            }
            AF_INET6 if bytes.len() >= SOCKADDR_IN6_MIN => {
                shown.port.copy_from_slice(&rest[..2]);
                shown.addr.copy_from_slice(&rest[6..22]);
            }
            _ => {}
        }
    }
    Ok(Shown { payload: transmute!(shown), flags: SqeFlags::empty() })
}

/// A `struct sockaddr_in` or `sockaddr_in6` (`include/uapi/linux/in.h`, `in6.h`), or of another family nothing but
/// that.
pub(super) fn decode(words: &Words) -> Vec<u8> {
    let ConnectPayload { family, port, addr, .. } = transmute!(*words);
    let family = family as u16;
    let zeros = [0; 8];
    match family {
        AF_INET => [&family.to_ne_bytes()[..], &port, &addr[..4], &zeros].concat(),
        AF_INET6 => [&family.to_ne_bytes()[..], &port, &zeros[..4], &addr, &zeros[..4]].concat(),
        _ => family.to_ne_bytes().to_vec(),
    }
}
