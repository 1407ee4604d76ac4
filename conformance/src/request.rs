//! Requests as tables write them: an opcode, its fields by name, its flags.

use crate::Malformed;
use crate::name::number;
use ringwarden_uapi::ring::{Pointer, Sqe, SqeFlags};
use ringwarden_uapi::{Opcode, PayloadKind, open};
use std::net::SocketAddr;
use std::str::FromStr;

/// One request: an SQE and the memory it points at, which whoever submits it has to place.
///
/// `openat open_flags=O_RDWR|O_CREAT mode=0o644 +async`. Fields that are not named are those of a
/// harmless request of that kind; after `raw` they are zero, `fd` -1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    sqe: Sqe,
    objects: Vec<(Pointer, Vec<u8>)>,
    to: Option<String>,
    from: Option<String>,
}

/// Where nothing is mapped.
const UNMAPPED: u64 = 8;

impl Request {
    /// The opcode.
    pub fn opcode(&self) -> Opcode {
        Opcode(self.sqe.opcode)
    }

    /// The flags as the program writes them.
    pub fn flags(&self) -> SqeFlags {
        SqeFlags::from_bits_retain(self.sqe.flags)
    }

    /// `sqe.op_flags`: what the opcode makes of it.
    pub fn op_flags(&self) -> u32 {
        self.sqe.op_flags
    }

    /// The ring whose descriptor is to be in `sqe.fd`, for a message to it.
    pub fn to(&self) -> Option<&str> {
        self.to.as_deref()
    }

    /// The pipe whose end to read from is to be in `sqe.fd`.
    pub fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// The SQE, its pointers leading to where `place` has put the bytes it is given.
    pub fn build(&self, user_data: u64, mut place: impl FnMut(&[u8]) -> u64) -> Sqe {
        let mut sqe = Sqe { user_data, ..self.sqe };
        for (pointer, bytes) in &self.objects {
            pointer.set(&mut sqe, place(bytes));
        }
        sqe
    }

    fn harmless(opcode: Opcode) -> Self {
        let mut request = Self {
            sqe: Sqe { opcode: opcode.0, ..Sqe::default() },
            objects: Vec::new(),
            to: None,
            from: None,
        };
        let sqe = &mut request.sqe;
        match opcode {
            Opcode::OPENAT | Opcode::OPENAT2 | Opcode::STATX | Opcode::UNLINKAT | Opcode::MKDIRAT => {
                sqe.fd = -100;
                request.point(Pointer::Addr, c_string("/dev/null"));
            }
            Opcode::TIMEOUT | Opcode::LINK_TIMEOUT => {
                sqe.len = 1;
                let (seconds, nanoseconds) = (0u64, 1_000_000u64);
                request.point(Pointer::Addr, [seconds.to_ne_bytes(), nanoseconds.to_ne_bytes()].concat());
            }
            Opcode::NOP | Opcode::NOP128 => {}
            _ => sqe.fd = -1,
        }
        match opcode.payload() {
            Some(PayloadKind::Socket) => (request.sqe.fd, request.sqe.off) = (2, 1),
            Some(PayloadKind::OpenHow) => request.how(&[0; 3]),
            Some(PayloadKind::Sockaddr) => {
                request.address("127.0.0.1:1".parse().map(sockaddr).unwrap_or_default());
            }
            Some(PayloadKind::Openat) | None => {}
        }
        request
    }

    /// Makes `pointer` lead to `bytes`, in place of what it led to.
    fn point(&mut self, pointer: Pointer, bytes: Vec<u8>) {
        self.objects.retain(|(other, _)| *other != pointer);
        self.objects.push((pointer, bytes));
    }

    fn how(&mut self, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.sqe.len = bytes.len() as u32;
        self.point(Pointer::Off, bytes);
    }

    fn address(&mut self, bytes: Vec<u8>) {
        self.sqe.off = bytes.len() as u64;
        self.point(Pointer::Addr, bytes);
    }

    fn set(&mut self, field: &str, value: &str) -> Result<(), Malformed> {
        match (field, value) {
            ("path" | "address", "unmapped") => self.raw_pointer(Pointer::Addr, UNMAPPED),
            ("how", "unmapped") => self.raw_pointer(Pointer::Off, UNMAPPED),
            ("path" | "address", "null") => self.raw_pointer(Pointer::Addr, 0),
            ("path", "empty") => self.point(Pointer::Addr, c_string("")),
            ("path", "endless") => self.point(Pointer::Addr, vec![b'x'; 2 * 4096]),
            ("path", path) => self.point(Pointer::Addr, c_string(path)),
            ("how", how) => {
                let mut words = how.split(':').map(number).collect::<Result<Vec<_>, _>>()?;
                words.resize(words.len().max(open::OPEN_HOW_SIZE_VER0 / 8), 0);
                self.how(&words);
            }
            ("address", address) => self.address(parse_address(address)?),
            ("seconds", seconds) => {
                let time = [number(seconds)?, 0].map(u64::to_ne_bytes);
                self.point(Pointer::Addr, time.as_flattened().to_vec());
            }
            ("address_len", len) => {
                self.sqe.off = number(len)?;
                // What is there is as long as the kernel may copy, whatever the length says.
                for (_, bytes) in self.objects.iter_mut().filter(|(pointer, _)| *pointer == Pointer::Addr) {
                    bytes.resize(128, 0);
                }
            }
            ("from", pipe) => self.from = Some(pipe.to_owned()),
            ("to", ring) => self.to = Some(ring.to_owned()),
            (field, value) => self.set_number(field, number(value)?)?,
        }
        Ok(())
    }

