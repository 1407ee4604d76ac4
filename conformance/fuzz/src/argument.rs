//! What calls point at, placed in memory the same way for both sides.

use crate::case::{Registration, Request};
use crate::memory::Memory;
use ringwarden_filter::UserMemory;
use ringwarden_uapi::bpf::{Bpf, BpfFilter, CMD_FILTER};
use ringwarden_uapi::restriction::{Restriction, TaskRestriction};
use ringwarden_uapi::ring::Sqe;
use std::mem::offset_of;
use zerocopy::IntoBytes;

/// Places a filter's program and struct and gives the struct's address.
pub(crate) fn filter(registration: &Registration, memory: &mut Memory) -> u64 {
    let program: Vec<[u8; 8]> = registration.program.iter().map(|insn| insn.to_ne_bytes()).collect();
    let filter = BpfFilter {
        opcode: registration.opcode,
        flags: registration.flags,
        filter_len: program.len() as u32,
        pdu_size: registration.pdu_size,
        filter_ptr: memory.place(program.as_flattened(), false),
        ..BpfFilter::default()
    };
    memory.place(Bpf { cmd_type: CMD_FILTER, filter, ..Bpf::default() }.as_bytes(), false)
}

/// The payload size that a placed filter holds now.
pub(crate) fn pdu_size(memory: &Memory, filter: u64) -> Option<u8> {
    let mut size = [0];
    let address = filter + (offset_of!(Bpf, filter) + offset_of!(BpfFilter, pdu_size)) as u64;
    memory.read(address, &mut size).ok().map(|()| size[0])
}

/// Places the entries of a list, and for a task the header before them.
pub(crate) fn restrictions(entries: &[Restriction], on_task: bool, memory: &mut Memory) -> u64 {
    let header = TaskRestriction { nr_res: entries.len() as u16, ..TaskRestriction::default() };
    let header = if on_task { header.as_bytes() } else { &[] };
    memory.place(&[header, entries.as_bytes()].concat(), false)
}

/// Places what requests point at and gives their SQEs.
pub(crate) fn sqes(requests: &[Request], memory: &mut Memory) -> Vec<Sqe> {
    let build = |request: &Request| request.build(|object| memory.place(&object.bytes, object.at_the_end));
    requests.iter().map(build).collect()
}
