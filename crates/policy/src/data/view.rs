//! [`View`]: the fields of a request in the context that filters see.

use crate::data::field::{AF_INET, AF_INET6, FAMILY_OF_ADDRESS, Field, Form};
use ringwarden_uapi::KernelModel;
use std::net::IpAddr;

/// The context of a request as the C structure that it is. `None` is an absent value.
pub(crate) struct View<'b>(pub(crate) &'b [u8]);

impl View<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }

    fn is_present(&self, field: &Field) -> bool {
        // A kernel's context may have room for what only the guard shows.
        let shown = !field.is_guards_own() || self.0.len() == KernelModel::Guard.facts().context_size;
        let family = || self.bytes(FAMILY_OF_ADDRESS).map(|bytes| u64::from(u32::from_ne_bytes(bytes)));
        shown
            && (field.families.is_empty() || family().is_some_and(|family| field.families.contains(&family)))
    }

    pub(crate) fn field(&self, field: &Field) -> Option<u64> {
        if !self.is_present(field) {
            return None;
        }
        let stored = match field.form {
            Form::U8 => u64::from(u8::from_ne_bytes(self.bytes(field.byte)?)),
            Form::U16 => u64::from(u16::from_ne_bytes(self.bytes(field.byte)?)),
            Form::Be16 => u64::from(u16::from_be_bytes(self.bytes(field.byte)?)),
            Form::U32 => u64::from(u32::from_ne_bytes(self.bytes(field.byte)?)),
            Form::U64 => u64::from_ne_bytes(self.bytes(field.byte)?),
            Form::Address => return None,
        };
        Some(stored & field.mask)
    }

    pub(crate) fn address(&self, field: &Field) -> Option<IpAddr> {
        if !self.is_present(field) {
            return None;
        }
        match u64::from(u32::from_ne_bytes(self.bytes(FAMILY_OF_ADDRESS)?)) {
            AF_INET => Some(IpAddr::from(self.bytes::<4>(field.byte)?)),
            AF_INET6 => Some(IpAddr::from(self.bytes::<16>(field.byte)?)),
            _ => None,
        }
    }
}