    fn raw_pointer(&mut self, pointer: Pointer, address: u64) {
        self.objects.retain(|(other, _)| *other != pointer);
        pointer.set(&mut self.sqe, address);
    }

    fn set_number(&mut self, field: &str, value: u64) -> Result<(), Malformed> {
        let sqe = &mut self.sqe;
        match field {
            "sqe_flags" => sqe.flags = value as u8,
            "ioprio" => sqe.ioprio = value as u16,
            "fd" | "dfd" | "family" => sqe.fd = value as i32,
            "off" | "type" => sqe.off = value,
            "addr" => sqe.addr = value,
            "len" | "mode" | "protocol" => sqe.len = value as u32,
            "op_flags" | "open_flags" | "advice" | "timeout_flags" => sqe.op_flags = value as u32,
            "user_data" => sqe.user_data = value,
            "buf_index" => sqe.buf_index = value as u16,
            "personality" => sqe.personality = value as u16,
            "file_index" => sqe.file_index = value as u32,
            _ => return Err(Malformed::new("a field of the SQE", field)),
        }
        Ok(())
    }
}

impl FromStr for Request {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map_err(|malformed| malformed.to_string())
    }
}

fn parse(text: &str) -> Result<Request, Malformed> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let opcode = match name.strip_prefix("op") {
        Some(digits) if digits.parse::<u8>().is_ok() => Opcode(digits.parse().unwrap_or_default()),
        _ => Opcode::from_name(name).ok_or_else(|| Malformed::new("an opcode", name))?,
    };
    let mut request = Request::harmless(opcode);
    for word in words {
        if word == "raw" {
            let sqe = Sqe { opcode: opcode.0, fd: -1, ..Sqe::default() };
            request = Request { sqe, objects: Vec::new(), to: None, from: None };
        } else if let Some(flag) = word.strip_prefix('+') {
            request.sqe.flags |= sqe_flag(flag)?.bits();
        } else {
            let (field, value) =
                word.split_once('=').ok_or_else(|| Malformed::new("field=value, +flag or raw", word))?;
            request.set(field, value)?;
        }
    }
    Ok(request)
}

/// The flag of that lower-case name: IOSQE_* or without its IO_.
pub(crate) fn sqe_flag(name: &str) -> Result<SqeFlags, Malformed> {
    let upper = name.to_uppercase();
    let alias = match name {
        "skip" => "CQE_SKIP_SUCCESS".into(),
        "drain" | "link" | "hardlink" => format!("IO_{upper}"),
        _ => upper,
    };
    SqeFlags::from_name(&alias).ok_or_else(|| Malformed::new("an IOSQE flag", name))
}

fn c_string(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}

/// `10.0.0.1:80`, `[::1]:80`, `unix:/path`, `family:7` (with zeros).
fn parse_address(text: &str) -> Result<Vec<u8>, Malformed> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok([&1u16.to_ne_bytes()[..], &c_string(path)].concat());
    }
    if let Some(family) = text.strip_prefix("family:") {
        let family = number(family)? as u16;
        return Ok([&family.to_ne_bytes()[..], &[0; 14]].concat());
    }
    text.parse().map(sockaddr).map_err(|_| Malformed::new("an address", text))
}

fn sockaddr(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(v4) => [&2u16.to_ne_bytes()[..], &port, &v4.ip().octets(), &[0; 8]].concat(),
        SocketAddr::V6(v6) => [&10u16.to_ne_bytes()[..], &port, &[0; 4], &v6.ip().octets(), &[0; 4]].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_objects_and_flags() {
        let request: Request = "connect fd=7 address=127.0.0.1:80 address_len=8 +async".parse().unwrap();
        let sqe = request.build(5, |bytes| {
            assert_eq!(bytes.len(), 128);
            assert_eq!(bytes[2..8], [0, 80, 127, 0, 0, 1]);
            0x1000
        });
        assert_eq!((sqe.fd, sqe.off, sqe.addr, sqe.flags, sqe.user_data), (7, 8, 0x1000, 0x10, 5));
    }

    #[test]
    fn raw_leaves_everything_zero() {
        let sqe = "openat raw".parse::<Request>().unwrap().build(0, |_| unreachable!());
        assert_eq!(sqe, Sqe { opcode: Opcode::OPENAT.0, fd: -1, ..Sqe::default() });
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!("nop +fast".parse::<Request>().unwrap_err(), "expected an IOSQE flag, found `fast`");
        assert_eq!("nap".parse::<Request>().unwrap_err(), "expected an opcode, found `nap`");
    }
}
