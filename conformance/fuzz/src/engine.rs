//! The engine's side: the same cases, acted out by `ringwarden-filter`.
//!
//! The engine decides which requests run, not what they result in. That is taken from the kernel's
//! completions; what a request may not result in (a denial where the engine sees none, a cancellation
//! where it sees no reason) is not, and so comes out as a difference.

use crate::argument;
use crate::case::{Case, Step, Target};
use crate::memory::Memory;
use crate::outcome::Outcome;
use anyhow::Context;
use ringwarden_filter::{
    Errno, KernelModel, Next, Outcome as Ended, Privileges, RequestId, Requests, Ring, Rules, Task,
};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::Sqe;
use std::collections::VecDeque;

/// `IORING_NOP_INJECT_RESULT`: a NOP has its length for its result.
const NOP_INJECT_RESULT: u32 = 1;

struct Queue {
    ring: Ring,
    requests: Requests,
    /// What takes time.
    running: VecDeque<(RequestId, Ended)>,
    /// Whether something ran that others may overtake.
    unordered: bool,
}

/// What the engine says comes of a case's steps, where `kernel` says what became of those that ran.
pub(crate) fn act(
    model: KernelModel,
    case: &Case,
    kernel: &[Outcome],
    memory: &mut Memory,
) -> anyhow::Result<Vec<Outcome>> {
    let mut task = Task::new(model, Privileges { no_new_privs: false, sys_admin: true });
    let mut queues: Vec<Queue> = Vec::new();
    let mut outcomes = Vec::new();
    for (step, observed) in case.steps.iter().zip(kernel) {
        memory.clear();
        outcomes.push(match step {
            Step::Ring(setup) => {
                let ring = task.ring(*setup);
                queues.push(Queue {
                    requests: ring.requests(),
                    ring,
                    running: VecDeque::new(),
                    unordered: false,
                });
                Outcome::default()
            }
            Step::Restrict(Target::Task, entries) => {
                let arg = argument::restrictions(entries, true, memory);
                returned(task.register_restrictions(memory, arg, 1))
            }
            Step::Restrict(Target::Ring(index), entries) => {
                let arg = argument::restrictions(entries, false, memory);
                let ring = &mut queue(&mut queues, *index)?.ring;
                returned(ring.register_restrictions(&task, memory, arg, entries.len() as u32))
            }
            Step::Enable(index) => returned(queue(&mut queues, *index)?.ring.enable(&task)),
            Step::Register(target, registration) => {
                let arg = argument::filter(registration, memory);
                let result = match target {
                    Target::Task => task.register_filter(memory, arg, 1, 0),
                    Target::Ring(index) => {
                        queue(&mut queues, *index)?.ring.register_filter(&task, memory, arg, 1, 0)
                    }
                };
                Outcome { pdu_size: argument::pdu_size(memory, arg), ..returned(result) }
            }
            Step::Enter(index, requests) => {
                let sqes = argument::sqes(requests, memory);
                queue(&mut queues, *index)?.enter(&sqes, &observed.cqes, memory)
            }
            Step::Fork => {
                task = task.fork();
                Outcome::default()
            }
        });
    }
    Ok(outcomes)
}

fn queue(queues: &mut [Queue], index: usize) -> anyhow::Result<&mut Queue> {
    queues.get_mut(index).context("no such ring")
}

fn returned(result: Result<(), Errno>) -> Outcome {
    Outcome::returned(result.err().map_or(0, Errno::negated))
}

impl Queue {
    fn enter(&mut self, sqes: &[Sqe], observed: &[(u64, i32)], memory: &Memory) -> Outcome {
        if self.ring.is_disabled() {
            return Outcome::returned(Errno::EBADFD.negated());
        }
        let filters = self.ring.limits().filters();
        let restrictions = *self.ring.limits().restrictions();
        let rules = Rules { restrictions, filters: filters.as_deref() };
        let mut cqes = Vec::new();
        self.unordered = false;
        for &sqe in sqes {
            let goes_on = self.requests.submit(&rules, sqe, memory).goes_on;
            self.act(observed, &mut cqes);
            if !goes_on {
                break;
            }
        }
        let returned = self.requests.end() as i32;
        self.act(observed, &mut cqes);
        while let Some((id, ended)) = self.running.pop_front() {
            self.complete(id, ended);
            self.act(observed, &mut cqes);
        }
        Outcome { returned, cqes, unordered: self.unordered, ..Outcome::default() }
    }

    fn act(&mut self, observed: &[(u64, i32)], cqes: &mut Vec<(u64, i32)>) {
        while let Some(next) = self.requests.next() {
            match next {
                Next::Post(cqe) => cqes.push((cqe.user_data, cqe.res)),
                Next::Start(started) => {
                    let sqe = started.sqe.sqe();
                    self.unordered |= started.worker || Opcode(sqe.opcode) != Opcode::NOP;
                    let (ended, at_once) = ran(sqe, result(sqe.user_data, observed));
                    match at_once {
                        true => self.complete(started.id, ended),
                        false => self.running.push_back((started.id, ended)),
                    }
                }
            }
        }
    }

    fn complete(&mut self, id: RequestId, ended: Ended) {
        // It was started, and is completed once: were it not so, a completion would be missing.
        let _ = self.requests.complete(id, ended);
    }
}

/// What became of a request that ran. Some operations fail without calling it a failure, so that a link goes
/// on behind them (`req_set_fail` is missing in `io_uring/statx.c`, `fs.c`, `advise.c` and, for a slot,
/// `net.c`). Tells as well whether it was over at once.
fn ran(sqe: &Sqe, res: i32) -> (Ended, bool) {
    let no_failure = (Ended { failed: false, ..Ended::from(res) }, false);
    match Opcode(sqe.opcode) {
        Opcode::NOP if sqe.op_flags & NOP_INJECT_RESULT != 0 => (Ended::from(sqe.len as i32), true),
        Opcode::NOP => (Ended::from(0), true),
        Opcode::STATX | Opcode::UNLINKAT | Opcode::MKDIRAT | Opcode::MADVISE => no_failure,
        Opcode::SOCKET if sqe.file_index != 0 && [-libc::ENXIO, -libc::ENFILE].contains(&res) => no_failure,
        _ => (Ended::from(res), true),
    }
}

/// What a request that ran resulted in: 0 if the kernel does not say so.
fn result(user_data: u64, observed: &[(u64, i32)]) -> i32 {
    let found = observed.iter().find(|(other, _)| *other == user_data).map_or(0, |&(_, res)| res);
    let impossible = [Errno::EACCES, Errno::ECANCELED].map(Errno::negated).contains(&found);
    if impossible { 0 } else { found }
}
