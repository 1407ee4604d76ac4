//! Requests described by their fields, as a program would put them to the kernel.

use ringwarden::filter::{Context, Payload};
use ringwarden::policy::Request;
use ringwarden::uapi::ring::Sqe;
use ringwarden::uapi::{Errno, KernelModel, Opcode};
use std::net::IpAddr;

const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;

/// What a kernel's filters see of a request that stands alone in its submission.
///
/// # Errors
/// What the kernel answers before it asks any filter.
pub(crate) fn context(model: KernelModel, request: &Request) -> Result<Context, Errno> {
    let operation = request.operation();
    let number = |name| request.number(name);
    // Every value fits: no `Request` holds one that does not.
    let mut sqe = Sqe {
        opcode: operation.0,
        flags: number("sqe_flags") as u8,
        user_data: number("user_data"),
        ..request.scalars()
    };
    let bytes: Vec<u8>;
    let payload = match operation {
        Opcode::SOCKET => {
            sqe.fd = number("family") as i32;
            sqe.off = number("type") | number("type_flags");
            sqe.len = number("protocol") as u32;
            Payload::None
        }
        Opcode::OPENAT => {
            sqe.op_flags = number("flags") as u32;
            sqe.len = number("mode") as u32;
            Payload::None
        }
        Opcode::OPENAT2 => {
            bytes = ["flags", "mode", "resolve"]
                .into_iter()
                .flat_map(|name| number(name).to_ne_bytes())
                .collect();
            Payload::OpenHow(&bytes)
        }
        Opcode::CONNECT | Opcode::BIND => {
            bytes = address(request);
            sqe.off = bytes.len() as u64;
            Payload::Sockaddr(&bytes)
        }
        _ => Payload::None,
    };
    Context::new(model, &sqe, payload)
}

/// The address of a connection: a `struct sockaddr_in` or `sockaddr_in6` (`include/uapi/linux/in.h`,
/// `in6.h`), or of another family nothing but that.
fn address(request: &Request) -> Vec<u8> {
    let family = request.number("family") as u16;
    let port = (request.number("port") as u16).to_be_bytes();
    let zero = [0; 16];
    let mut bytes = family.to_ne_bytes().to_vec();
    match (i32::from(family), request.address("addr")) {
        (AF_INET, Some(IpAddr::V4(v4))) => bytes.extend([&port[..], &v4.octets(), &zero[..8]].concat()),
        (AF_INET, _) => bytes.extend([&port[..], &zero[..12]].concat()),
        (AF_INET6, Some(IpAddr::V6(v6))) => {
            bytes.extend([&port[..], &zero[..4], &v6.octets(), &zero[..4]].concat());
        }
        (AF_INET6, _) => bytes.extend([&port[..], &zero, &zero[..8]].concat()),
        _ => {}
    }
    bytes
}
