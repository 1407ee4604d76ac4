//! The other side of the ring: it judges, has done what may be done, and posts what came of it.

use crate::memory::Memory;
use crate::operations::Files;
use crate::ring::Ring;
use ringwarden::Enforcement;
use ringwarden::filter::{Next, Outcome, Refusal, RequestId, Requests, Rules, Submitted};
use ringwarden::uapi::ring::{Cqe, SetupFlags};
use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Scope};

/// What `io_uring_enter(2)` is with a kernel: submits at most so many entries, waits until all is over that was
/// submitted, and sends how many entries it has taken.
pub(crate) struct Call {
    pub(crate) to_submit: u32,
    pub(crate) returns: Sender<u32>,
}

pub(crate) struct Emulator<'a> {
    ring: &'a Ring,
    memory: &'a Memory,
    enforcement: &'a Enforcement,
    files: Files,
    requests: Requests,
    /// How far the queues are: what the ring says of it is the submitter's to write.
    sq_head: u32,
    cq_tail: u32,
    /// Completions that find no room.
    overflow: VecDeque<Cqe>,
    refusals: Vec<String>,
}

impl<'a> Emulator<'a> {
    pub(crate) fn new(ring: &'a Ring, memory: &'a Memory, enforcement: &'a Enforcement) -> Self {
        Self {
            ring,
            memory,
            enforcement,
            files: Files::default(),
            requests: Requests::new(enforcement.filters().model(), SetupFlags::empty()),
            sq_head: 0,
            cq_tail: 0,
            overflow: VecDeque::new(),
            refusals: Vec::new(),
        }
    }

    /// Serves calls until nobody makes any more, and gives what was refused by which rule.
    pub(crate) fn serve(mut self, calls: &Receiver<Call>) -> Vec<String> {
        let files = self.files.clone();
        for call in calls {
            thread::scope(|workers| {
                let (over, ended) = mpsc::channel();
                let work = Work { workers, over, files: &files };
                let taken = self.submit(call.to_submit, &work);
                while self.requests.in_flight() > 0 {
                    let Ok((id, outcome)) = ended.recv() else { break };
                    self.complete(id, outcome);
                    self.act(&work);
                }
                // Whoever called may have gone.
                let _ = call.returns.send(taken);
            });
        }
        self.refusals
    }

    fn submit<'s>(&mut self, to_submit: u32, work: &Work<'s, '_>) -> u32
    where
        'a: 's,
    {
        let rules = Rules::from(self.enforcement.filters());
        for _ in 0..to_submit {
            let Some(entry) = self.ring.entry(self.sq_head) else { break };
            self.sq_head = self.sq_head.wrapping_add(1);
            let user_data = entry.sqe().user_data;
            let submitted = self.requests.submit(&rules, entry, self.memory);
            self.tell(user_data, &submitted);
            // What runs at once runs before the next request is looked at.
            self.act(work);
            if !submitted.goes_on {
                break;
            }
        }
        let taken = self.requests.end();
        self.ring.taken(self.sq_head);
        self.act(work);
        taken
    }

    /// Does what is to be done now.
    fn act<'s>(&mut self, work: &Work<'s, '_>)
    where
        'a: 's,
    {
        while let Some(next) = self.requests.next() {
            match next {
                Next::Post(cqe) => self.overflow.push_back(cqe),
                Next::Start(started) if started.worker => {
                    let (over, files, memory) = (work.over.clone(), work.files, self.memory);
                    work.workers.spawn(move || {
                        // The emulator listens until everything is over.
                        let _ = over.send((started.id, files.carry_out(&started, memory)));
                    });
                }
                Next::Start(started) => {
                    let outcome = self.files.carry_out(&started, self.memory);
                    self.complete(started.id, outcome);
                }
            }
        }
        while self.overflow.front().is_some_and(|cqe| self.ring.post(self.cq_tail, *cqe)) {
            self.overflow.pop_front();
            self.cq_tail = self.cq_tail.wrapping_add(1);
        }
    }

    fn complete(&mut self, id: RequestId, outcome: Outcome) {
        let completed = self.requests.complete(id, outcome);
        debug_assert!(completed.is_ok(), "each was started, and is completed once");
    }

    fn tell(&mut self, user_data: u64, submitted: &Submitted) {
        let (Some(Refusal::Filtered(denial)), Some(shown)) = (&submitted.refusal, &submitted.shown) else {
            return;
        };
        if let Some(origin) = self.enforcement.origin(denial, shown) {
            let (file, line, key) = (&origin.rule.file, origin.rule.line, &origin.rule.key);
            self.refusals.push(format!("{user_data} is refused by {file}:{line}, `{key}`"));
        }
    }
}

/// Those that do what may take time.
struct Work<'s, 'e> {
    workers: &'s Scope<'s, 'e>,
    over: Sender<(RequestId, Outcome)>,
    files: &'s Files,
}
