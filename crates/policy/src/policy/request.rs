//! A request by the values of its fields, as tests and questions write it.

use crate::data::field::{AF_INET, AF_INET6, Field};
use crate::data::kind::Kind;
use crate::data::value::FieldValue;
use ringwarden_filter::{Context, Example};
use ringwarden_uapi::bpf::BpfCtx;
use ringwarden_uapi::{Errno, KernelModel, Opcode, PayloadKind};
use std::fmt;
use std::mem::offset_of;
use std::net::IpAddr;

/// A request that a program may make: the operation, and the fields that are not 0.
///
/// The values are what the program asks for. What a filter sees of it is the kernel's to say:
/// openat drops a mode that nothing is created with, some operations get `IOSQE_ASYNC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    operation: Opcode,
    values: Vec<(&'static Field, FieldValue)>,
}

/// Why no program can make a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Impossible {
    /// The index of the value that does not go with the others.
    pub(crate) at: usize,
    pub(crate) reason: &'static str,
}

impl Request {
    /// `values` are constants that fit their fields.
    pub(crate) fn new(
        operation: Opcode,
        mut values: Vec<(&'static Field, FieldValue)>,
    ) -> Result<Self, Impossible> {
        let family = |values: &[(&Field, FieldValue)]| {
            values.iter().find_map(|(field, value)| match value {
                FieldValue::Number(number) if field.kind == Kind::Family => Some(*number),
                _ => None,
            })
        };
        let address = values.iter().find_map(|(_, value)| match value {
            FieldValue::Address(address) => Some(if address.is_ipv4() { AF_INET } else { AF_INET6 }),
            FieldValue::Number(_) => None,
        });
        if let (Some(of_address), None, Some(field)) =
            (address, family(&values), Field::of(operation, "family"))
        {
            values.push((field, FieldValue::Number(of_address)));
        }
        let family = family(&values);
        for (at, (field, value)) in values.iter().enumerate() {
            if values[..at].iter().any(|(before, _)| before == field) {
                return Err(Impossible { at, reason: "it has another value already" });
            }
            if let Some(reason) = impossible(operation, field, *value, family) {
                return Err(Impossible { at, reason });
            }
        }
        Ok(Self { operation, values })
    }

    /// The request that shows those words to a filter, with the values that are not 0; `None` where no request of
    /// an operation that is known does.
    pub fn showing(words: &[u32]) -> Option<Self> {
        let operation = Opcode(words.get(2)?.to_ne_bytes()[0]);
        let values = Field::all_of(operation).filter_map(|field| Some((field, field.value(words)?)));
        let is_zero = |value: &FieldValue| match value {
            FieldValue::Number(number) => *number == 0,
            FieldValue::Address(address) => address.is_unspecified(),
        };
        Self::new(operation, values.filter(|(_, value)| !is_zero(value)).collect()).ok()
    }

    /// What a kernel's filters see of it, standing alone in its submission.
    ///
    /// # Errors
    /// What the kernel answers before it asks any filter.
    pub fn context(&self, model: KernelModel) -> Result<Context, Errno> {
        Example::showing(&self.words()).map_or(Err(Errno::EINVAL), |example| example.context(model))
    }

    /// The words that fields are in, by their places: what the program asks to be shown. The rest is 0.
    fn words(&self) -> Vec<u32> {
        let mut bytes = [0; KernelModel::Guard.facts().context_size];
        bytes[offset_of!(BpfCtx, opcode)] = self.operation.0;
        self.values.iter().for_each(|(field, value)| field.put(*value, &mut bytes));
        bytes.as_chunks().0.iter().map(|word| u32::from_ne_bytes(*word)).collect()
    }

    /// The fields that are not 0, each with its value.
    pub fn values(&self) -> &[(&'static Field, FieldValue)] {
        &self.values
    }

    /// The operation.
    pub fn operation(&self) -> Opcode {
        self.operation
    }

    /// The value of the number of that name; 0 where none was given.
    pub fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(FieldValue::Number(number)) => number,
            _ => 0,
        }
    }

    /// The value of the address of that name, where one was given.
    pub fn address(&self, name: &str) -> Option<IpAddr> {
        match self.value(name) {
            Some(FieldValue::Address(address)) => Some(address),
            _ => None,
        }
    }

    fn value(&self, name: &str) -> Option<FieldValue> {
        self.values.iter().find(|(field, _)| field.name == name).map(|(_, value)| *value)
    }
}

/// Why no request of the operation has that value.
fn impossible(
    operation: Opcode,
    field: &Field,
    value: FieldValue,
    family: Option<u64>,
) -> Option<&'static str> {
    match value {
        _ if !field.families.is_empty() && !family.is_some_and(|family| field.families.contains(&family)) => {
            Some("only requests whose `family` is AF_INET or AF_INET6 have it")
        }
        FieldValue::Address(address) => {
            let of_address = if address.is_ipv4() { AF_INET } else { AF_INET6 };
            (family != Some(of_address)).then_some("`family` is another one")
        }
        FieldValue::Number(number) => match (field.kind, operation.payload()) {
            (Kind::Family, Some(PayloadKind::Sockaddr)) if number > u64::from(u16::MAX) => {
                Some("an address has room for 16 bits")
            }
            (Kind::SqeFlags, _) if number > 0x7f => Some("requests have no flag 0x80"),
            (Kind::Resolve, Some(PayloadKind::Openat)) if number != 0 => {
                Some("openat has no resolve flags; openat2 has")
            }
            (Kind::OpenFlags | Kind::Mode, Some(PayloadKind::Openat)) if number > u64::from(u32::MAX) => {
                Some("openat has room for 32 bits; openat2 for 64")
            }
            _ => None,
        },
    }
}

/// `connect family=AF_INET port=443`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation)?;
        self.values.iter().try_for_each(|(field, value)| write!(f, " {}={}", field.name, field.write(*value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_uapi::OPCODES;

    #[test]
    fn values_are_found_where_they_were_put() {
        let addresses = ["10.1.2.3", "fd00::1"].map(|text| FieldValue::Address(text.parse().expect("one")));
        let fields =
            OPCODES.iter().flat_map(|info| Field::all_of(info.opcode).map(|field| (info.opcode, field)));
        for (operation, field) in fields {
            let numbers =
                [0x0506, 0x0102_0304_0506_0708].map(|number| FieldValue::Number(number & field.mask));
            let values = if field.kind == Kind::Address { addresses } else { numbers };
            // Some numbers are too large for the operation.
            let made = values.into_iter().filter_map(|value| {
                let ip = Field::of(operation, "family").filter(|_| !field.families.is_empty());
                let ip = ip.filter(|_| field.kind != Kind::Address);
                let family = ip.map(|family| (family, FieldValue::Number(AF_INET)));
                let request = Request::new(operation, family.into_iter().chain([(field, value)]).collect());
                Some((request.ok()?, value))
            });
            let made: Vec<_> = made.collect();
            assert!(!made.is_empty() || field.kind == Kind::Resolve, "{operation} {}", field.name);
            for (request, value) in made {
                assert_eq!(field.value(&request.words()), Some(value), "{request}");
                assert_eq!(request.value(field.name), Some(value), "{request}");
            }
        }
    }
}
