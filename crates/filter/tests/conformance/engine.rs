//! The engine as one who acts cases out.

use crate::world::World;
use ringwarden_cbpf::Insn;
use ringwarden_cbpf::asm::assemble;
use ringwarden_cbpf::insn::{BPF_K, BPF_RET};
use ringwarden_conformance::{
    Arg, Case, ContextCase, Outcome, PayloadAttempt, Place, Program, ProgramCase, StructCase, USER_DATA,
};
use ringwarden_filter::{KernelModel, Machine, UserMemory};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::{Bpf, BpfFilter, FilterFlags};
use ringwarden_uapi::ring::SetupFlags;
use std::mem::offset_of;
use zerocopy::IntoBytes;

/// Where the payload size is in the struct.
const PDU_SIZE: u64 = (offset_of!(Bpf, filter) + offset_of!(BpfFilter, pdu_size)) as u64;

/// The engine in the way of one kernel.
pub(crate) struct Engine {
    pub(crate) model: KernelModel,
    pub(crate) machine: Machine,
}

impl Engine {
    /// Whether it takes no kernel, which has descriptors and runs requests. What programs compute is asked of the machines
    /// themselves, in the tests of `ringwarden-cbpf`.
    pub(crate) fn can_act(case: &Case<'_>) -> bool {
        match case {
            Case::Script(case) => !case.natively,
            Case::Descriptor(_) | Case::Arithmetic(_) => false,
            Case::Context(_) | Case::Struct(_) | Case::Payload(_) | Case::Program(_) => true,
        }
    }

    /// Acts a case out: an outcome for each of its checks.
    pub(crate) fn act(&self, case: Case<'_>, outcomes: &mut Vec<Outcome>) -> Result<(), String> {
        match case {
            Case::Script(case) => {
                let mut world = self.world();
                outcomes.extend(case.steps.iter().map(|step| world.act(step)));
            }
            Case::Context(case) => outcomes.extend(self.words(case)?),
            Case::Struct(case) => {
                for place in Place::ALL {
                    outcomes.extend(self.register(case, place)?);
                }
            }
            Case::Payload(case) => {
                outcomes.extend(case.attempts().flat_map(|attempt| self.register_sized(attempt)));
            }
            Case::Program(case) => outcomes.extend(self.judge(case)?),
            Case::Descriptor(_) | Case::Arithmetic(_) => return Err("it takes a kernel".to_owned()),
        }
        Ok(())
    }

    fn world(&self) -> World {
        World::new(self.model, self.machine)
    }

    /// The words of the context that a request shows.
    fn words(&self, case: &ContextCase) -> Result<Vec<Outcome>, String> {
        let mut world = self.world();
        world.ring("main", "r", SetupFlags::empty());
        let words = world.context("r", &case.request, case.user_data);
        let words = words.map_err(|refusal| format!("{refusal:?}"))?;
        Ok(words.into_iter().map(|word| Outcome::returned(word as i32)).collect())
    }

    /// Registers, looks at the struct, and tries a NOP.
    fn register(&self, case: &StructCase, place: Place) -> Result<[Outcome; 3], String> {
        let mut world = self.world();
        let text = match case.program {
            Program::Invalid => "ldb [0]\nret #0".to_owned(),
            Program::Deny { len } => "ld [0]\n".repeat(len as usize - 1) + "ret #0",
        };
        let mut bpf = case.bpf;
        let program: Vec<[u8; 8]> = assembled(&text)?.iter().map(|insn| insn.to_ne_bytes()).collect();
        let program = world.memory.map(program.as_flattened(), false);
        bpf.filter.filter_ptr = case.filter_ptr.unwrap_or(program);
        let arg = match case.arg {
            Arg::Memory => world.memory.map(bpf.as_bytes(), true),
            Arg::ReadOnly => world.memory.map(bpf.as_bytes(), false),
            Arg::Unmapped(address) => address,
        };
        world.ring("main", "r", SetupFlags::empty());
        let returned = world.register_filter("main", ring(place), arg, case.nr_args);
        let size = stored_size(&world, arg);
        world.ring("main", "next", SetupFlags::empty());
        let probe = ring(place).unwrap_or("next");
        Ok([returned, size, world.submit(probe, &"nop".parse()?)].map(Outcome::returned))
    }

    /// Registers a program that was written for some size of the payload, and looks at the struct.
    fn register_sized(&self, attempt: PayloadAttempt) -> [Outcome; 2] {
        let mut world = self.world();
        world.ring("main", "r", SetupFlags::empty());
        let flags = if attempt.strictly { FilterFlags::SZ_STRICT } else { FilterFlags::empty() };
        let (opcode, flags) = (attempt.opcode.0.into(), flags.bits());
        let filter = BpfFilter { opcode, flags, pdu_size: attempt.size, ..BpfFilter::default() };
        let arg = world.place(filter, &[Insn::stmt(BPF_RET | BPF_K, 0)]);
        let returned = world.register_filter("main", ring(attempt.place), arg, 1);
        [returned, stored_size(&world, arg)].map(Outcome::returned)
    }

    /// Registers programs, each on a ring and on a task; a NOP tells what an accepted one says.
    fn judge(&self, case: &ProgramCase) -> Result<Vec<Outcome>, String> {
        let mut outcomes = Vec::new();
        for text in &case.texts {
            let program = assembled(text)?.repeat(case.repeat);
            for place in Place::ALL {
                let mut world = self.world();
                world.ring("main", "r", SetupFlags::empty());
                let filter = BpfFilter { opcode: Opcode::NOP.0.into(), ..BpfFilter::default() };
                let arg = world.place(filter, &program);
                let returned = world.register_filter("main", ring(place), arg, 1);
                world.ring("main", "next", SetupFlags::empty());
                let probe = ring(place).unwrap_or("next");
                let cqes = if returned == 0 {
                    world.submit_as(probe, &"nop".parse()?, USER_DATA)
                } else {
                    Vec::new()
                };
                outcomes.push(Outcome { returned, cqes });
            }
        }
        Ok(outcomes)
    }
}

/// The ring that is registered on, unless it is the task.
fn ring(place: Place) -> Option<&'static str> {
    match place {
        Place::Ring => Some("r"),
        Place::Task => None,
    }
}

fn assembled(text: &str) -> Result<Vec<Insn>, String> {
    assemble(text).map_err(|error| error.to_string())
}

/// The kernel's payload size, if it stored one.
fn stored_size(world: &World, arg: u64) -> i32 {
    let mut size = [0];
    world.memory.read(arg + PDU_SIZE, &mut size).map_or(0, |()| size[0].into())
}
