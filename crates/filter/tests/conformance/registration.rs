//! Registrations, each on a fresh ring and on a fresh task.

use crate::memory::Memory;
use crate::world::World;
use ringwarden_cbpf::asm::assemble;
use ringwarden_conformance::{Arg, PayloadCase, Program, Res, StructCase};
use ringwarden_filter::{Errno, KernelModel, UserMemory};
use ringwarden_uapi::bpf::{Bpf, BpfFilter, CMD_FILTER, FilterFlags};
use ringwarden_uapi::ring::SetupFlags;
use std::mem::offset_of;
use zerocopy::IntoBytes;

/// Where the payload size is in the struct.
const PDU_SIZE: u64 = (offset_of!(Bpf, filter) + offset_of!(BpfFilter, pdu_size)) as u64;

fn instructions(program: Program) -> Vec<u8> {
    let text = match program {
        Program::Invalid => "ldb [0]\nret #0".to_owned(),
        Program::Deny { len } => "ld [0]\n".repeat(len as usize - 1) + "ret #0",
    };
    assemble(&text).unwrap().iter().flat_map(|insn| insn.to_ne_bytes()).collect()
}

/// The kernel's payload size, if it stored one.
fn stored_size(memory: &Memory, arg: u64) -> u8 {
    let mut size = [0];
    memory.read(arg + PDU_SIZE, &mut size).map_or(0, |()| size[0])
}

pub(crate) fn check_struct(case: &StructCase, model: KernelModel) -> Result<(), String> {
    for on_task in [false, true] {
        let mut world = World::new(model);
        let mut bpf = case.bpf;
        let program = world.memory.map(&instructions(case.program), false);
        bpf.filter.filter_ptr = case.filter_ptr.unwrap_or(program);
        let arg = match case.arg {
            Arg::Memory => world.memory.map(bpf.as_bytes(), true),
            Arg::ReadOnly => world.memory.map(bpf.as_bytes(), false),
            Arg::Unmapped(address) => address,
        };
        world.ring("main", "r", SetupFlags::empty());
        let returned = world.register_filter("main", (!on_task).then_some("r"), arg, case.nr_args);
        let place = if on_task { "a task" } else { "a ring" };
        if !case.result.matches(returned) {
            return Err(format!(
                "\"{}\" on {place}: {} where {} was expected",
                case.name,
                Res::Value(returned),
                case.result
            ));
        }
        let size = stored_size(&world.memory, arg);
        if size != case.pdu_size {
            return Err(format!("\"{}\" on {place}: stored {size} as payload size", case.name));
        }
        world.ring("main", "next", SetupFlags::empty());
        let probe = if on_task { "next" } else { "r" };
        let expected = if returned == 0 { Errno::EACCES.negated() } else { 0 };
        let nop = world.submit(probe, &"nop".parse()?);
        if nop != expected {
            return Err(format!("\"{}\" on {place}: then NOP gives {}", case.name, Res::Value(nop)));
        }
    }
    Ok(())
}

pub(crate) fn check_payload(case: &PayloadCase, model: KernelModel) -> Result<(), String> {
    for (&opcode, &size, strictly, on_task) in case.opcodes.iter().flat_map(|opcode| {
        let sizes = case.tried.iter().flat_map(|size| [(size, false), (size, true)]);
        sizes.flat_map(move |(size, strict)| [(opcode, size, strict, false), (opcode, size, strict, true)])
    }) {
        let mut world = World::new(model);
        world.ring("main", "r", SetupFlags::empty());
        let program = world.memory.map(&instructions(Program::Deny { len: 1 }), false);
        let flags = if strictly { FilterFlags::SZ_STRICT } else { FilterFlags::empty() };
        let filter = BpfFilter {
            opcode: opcode.0.into(),
            flags: flags.bits(),
            filter_len: 1,
            pdu_size: size,
            filter_ptr: program,
            ..BpfFilter::default()
        };
        let bpf = Bpf { cmd_type: CMD_FILTER, filter, ..Bpf::default() };
        let arg = world.memory.map(bpf.as_bytes(), true);
        let returned = world.register_filter("main", (!on_task).then_some("r"), arg, 1);
        let fits = if strictly { &case.fits_strictly } else { &case.fits };
        let expected = if fits.contains(&size) { 0 } else { Errno::EMSGSIZE.negated() };
        let stored = stored_size(&world.memory, arg);
        if (returned, stored) != (expected, case.size) {
            let strictly = if strictly { ", strictly" } else { "" };
            return Err(format!(
                "{opcode}, {size} bytes{strictly}: {}, stored {stored}",
                Res::Value(returned)
            ));
        }
    }
    Ok(())
}
