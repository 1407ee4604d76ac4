//! Tasks and rings by name, and what the steps of a script do to them.

use crate::memory::Memory;
use ringwarden_cbpf::Insn;
use ringwarden_cbpf::asm::assemble;
use ringwarden_conformance::{Action, Entries, Filter, Outcome, Request, Step, Target};
use ringwarden_filter::{
    Errno, KernelModel, Limits, Machine, Next, Outcome as Ended, Privileges, RawSqe, Refusal, RequestId,
    Requests, Ring, Rules, Started, Submitted, Task,
};
use ringwarden_uapi::bpf::{Bpf, BpfFilter, CMD_FILTER};
use ringwarden_uapi::restriction::TaskRestriction;
use ringwarden_uapi::ring::{SetupFlags, Sqe};
use ringwarden_uapi::{OpTraits, Opcode};
use std::collections::{HashMap, VecDeque};
use zerocopy::IntoBytes;

const ETIME_SUCCESS: u32 = 32;

pub(crate) struct World {
    model: KernelModel,
    tasks: HashMap<String, Task>,
    rings: HashMap<String, Queue>,
    pub(crate) memory: Memory,
}

/// A ring with requests that are still to be submitted and completions to come.
struct Queue {
    ring: Ring,
    setup: SetupFlags,
    requests: Requests,
    /// What takes time.
    running: VecDeque<(RequestId, Ended)>,
    cqes: Vec<(u64, i32)>,
    waiting: VecDeque<Sqe>,
    count: u64,
}

impl World {
    pub(crate) fn new(model: KernelModel, machine: Machine) -> Self {
        let root = Privileges { no_new_privs: false, sys_admin: true };
        let task = Task::with_limits(Limits::new(model).with_machine(machine), root);
        let tasks = HashMap::from([("main".to_owned(), task)]);
        Self { model, tasks, rings: HashMap::new(), memory: Memory::default() }
    }

    /// Acts a step out.
    pub(crate) fn act(&mut self, step: &Step) -> Outcome {
        // Kernels differ in results, not in whether completions are waited for.
        let waits = step.expect(self.model).cqes.is_some();
        match &step.action {
            Action::Enter { ring, requests, .. } => {
                let returned = self.enter(ring, requests);
                Outcome { returned, cqes: if waits { self.complete(ring) } else { Vec::new() } }
            }
            Action::Complete { ring } => Outcome { returned: 0, cqes: self.complete(ring) },
            action => Outcome::returned(self.simple(&step.by, action)),
        }
    }

    fn simple(&mut self, by: &str, action: &Action) -> i32 {
        let errno = |result: Result<(), Errno>| result.err().map_or(0, Errno::negated);
        match action {
            Action::Spawn { child, .. } => {
                let child_task = self.task(by).fork();
                self.tasks.insert(child.clone(), child_task);
            }
            Action::Exec => self.task(by).exec(),
            Action::DropPrivileges => self.task(by).privileges_mut().sys_admin = false,
            Action::NoNewPrivs => self.task(by).privileges_mut().no_new_privs = true,
            Action::UnshareUser => self.task(by).privileges_mut().sys_admin = true,
            Action::Ring { ring, setup } => self.ring(by, ring, *setup),
            Action::Filter { target, filter, times } => {
                return (0..*times)
                    .map(|_| self.filter(by, target, filter))
                    .find(|&ret| ret != 0)
                    .unwrap_or(0);
            }
            Action::Restrict { target, entries } => return errno(self.restrict(by, target, entries)),
            Action::Enable { ring } => {
                let Self { tasks, rings, .. } = self;
                return errno(rings.get_mut(ring).unwrap().ring.enable(&tasks[by]));
            }
            Action::Register { ring, op } => {
                return errno(self.rings[ring].ring.check_register(&self.tasks[by], *op));
            }
            Action::Submit { ring, request } => return self.submit(ring, request),
            other => panic!("{other:?} is not acted out"),
        }
        0
    }

