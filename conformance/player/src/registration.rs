//! Registrations of filters, on rings and on tasks.

use crate::fresh;
use crate::memory;
use crate::queue::{Queue, nop_after};
use crate::register::{self, Subject};
use ringwarden_conformance::{Arg, Outcome, PayloadAttempt, PayloadCase, Place, Program, StructCase};
use ringwarden_testring::SetupFlags;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::bpf::{Bpf, BpfFilter, FilterFlags};
use std::mem::offset_of;
use zerocopy::IntoBytes;

/// Where the payload size is in the struct.
const PDU_SIZE: u64 = (offset_of!(Bpf, filter) + offset_of!(BpfFilter, pdu_size)) as u64;

/// Registers, looks at the struct, and tries a NOP; for each place in a process of its own.
pub(crate) fn play_struct(case: &StructCase, outcomes: &mut Vec<Outcome>) -> anyhow::Result<()> {
    for place in Place::ALL {
        outcomes.extend(fresh::outcomes(|| try_struct(case, place))?);
    }
    Ok(())
}

fn try_struct(case: &StructCase, place: Place) -> anyhow::Result<Vec<Outcome>> {
    let program = match case.program {
        Program::Invalid => "ldb [0]\nret #0".to_owned(),
        Program::Deny { len } => "ld [0]\n".repeat(len.saturating_sub(1) as usize) + "ret #0",
    };
    let program = register::program(&program)?;
    let mut bpf = case.bpf;
    bpf.filter.filter_ptr = case.filter_ptr.unwrap_or_else(|| memory::place(program.as_flattened()));
    let arg = match case.arg {
        Arg::Memory => memory::place(bpf.as_bytes()),
        Arg::ReadOnly => memory::place_read_only(bpf.as_bytes())?,
        Arg::Unmapped(address) => address,
    };
    let ring = Queue::new(SetupFlags::empty(), None)?;
    let (returned, mut probe) = match place {
        Place::Ring => {
            let subject = Subject::Ring(ring.fd());
            (register::call(subject, RegisterOp::REGISTER_BPF_FILTER, arg, case.nr_args), ring)
        }
        Place::Task => {
            let returned = register::call(Subject::Task, RegisterOp::REGISTER_BPF_FILTER, arg, case.nr_args);
            (returned, Queue::new(SetupFlags::empty(), None)?)
        }
    };
    let stored = if matches!(case.arg, Arg::Unmapped(_)) { 0 } else { memory::read(arg + PDU_SIZE) };
    let nop = probe.submit(&"nop".parse().map_err(anyhow::Error::msg)?, 0, None)?;
    Ok([returned, stored.into(), nop].map(Outcome::returned).into())
}

/// Registers on one ring and one task, what fits and what does not: stacked filters do not change that.
pub(crate) fn play_payload(case: &PayloadCase, outcomes: &mut Vec<Outcome>) -> anyhow::Result<()> {
    outcomes.extend(fresh::outcomes(|| {
        let ring = Queue::new(SetupFlags::empty(), None)?;
        let program = register::program("ret #1")?;
        let program = register::with_program(&program);
        let tried = case.attempts().flat_map(|attempt| attempt_payload(&ring, attempt, program));
        Ok(tried.map(Outcome::returned).collect())
    })?);
    Ok(())
}

/// What registering gave, and the size that is in the struct then.
fn attempt_payload(ring: &Queue, attempt: PayloadAttempt, program: BpfFilter) -> [i32; 2] {
    let flags = if attempt.strictly { FilterFlags::SZ_STRICT } else { FilterFlags::empty() };
    let filter =
        BpfFilter { opcode: attempt.opcode.0.into(), flags: flags.bits(), pdu_size: attempt.size, ..program };
    let arg = register::place(filter);
    let subject = match attempt.place {
        Place::Ring => Subject::Ring(ring.fd()),
        Place::Task => Subject::Task,
    };
    let returned = register::call(subject, RegisterOp::REGISTER_BPF_FILTER, arg, 1);
    [returned, memory::read(arg + PDU_SIZE).into()]
}

/// Registers a filter for NOP on a fresh ring or task and, if that succeeds, has a NOP judged.
pub(crate) fn judge_nop(filter: BpfFilter, place: Place, user_data: u64) -> anyhow::Result<Outcome> {
    let act = || {
        let on_task = (place == Place::Task).then(|| register::register(Subject::Task, filter));
        let mut queue = Queue::new(SetupFlags::empty(), None)?;
        let returned = on_task.unwrap_or_else(|| register::register(Subject::Ring(queue.fd()), filter));
        nop_after(returned, &mut queue, user_data)
    };
    match place {
        Place::Ring => act(),
        Place::Task => {
            let mut outcomes = fresh::outcomes(|| Ok(vec![act()?]))?;
            outcomes.pop().ok_or_else(|| anyhow::anyhow!("no outcome"))
        }
    }
}
