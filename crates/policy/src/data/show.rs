//! A request's values as people write them.

use crate::data::constant::{CONSTANTS, Constant};
use crate::data::field::{Field, Form};
use crate::data::kind::Kind;
use crate::data::value::FieldValue;
use crate::data::view::View;
use ringwarden_uapi::{Opcode, PayloadKind};
use std::net::IpAddr;

impl Field {
    /// The field's value in a request, given as the words of its context. `None` where the request does
    /// not have the field, as a connection to an AF_UNIX address has no port.
    pub fn value(&self, words: &[u32]) -> Option<FieldValue> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let view = View(&bytes);
        match self.form {
            Form::Address => view.address(self).map(FieldValue::Address),
            _ => view.field(self).map(FieldValue::Number),
        }
    }

    /// Has the bytes of a context show a value of the field, where it is 0 so far.
    pub(crate) fn put(&self, value: FieldValue, context: &mut [u8]) {
        let place = &mut context[self.byte..self.byte + self.byte_len()];
        let number = match value {
            FieldValue::Number(number) => number,
            FieldValue::Address(IpAddr::V4(v4)) => return place[..4].copy_from_slice(&v4.octets()),
            FieldValue::Address(IpAddr::V6(v6)) => return place.copy_from_slice(&v6.octets()),
        };
        let bytes = match self.form {
            Form::Be16 => u64::from((number as u16).to_be()).to_ne_bytes(),
            _ => number.to_ne_bytes(),
        };
        // Fields share words.
        place.iter_mut().zip(bytes).for_each(|(byte, more)| *byte |= more);
    }

    /// The field's value written with the names of constants where there are any: `AF_INET`,
    /// `O_WRONLY|O_CREAT`, `10.1.2.3`, `443`.
    pub fn show(&self, words: &[u32]) -> Option<String> {
        self.value(words).map(|value| self.write(value))
    }

    /// A value of the field, written the same way.
    pub fn write(&self, value: FieldValue) -> String {
        let value = match value {
            FieldValue::Address(address) => return address.to_string(),
            FieldValue::Number(value) => value,
        };
        match self.kind {
            // Which option it is the level says, and what a descriptor is the program.
            Kind::SocketOption => value.to_string(),
            kind if kind.is_enumeration() => constants(kind)
                .find(|constant| constant.value == value)
                .map_or_else(|| value.to_string(), name),
            Kind::UserData | Kind::Port | Kind::Number => value.to_string(),
            Kind::Mode => format!("{value:#o}"),
            kind => {
                let opens = |operation: &Opcode| operation.payload().is_some_and(PayloadKind::opens);
                flags(kind, value, self.operations.iter().any(opens))
            }
        }
    }
}

/// The flags of a value by name, largest first so that O_TMPFILE is not shown as O_DIRECTORY, then
/// what no name covers.
fn flags(kind: Kind, value: u64, opens: bool) -> String {
    let mut named: Vec<_> = constants(kind).filter(|constant| constant.value != 0).collect();
    named.sort_by_key(|constant| std::cmp::Reverse(constant.value.count_ones()));
    let mut rest = value;
    let mut parts = Vec::new();
    for constant in named {
        if rest & constant.value == constant.value {
            rest &= !constant.value;
            parts.push(constant);
        }
    }
    parts.sort_by_key(|constant| constant.value);
    let mut parts: Vec<_> = parts.into_iter().map(name).collect();
    // The access mode is a number, of which 0 says something, too.
    if kind == Kind::OpenFlags && opens && value & 3 == 0 {
        parts.insert(0, "O_RDONLY".to_owned());
    }
    if rest != 0 || parts.is_empty() {
        parts.push(if rest == 0 { "0".to_owned() } else { format!("{rest:#x}") });
    }
    parts.join("|")
}

fn constants(kind: Kind) -> impl Iterator<Item = &'static Constant> {
    CONSTANTS.iter().filter(move |constant| constant.kind == kind)
}

fn name(constant: &Constant) -> String {
    constant.name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(opcode: Opcode, field: &str, payload: &[u32]) -> Option<String> {
        let mut words = [0; 10];
        words[2] = u32::from(opcode.0) | 0x12 << 8;
        words[4..4 + payload.len()].copy_from_slice(payload);
        Field::of(opcode, field).expect("a field").show(&words)
    }

    #[test]
    fn values_are_shown_by_name() {
        let text = |text: &str| Some(text.to_owned());
        for (opcode, field, payload, expected) in [
            (Opcode::NOP, "sqe_flags", &[][..], text("IOSQE_IO_DRAIN|IOSQE_ASYNC")),
            (Opcode::SOCKET, "family", &[2, 1, 6], text("AF_INET")),
            (Opcode::SOCKET, "family", &[999], text("999")),
            (Opcode::SOCKET, "protocol", &[2, 1, 6], text("IPPROTO_TCP")),
            (Opcode::OPENAT2, "flags", &[0], text("O_RDONLY")),
            (Opcode::OPENAT2, "flags", &[0o101], text("O_WRONLY|O_CREAT")),
            (Opcode::OPENAT2, "mode", &[0, 0, 0o644], text("0o644")),
            (Opcode::CONNECT, "addr", &[2, 0, u32::from_ne_bytes([10, 1, 2, 3])], text("10.1.2.3")),
            (Opcode::CONNECT, "port", &[2, u32::from_ne_bytes([1, 187, 0, 0])], text("443")),
            (Opcode::CONNECT, "port", &[1], None),
        ] {
            assert_eq!(shown(opcode, field, payload), expected, "{opcode} {field} {payload:?}");
        }
    }
}
