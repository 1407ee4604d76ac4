//! Random cases, the same ones for the same seed.

mod batch;
mod program;
mod request;

use crate::case::{Case, Registration, Request, Step, Target};
use fastrand::Rng;
use ringwarden_filter::{Context, KernelModel};
use ringwarden_uapi::restriction::{REGISTER_OP, Restriction, SQE_FLAGS_ALLOWED, SQE_FLAGS_REQUIRED, SQE_OP};
use ringwarden_uapi::ring::{SetupFlags, SqeFlags};
use ringwarden_uapi::{Opcode, PayloadKind};

/// Kinds of rings, the plain one apart.
const SETUPS: [SetupFlags; 6] = [
    SetupFlags::SUBMIT_ALL,
    SetupFlags::SQE128,
    SetupFlags::COOP_TASKRUN,
    SetupFlags::SINGLE_ISSUER,
    SetupFlags::SINGLE_ISSUER.union(SetupFlags::DEFER_TASKRUN),
    SetupFlags::NO_SQARRAY,
];

/// The case of that number.
pub(crate) fn case(model: KernelModel, seed: u64, number: u64) -> Case {
    // Neighbouring numbers shall have nothing in common.
    let mut rng = Rng::with_seed(Rng::with_seed(seed).u64(..) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Writer::new(model, &mut rng).write()
}

/// A number of a kind that programs and kernels compare with.
fn value(rng: &mut Rng) -> u64 {
    match rng.u8(..8) {
        0..2 => rng.u64(..4),
        2..4 => rng.u64(..64),
        4 => 1 << rng.u8(..64),
        5 => (1u64 << rng.u8(..64)).wrapping_sub(1),
        6 => u64::MAX - rng.u64(..64),
        _ => rng.u64(..),
    }
}

struct Writer<'rng> {
    model: KernelModel,
    rng: &'rng mut Rng,
    /// What is submitted, again and again.
    requests: Vec<Request>,
    steps: Vec<Step>,
    rings: usize,
    /// Whether requests that say nothing occur. Drains do not then: they let others complete later, and
    /// nobody could tell when.
    silent: bool,
}

impl<'rng> Writer<'rng> {
    fn new(model: KernelModel, rng: &'rng mut Rng) -> Self {
        let count = rng.u8(1..6);
        let requests = (0..count).map(|number| request::request(rng, number)).collect();
        let silent = rng.u8(..8) == 0;
        Self { model, rng, requests, steps: Vec::new(), rings: 0, silent }
    }

    fn write(mut self) -> Case {
        match self.rng.u8(..32) {
            0 => self.on_task(),
            1..4 => self.restricted(),
            4..12 => self.batches(),
            _ => self.plain(),
        }
        Case { steps: self.steps }
    }

    fn plain(&mut self) {
        let setup = self.setup();
        self.ring(setup);
        for _ in 0..self.rng.u8(1..14) {
            self.register(Target::Ring(0));
            if self.rng.bool() {
                self.enter(0);
            }
        }
        self.enter_each(0);
    }

    /// A ring that only takes what a list has.
    fn restricted(&mut self) {
        let setup = self.setup();
        self.ring(setup | SetupFlags::R_DISABLED);
        let filters_first = self.rng.bool();
        if filters_first {
            self.register(Target::Ring(0));
        }
        let entries = self.entries();
        self.steps.push(Step::Restrict(Target::Ring(0), entries));
        if self.rng.u8(..8) == 0 {
            self.enter(0);
        }
        self.steps.push(Step::Enable(0));
        for _ in 0..self.rng.u8(1..5) {
            self.register(Target::Ring(0));
        }
        self.enter_each(0);
    }

    /// A task with filters, its rings and its child.
    fn on_task(&mut self) {
        if self.rng.u8(..4) == 0 {
            let entries = self.entries();
            self.steps.push(Step::Restrict(Target::Task, entries));
        }
        for _ in 0..self.rng.u8(4..16) {
            match self.rng.u8(..16) {
                0..3 => self.ring(SetupFlags::empty()),
                3..9 => self.register(Target::Task),
                9..12 if self.rings > 0 => {
                    let ring = self.rng.usize(..self.rings);
                    self.register(Target::Ring(ring));
                }
                12..14 if self.rings > 0 => {
                    let ring = self.rng.usize(..self.rings);
                    self.enter(ring);
                }
                14 => self.steps.push(Step::Fork),
                15 => {
                    let entries = self.entries();
                    self.steps.push(Step::Restrict(Target::Task, entries));
                }
                _ => {}
            }
        }
        self.ring(SetupFlags::empty());
        (0..self.rings).for_each(|ring| self.enter_each(ring));
    }

    fn setup(&mut self) -> SetupFlags {
        if self.rng.bool() { SetupFlags::empty() } else { SETUPS[self.rng.usize(..SETUPS.len())] }
    }

    fn ring(&mut self, setup: SetupFlags) {
        self.steps.push(Step::Ring(setup));
        self.rings += 1;
    }

