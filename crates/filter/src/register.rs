//! `IORING_REGISTER_BPF_FILTER`: from the program's memory to a filter, or to the kernel's errno.

use crate::{Errno, FilterSet, Registration, UserMemory};
use ringwarden_cbpf::Insn;
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::{Bpf, CMD_FILTER, FilterFlags, MAX_INSNS};
use std::mem::offset_of;
use zerocopy::{FromZeros, IntoBytes};

/// What `io_uring_register(fd, IORING_REGISTER_BPF_FILTER, arg, nr_args)` does once `fd` has led to
/// a set and the caller may add to it: reads the `struct io_uring_bpf`, stores the kernel's payload
/// size in it, reads and checks the program and adds it, tagged `tag`.
///
/// The payload size is stored before anything about it or the program is judged, so it is there also
/// after EMSGSIZE and after a bad program, and a `struct` that cannot be written is EFAULT
/// (conformance/registration.toml).
///
/// # Errors
/// The kernel's errno; the set is then unchanged.
pub fn register(
    set: &mut FilterSet,
    memory: &mut impl UserMemory,
    arg: u64,
    nr_args: u32,
    tag: u32,
) -> Result<(), Errno> {
    if nr_args != 1 {
        return Err(Errno::EINVAL);
    }
    let mut bpf = Bpf::new_zeroed();
    memory.read(arg, bpf.as_mut_bytes())?;
    let (opcode, flags) = import(set, &bpf)?;

    if set.model().facts().payload_size_checked {
        let asked = bpf.filter.pdu_size;
        bpf.filter.pdu_size = set.model().payload_size(opcode);
        memory.write(arg.wrapping_add(offset_of!(Bpf, filter) as u64), bpf.filter.as_bytes())?;
        set.check_payload_size(opcode, flags, asked)?;
    }
    let insns = program(memory, bpf.filter.filter_ptr, bpf.filter.filter_len)?;
    set.register(Registration { opcode, flags, pdu_size: bpf.filter.pdu_size, insns, tag })?;
    Ok(())
}

/// Everything that the struct alone decides, in the kernel's order.
fn import(set: &FilterSet, bpf: &Bpf) -> Result<(Opcode, FilterFlags), Errno> {
    let filter = &bpf.filter;
    let opcode = u8::try_from(filter.opcode).map(Opcode).map_err(|_| Errno::EINVAL)?;
    let flags = FilterFlags::from_bits(filter.flags).ok_or(Errno::EINVAL)?;
    let reserved_size = if set.model().facts().payload_size_checked { 0 } else { filter.pdu_size };
    let valid = bpf.cmd_type == CMD_FILTER
        && bpf.cmd_flags == 0
        && bpf.resv == 0
        && set.model().has_opcode(opcode)
        && set.known_flags().contains(flags)
        && reserved_size == 0
        && filter.resv == [0; 3]
        && filter.resv2 == [0; 5]
        && (1..=MAX_INSNS).contains(&filter.filter_len);
    if valid { Ok((opcode, flags)) } else { Err(Errno::EINVAL) }
}

fn program(memory: &impl UserMemory, address: u64, len: u32) -> Result<Vec<Insn>, Errno> {
    if address == 0 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![[0; 8]; len as usize];
    memory.read(address, bytes.as_flattened_mut())?;
    Ok(bytes.into_iter().map(Insn::from_ne_bytes).collect())
}