    fn task(&mut self, name: &str) -> &mut Task {
        self.tasks.get_mut(name).unwrap_or_else(|| panic!("no task {name}"))
    }

    pub(crate) fn ring(&mut self, by: &str, name: &str, setup: SetupFlags) {
        let ring = self.task(by).ring(setup);
        let queue = Queue {
            requests: ring.requests(),
            ring,
            setup,
            running: VecDeque::new(),
            cqes: Vec::new(),
            waiting: VecDeque::new(),
            count: 0,
        };
        self.rings.insert(name.to_owned(), queue);
    }

    /// `io_uring_register(2)` with `IORING_REGISTER_BPF_FILTER`, on a ring or else the task.
    pub(crate) fn register_filter(&mut self, by: &str, ring: Option<&str>, arg: u64, nr_args: u32) -> i32 {
        let Self { tasks, rings, memory, .. } = self;
        let result = match ring {
            None => tasks.get_mut(by).unwrap().register_filter(memory, arg, nr_args, 0),
            Some(name) => {
                rings.get_mut(name).unwrap().ring.register_filter(&tasks[by], memory, arg, nr_args, 0)
            }
        };
        result.err().map_or(0, Errno::negated)
    }

    fn filter(&mut self, by: &str, target: &Target, filter: &Filter) -> i32 {
        let program = assemble(&filter.program).unwrap();
        let filter = BpfFilter {
            opcode: filter.opcode.0.into(),
            flags: filter.flags.bits(),
            pdu_size: filter.pdu_size,
            ..BpfFilter::default()
        };
        let arg = self.place(filter, &program);
        self.register_filter(by, target.ring(), arg, 1)
    }

    /// Puts a struct with that program into memory, all else as `filter` has it.
    pub(crate) fn place(&mut self, filter: BpfFilter, program: &[Insn]) -> u64 {
        let program: Vec<[u8; 8]> = program.iter().map(|insn| insn.to_ne_bytes()).collect();
        let filter = BpfFilter {
            filter_len: program.len() as u32,
            filter_ptr: self.memory.map(program.as_flattened(), false),
            ..filter
        };
        let bpf = Bpf { cmd_type: CMD_FILTER, filter, ..Bpf::default() };
        self.memory.map(bpf.as_bytes(), true)
    }

    fn restrict(&mut self, by: &str, target: &Target, entries: &Entries) -> Result<(), Errno> {
        let mut bytes = entries.list.as_bytes().to_vec();
        let mut nr_args = entries.list.len() as u32;
        if *target == Target::Task {
            let header = TaskRestriction {
                flags: entries.flags,
                nr_res: entries.list.len() as u16,
                resv: [entries.resv, 0, 0],
            };
            bytes.splice(0..0, header.as_bytes().iter().copied());
            nr_args = 1;
        }
        let Self { tasks, rings, memory, .. } = self;
        let placed =
            if entries.cut_short { memory.map_cut_short(&bytes, 8) } else { memory.map(&bytes, false) };
        let (arg, nr_args) = (entries.arg.unwrap_or(placed), entries.nr_args.unwrap_or(nr_args));
        match target {
            Target::Task => tasks.get_mut(by).unwrap().register_restrictions(memory, arg, nr_args),
            Target::Ring(name) => {
                rings.get_mut(name).unwrap().ring.register_restrictions(&tasks[by], memory, arg, nr_args)
            }
        }
    }

    /// Submits one request alone and gives its result, or what the call fails with.
    pub(crate) fn submit(&mut self, ring: &str, request: &Request) -> i32 {
        match self.enter(ring, std::slice::from_ref(request)) {
            1.. => self.complete(ring).last().map_or(0, |&(_, res)| res),
            returned => returned,
        }
    }

    /// The same of a request that is the ring's only one, with its completion.
    pub(crate) fn submit_as(&mut self, ring: &str, request: &Request, user_data: u64) -> Vec<(u64, i32)> {
        self.rings.get_mut(ring).unwrap().count = user_data - 1;
        self.enter(ring, std::slice::from_ref(request));
        self.complete(ring)
    }