    fn entries(&mut self) -> Vec<Restriction> {
        (0..self.rng.u8(..8))
            .map(|_| {
                let (kind, value) = match self.rng.u8(..16) {
                    0..10 => (SQE_OP, self.opcode() as u8),
                    10..12 => (REGISTER_OP, 37),
                    12..14 => (SQE_FLAGS_ALLOWED, self.rng.u8(..)),
                    14 => (SQE_FLAGS_REQUIRED, 1 << self.rng.u8(..8)),
                    _ => (self.rng.u16(..6), self.rng.u8(..)),
                };
                Restriction { kind, value, ..Restriction::default() }
            })
            .collect()
    }

    /// Mostly one that is submitted.
    fn opcode(&mut self) -> u32 {
        match self.rng.choice(&self.requests) {
            Some(request) if self.rng.u8(..8) != 0 => request.opcode().0.into(),
            _ if self.rng.u8(..4) == 0 => value(self.rng) as u32,
            _ => self.rng.u32(..70),
        }
    }

    fn register(&mut self, target: Target) {
        let opcode = self.opcode();
        let contexts: Vec<Vec<u32>> = self
            .requests
            .iter()
            .filter(|request| u32::from(request.opcode().0) == opcode)
            .map(|request| words(self.model, request))
            .collect();
        let known = self.model.payload_size(Opcode(opcode as u8));
        let registration = Registration {
            opcode,
            flags: match self.rng.u8(..32) {
                0..2 => 1,
                2..4 => 2,
                4 => 3,
                5 => value(self.rng) as u32,
                _ => 0,
            },
            pdu_size: match self.rng.u8(..16) {
                0 => known.saturating_sub(self.rng.u8(1..5)),
                1 => known + self.rng.u8(1..5),
                2 => 0,
                3 => self.rng.u8(..),
                _ => known,
            },
            program: program::program(self.rng, &contexts),
        };
        self.steps.push(Step::Register(target, registration));
    }

    /// Each request in a call of its own.
    fn enter_each(&mut self, ring: usize) {
        for request in self.requests.clone() {
            self.steps.push(Step::Enter(ring, vec![request]));
        }
        self.enter(ring);
    }

    /// One call with some of the requests, linked or not.
    fn enter(&mut self, ring: usize) {
        let mut requests = self.requests.clone();
        self.rng.shuffle(&mut requests);
        requests.truncate(self.rng.usize(1..=requests.len()));
        let silent = self.silent && requests.iter().all(is_immediate);
        for request in &mut requests {
            let flag = match self.rng.u8(..16) {
                0..4 => SqeFlags::IO_LINK,
                4..6 => SqeFlags::IO_HARDLINK,
                6 if !self.silent => SqeFlags::IO_DRAIN,
                7 if !self.silent => SqeFlags::IO_DRAIN | SqeFlags::IO_LINK,
                8..12 if silent => SqeFlags::CQE_SKIP_SUCCESS,
                _ => SqeFlags::empty(),
            };
            request.sqe.flags |= flag.bits();
        }
        if let Some(last) = requests.last_mut().filter(|_| silent) {
            // A link that the call leaves open goes to a worker: nobody could tell when that is done.
            let links = SqeFlags::IO_LINK | SqeFlags::IO_HARDLINK;
            last.sqe.flags &= !links.bits();
        }
        self.steps.push(Step::Enter(ring, requests));
    }
}

/// Whether it leaves nothing to wait for, and nothing to clean up, if it says nothing.
fn is_immediate(request: &Request) -> bool {
    let no_file =
        request.opcode() == Opcode::NOP || request.opcode().payload() == Some(PayloadKind::Sockaddr);
    no_file && !request.flags().contains(SqeFlags::ASYNC)
}

/// What a filter sees of a request that stands alone, as far as the engine has it right: no matter if not.
fn words(model: KernelModel, request: &Request) -> Vec<u32> {
    let context = Context::new(model, &request.sqe, request.payload());
    context.unwrap_or_else(|_| Context::header(model, &request.sqe)).words().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_cbpf::Program;

    #[test]
    fn a_number_is_a_case() {
        let case = |seed, number| super::case(KernelModel::V7_3, seed, number).to_string();
        assert_eq!(case(1, 5), case(1, 5));
        assert_ne!(case(1, 5), case(1, 6));
        assert_ne!(case(1, 5), case(2, 5));
    }

    /// Of either kind there have to be enough to find anything.
    #[test]
    fn most_programs_are_valid_and_some_are_not() {
        let cases = (0..500).map(|number| super::case(KernelModel::V7_3, 1, number));
        let (mut valid, mut all) = (0, 0);
        for step in cases.flat_map(|case| case.steps) {
            if let Step::Register(_, registration) = step {
                all += 1;
                valid += u32::from(Program::new(&registration.program, 40).is_ok());
            }
        }
        assert!((all / 2..all * 9 / 10).contains(&valid), "{valid} of {all}");
    }
}
