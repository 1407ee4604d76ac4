//! Cases: what both sides act out.

use ringwarden_cbpf::Insn;
use ringwarden_filter::Payload;
use ringwarden_uapi::Opcode;
use ringwarden_uapi::restriction::Restriction;
use ringwarden_uapi::ring::{Pointer, SetupFlags, Sqe, SqeFlags};

/// Steps that a fresh task takes, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) steps: Vec<Step>,
}

/// One step. Rings are numbered in the order in which they are made.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Makes a ring.
    Ring(SetupFlags),
    /// `IORING_REGISTER_RESTRICTIONS`.
    Restrict(Target, Vec<Restriction>),
    /// `IORING_REGISTER_ENABLE_RINGS`.
    Enable(usize),
    /// `IORING_REGISTER_BPF_FILTER`.
    Register(Target, Registration),
    /// Submits requests with one call and waits for them. What the call does not take is withdrawn.
    Enter(usize, Vec<Request>),
    /// A child takes the rest of the steps.
    Fork,
}

/// What a filter or a list is registered on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Task,
    Ring(usize),
}

/// A `struct io_uring_bpf` with its program.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) opcode: u32,
    pub(crate) flags: u32,
    pub(crate) pdu_size: u8,
    pub(crate) program: Vec<Insn>,
}

/// An SQE and what its pointers lead to.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) sqe: Sqe,
    pub(crate) objects: Vec<Object>,
}

/// Bytes in the program's memory.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) pointer: Pointer,
    pub(crate) bytes: Vec<u8>,
    /// The memory ends where they do.
    pub(crate) at_the_end: bool,
}

impl Case {
    /// Whether it changes the task that takes it, so that it needs one of its own.
    pub(crate) fn needs_task(&self) -> bool {
        self.steps.iter().any(|step| {
            matches!(step, Step::Fork | Step::Register(Target::Task, _) | Step::Restrict(Target::Task, _))
        })
    }

    /// How many programs it registers.
    pub(crate) fn programs(&self) -> u64 {
        self.steps.iter().filter(|step| matches!(step, Step::Register(..))).count() as u64
    }
}

impl Step {
    /// The rings that it is about.
    pub(crate) fn ring_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::Restrict(Target::Ring(ring), _)
            | Self::Register(Target::Ring(ring), _)
            | Self::Enable(ring)
            | Self::Enter(ring, _) => Some(ring),
            _ => None,
        }
    }
}

impl Request {
    pub(crate) fn opcode(&self) -> Opcode {
        Opcode(self.sqe.opcode)
    }

    pub(crate) fn flags(&self) -> SqeFlags {
        SqeFlags::from_bits_retain(self.sqe.flags)
    }

    /// The SQE, its pointers leading to where `place` has put the objects.
    pub(crate) fn build(&self, mut place: impl FnMut(&Object) -> u64) -> Sqe {
        let mut sqe = self.sqe;
        for object in &self.objects {
            object.pointer.set(&mut sqe, place(object));
        }
        sqe
    }

    /// What filters see of memory, if the request leads to it.
    pub(crate) fn payload(&self) -> Payload<'_> {
        let place = self.opcode().argument();
        let found =
            place.and_then(|place| self.objects.iter().find(|object| object.pointer == place.pointer));
        found.map_or(Payload::None, |object| Payload::of(self.opcode(), &object.bytes))
    }
}