    /// What a filter would see of a request.
    pub(crate) fn context(
        &mut self,
        ring: &str,
        request: &Request,
        user_data: u64,
    ) -> Result<Vec<u32>, Refusal> {
        let Self { rings, memory, .. } = self;
        let sqe = request.build(user_data, |bytes| memory.map(bytes, false));
        let submitted = rings.get_mut(ring).unwrap().judge(sqe, memory);
        submitted.refusal.map_or_else(|| Ok(submitted.shown.unwrap().words().to_vec()), Err)
    }

    fn enter(&mut self, ring: &str, requests: &[Request]) -> i32 {
        let Self { rings, memory, .. } = self;
        let queue = rings.get_mut(ring).unwrap_or_else(|| panic!("no ring {ring}"));
        for request in requests {
            queue.count += 1;
            queue.waiting.push_back(request.build(queue.count, |bytes| memory.map(bytes, false)));
        }
        if queue.ring.is_disabled() {
            queue.waiting.clear();
            return Errno::EBADFD.negated();
        }
        let mut taken = queue.submit(memory);
        while queue.setup.contains(SetupFlags::SQPOLL) && !queue.waiting.is_empty() {
            taken += queue.submit(memory);
        }
        taken as i32
    }

    fn complete(&mut self, ring: &str) -> Vec<(u64, i32)> {
        let queue = self.rings.get_mut(ring).unwrap();
        queue.act();
        while let Some((id, outcome)) = queue.running.pop_front() {
            queue.requests.complete(id, outcome).unwrap();
            queue.act();
        }
        assert_eq!(queue.requests.in_flight(), 0);
        std::mem::take(&mut queue.cqes)
    }
}

impl Queue {
    /// One call, or one round of a kernel thread.
    fn submit(&mut self, memory: &Memory) -> u32 {
        while let Some(sqe) = self.waiting.pop_front() {
            let goes_on = self.judge(sqe, memory).goes_on;
            self.act();
            if !goes_on {
                break;
            }
        }
        self.requests.end()
    }

    fn judge(&mut self, sqe: Sqe, memory: &Memory) -> Submitted {
        let filters = self.ring.limits().filters();
        let restrictions = *self.ring.limits().restrictions();
        let rules = Rules { restrictions, filters: filters.as_deref() };
        // Tables have no use for bytes 64 to 127.
        let mixed = self.setup.contains(SetupFlags::SQE_MIXED);
        let large = Opcode(sqe.opcode).traits().contains(OpTraits::IS_128);
        let entry = match mixed && large {
            true => {
                let mut bytes = [0; 128];
                bytes[..64].copy_from_slice(sqe.as_bytes());
                RawSqe::from(bytes)
            }
            false => RawSqe::from(sqe),
        };
        self.requests.submit(&rules, entry, memory)
    }

    /// Does what is to be done, as far as it takes no time.
    fn act(&mut self) {
        while let Some(next) = self.requests.next() {
            match next {
                Next::Post(cqe) => self.cqes.push((cqe.user_data, cqe.res)),
                Next::Start(started) => match runs(&started) {
                    Runs::Done(res) => self.requests.complete(started.id, res).unwrap(),
                    Runs::Later(outcome) => self.running.push_back((started.id, outcome)),
                },
            }
        }
    }
}

/// What becomes of a request that is let through.
enum Runs {
    /// It is over at once.
    Done(i32),
    /// It takes time.
    Later(Ended),
}

/// What becomes of requests that are let through, as far as cases rely on it.
fn runs(started: &Started) -> Runs {
    let sqe = started.sqe.sqe();
    match Opcode(sqe.opcode) {
        Opcode::TIMEOUT => {
            let failed = sqe.op_flags & ETIME_SUCCESS == 0;
            Runs::Later(Ended { failed, ..Ended::from(Errno::ETIME.negated()) })
        }
        Opcode::READ if sqe.fd == -1 => Runs::Done(Errno::EBADF.negated()),
        _ => Runs::Done(0),
    }
}
