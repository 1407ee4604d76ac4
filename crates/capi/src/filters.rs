//! Programs as C sees them, to be registered by whoever likes.

use crate::abi;
use crate::enforcement::Enforcement;
use crate::string::number;
use ringwarden::uapi::bpf::FilterFlags;

impl Enforcement {
    /// How many filters there are.
    pub(crate) fn filter_count(&self) -> usize {
        self.inner.programs().count()
    }

    /// One of them, from 0, in the order of registration.
    pub(crate) fn filter(&self, index: usize) -> Option<abi::Filter> {
        let (filter, origin) = self.inner.programs().nth(index)?;
        let mut flags = FilterFlags::empty();
        flags.set(FilterFlags::DENY_REST, filter.deny_rest);
        flags.set(FilterFlags::SZ_STRICT, filter.strict_size);
        Some(abi::Filter {
            opcode: filter.opcode.0.into(),
            flags: flags.bits(),
            payload_size: filter.pdu_size.into(),
            length: number(filter.insns.len()),
            instructions: filter.insns.as_ptr(),
            rule: self.rules.view(origin.layer, &origin.rule),
            reserved: [0; 2],
        })
    }
}
