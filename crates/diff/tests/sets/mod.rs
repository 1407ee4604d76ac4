//! Filters out of texts.

#![allow(dead_code)] // not every test needs both

use ringwarden_cbpf::asm::assemble;
use ringwarden_filter::{FilterSet, KernelModel, Registration};
use ringwarden_policy::{Policy, compile};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::FilterFlags;

/// The filters of some layers of policies.
pub(crate) fn of_policies(layers: &[Policy], model: KernelModel) -> FilterSet {
    let compiled = compile(layers, model).unwrap_or_else(|errors| panic!("{errors}"));
    let mut set = FilterSet::new(model);
    for filter in compiled.filters {
        let mut registration = Registration::new(filter.opcode, &filter.insns);
        registration.flags.set(FilterFlags::DENY_REST, filter.deny_rest);
        set.register(registration).expect("the engine takes what the compiler emits");
    }
    set
}

/// One filter, as assembly.
pub(crate) fn of_program(opcode: Opcode, text: &str) -> FilterSet {
    let insns = assemble(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut set = FilterSet::new(KernelModel::default());
    set.register(Registration::new(opcode, &insns)).unwrap_or_else(|error| panic!("{error}: {text}"));
    set
}
