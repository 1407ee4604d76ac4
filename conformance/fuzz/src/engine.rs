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
use ringwarden_filter::{Batch, Errno, Fate, KernelModel, Privileges, Refusal, Request, Ring, Task};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{SetupFlags, Sqe, SqeFlags};

struct Queue {
    ring: Ring,
    batch: Batch,
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
                let batch = Batch::new(setup.contains(SetupFlags::SUBMIT_ALL));
                queues.push(Queue { ring: task.ring(*setup), batch });
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
        self.ring.sequence_mut().begin();
        for sqe in sqes {
            let request = self.judge(sqe, observed, memory);
            if !self.batch.push(request) {
                break;
            }
        }
        let returned = self.batch.end() as i32;
        self.ring.sequence_mut().settle();
        let cqes = self.batch.complete().iter().map(|cqe| (cqe.user_data, cqe.res)).collect();
        Outcome { returned, cqes, ..Outcome::default() }
    }

    fn judge(&mut self, sqe: &Sqe, observed: &[(u64, i32)], memory: &Memory) -> Request {
        let judged = self.ring.submit(sqe, memory);
        let flags = judged.map_or(SqeFlags::from_bits_retain(sqe.flags), |context| context.sqe_flags());
        Request {
            user_data: sqe.user_data,
            opcode: Opcode(sqe.opcode),
            flags,
            draining: self.ring.sequence_mut().is_draining(),
            slots: 1,
            fate: match judged {
                Ok(_) => ran(sqe, result(sqe.user_data, observed)),
                Err(Refusal::Filtered(_)) => Fate::Denied,
                Err(refusal) => Fate::Refused(refusal.errno()),
            },
        }
    }
}

/// What became of a request that ran. Some operations fail without calling it a failure, so that a link goes
/// on behind them (`req_set_fail` is missing in `io_uring/statx.c`, `fs.c`, `advise.c` and, for a slot,
/// `net.c`).
fn ran(sqe: &Sqe, res: i32) -> Fate {
    match Opcode(sqe.opcode) {
        Opcode::STATX | Opcode::UNLINKAT | Opcode::MKDIRAT | Opcode::MADVISE => {
            Fate::Later { res, failure: false }
        }
        Opcode::SOCKET if sqe.file_index != 0 && [-libc::ENXIO, -libc::ENFILE].contains(&res) => {
            Fate::Later { res, failure: false }
        }
        _ => Fate::Done(res),
    }
}

/// What a request that ran resulted in: 0 if the kernel does not say so.
fn result(user_data: u64, observed: &[(u64, i32)]) -> i32 {
    let found = observed.iter().find(|(other, _)| *other == user_data).map_or(0, |&(_, res)| res);
    let impossible = [Errno::EACCES, Errno::ECANCELED].map(Errno::negated).contains(&found);
    if impossible { 0 } else { found }
}
