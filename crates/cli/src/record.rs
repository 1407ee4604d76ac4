//! `--record`: every request, on its way to the process that writes it.
//!
//! That process is `ringwarden-records write`, which has the other end of a socket. It is nobody's child, so that it
//! outlives whatever happens to the program and those who guard it, and writes what has been judged until then.

use crate::records::{RECORDS, missing, program};
use ringwarden::Enforcement;
use ringwarden::filter::Context;
use ringwarden::guard::{Audit, Killed, Observe, Refusal, Refused, Submitter};
use ringwarden::policy::Policy;
use ringwarden::refusals::{self, Drained};
use ringwarden::uapi::ring::{Params, Sqe, SqeFlags};
use ringwarden::uapi::{KernelModel, Opcode, RegisterOp};
use ringwarden_trace::{Item, NO_RULE, Preamble, Request, Verdict, WORDS, push};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// So much is sent at a time. Until then it waits in the guard's memory, and when the writer does not keep up, the
/// program waits: nothing is lost.
const CHUNK: usize = 32 << 10;
/// What rings and register calls may come to where no request follows.
const MOST_UNSENT: usize = 1 << 20;
/// For how long a thread is taken to have the name and process that it had.
const FRESH: Duration = Duration::from_millis(100);
/// Threads whose names are known at a time.
const MOST_THREADS: usize = 4096;

/// A record that is being written.
pub(crate) struct Recording {
    file: PathBuf,
    shared: Arc<Shared>,
}

/// By whom requests are told, in the guard's process.
struct Shared {
    enforcement: Option<Enforcement>,
    socket: UnixStream,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    unsent: Vec<u8>,
    /// The numbers of rules that have been sent.
    rules: HashMap<String, u32>,
    threads: HashMap<i32, Thread>,
}

/// What is known of a thread.
#[derive(Clone, Copy)]
struct Thread {
    since: SystemTime,
    pid: i32,
    name: [u8; 16],
}

/// What is recorded of a refusal, beside where it is told already.
pub(crate) struct Recorded<A> {
    shared: Arc<Shared>,
    audit: A,
}

impl Recording {
    /// Starts the writer for what an enforcement of these policies judges, as the guard sees it.
    ///
    /// # Errors
    /// Why nothing can be written, for people.
    pub(crate) fn start(file: &Path, layers: &[Policy], enforcement: Enforcement) -> Result<Self, String> {
        let texts = layers.iter().flat_map(Policy::files);
        let policies = texts
            .map(|(file, text)| ringwarden_trace::Policy { file: file.to_owned(), text: text.to_owned() })
            .collect();
        Self::begin(file, policies, Some(enforcement))
    }

    /// Starts the writer for what somebody else judges.
    ///
    /// # Errors
    /// Why nothing can be written, for people.
    pub(crate) fn of_others(file: &Path) -> Result<Self, String> {
        Self::begin(file, Vec::new(), None)
    }

    fn begin(
        file: &Path,
        policies: Vec<ringwarden_trace::Policy>,
        enforcement: Option<Enforcement>,
    ) -> Result<Self, String> {
        let (socket, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let mut writer = Command::new(program(RECORDS));
        // What signals the program's group is not meant for it.
        writer.arg("write").arg(file).stdin(OwnedFd::from(theirs)).process_group(0);
        let mut writer = writer.spawn().map_err(|error| missing(RECORDS, &error))?;
        let preamble = Preamble { model: KernelModel::Guard.to_string(), policies };
        // Where it ends first, its status says more.
        let sent = (&socket).write_all(&preamble.to_bytes());
        let status = writer.wait().map_err(|error| error.to_string())?;
        match (status.success(), sent) {
            (true, Ok(())) => {}
            (true, Err(error)) => return Err(format!("cannot record to {}: {error}", file.display())),
            (false, _) => return Err(format!("nothing can be recorded to {}", file.display())),
        }
        let shared = Shared { enforcement, socket, state: Mutex::default() };
        Ok(Self { file: file.to_owned(), shared: Arc::new(shared) })
    }

    /// What judges, where that is known.
    pub(crate) fn enforcement(&self) -> Option<&Enforcement> {
        self.shared.enforcement.as_ref()
    }

    /// Who is to be told of what is allowed.
    pub(crate) fn observer(&self) -> Arc<dyn Observe> {
        self.shared.clone()
    }

    /// Who is to be told of what is refused: tells `audit`, too.
    pub(crate) fn audit<A: Audit>(&self, audit: A) -> Recorded<A> {
        Recorded { shared: Arc::clone(&self.shared), audit }
    }

    /// Records what the kernel has refused and allowed, and how much of that is not known; gives how many requests that
    /// were. Neither the rule is known, nor what is behind pointers, nor the descriptor.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(crate) fn heard(&self, drained: &Drained) -> io::Result<usize> {
        let refused = drained.refusals.iter().map(|refusal| {
            let refusals::Refusal { time, pid, tid, program, request, .. } = *refusal;
            let sqe = Sqe {
                off: request.off.unwrap_or_default(),
                addr: request.addr.unwrap_or_default(),
                len: request.len.unwrap_or_default(),
                op_flags: request.op_flags.unwrap_or_default(),
                ..header(request.opcode, request.flags, request.user_data)
            };
            (time, pid, tid, program, Verdict::Deny, sqe)
        });
        let allowed = drained.allowed.iter().map(|allowed| {
            let refusals::Allowed { time, pid, tid, program, request, .. } = *allowed;
            let sqe = header(request.opcode, request.flags, request.user_data);
            (time, pid, tid, program, Verdict::Allow, sqe)
        });
        let mut requests: Vec<_> = refused.chain(allowed).collect();
        requests.sort_by_key(|(time, ..)| *time);
        let count = requests.len();
        let now = SystemTime::now();
        let mut state = self.shared.state();
        for (time, pid, tid, program, verdict, sqe) in requests {
            let request = Request {
                time: nanoseconds(time).into(),
                pid: pid.into(),
                tid: tid.into(),
                program: program.unwrap_or_else(|| state.thread(tid, now).name),
                rule: NO_RULE.into(),
                verdict: verdict as u8,
                words: words(&Context::header(KernelModel::Guard, &sqe)),
                ..Request::default()
            };
            self.shared.push(&mut state, &Item::Request(request))?;
        }
        let lost = drained.lost + drained.lost_allowed;
        if lost > 0 {
            self.shared.push(&mut state, &Item::Lost(lost))?;
        }
        Ok(count)
    }

    /// Ends it, when nobody tells anything any more.
    ///
    /// # Errors
    /// Why the record is not there, or not all of it, for people.
    pub(crate) fn end(self) -> Result<(), String> {
        let Self { file, shared } = self;
        let gone = || {
            format!("{}: the process that writes the record is gone, and so is the record", file.display())
        };
        let told = |error: io::Error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected => {
                gone()
            }
            _ => format!("{}: the record may lack its end: {error}", file.display()),
        };
        shared.send(&mut shared.state()).map_err(told)?;
        shared.socket.shutdown(Shutdown::Write).map_err(told)?;
        let mut reason = String::new();
        match BufReader::new(&shared.socket).read_line(&mut reason).map_err(told)? {
            0 => Err(gone()),
            _ if reason.trim().is_empty() => Ok(()),
            _ => Err(reason.trim().to_owned()),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, state: &mut State, item: &Item) -> io::Result<()> {
        push(&mut state.unsent, item);
        if state.unsent.len() >= CHUNK { self.send(state) } else { Ok(()) }
    }

    /// Leaves it to the next request to send this: the guard kills whoever holds up such a call for seconds, and it is not
    /// the program's doing that a disk is slow.
    fn put_off(&self, item: &Item) {
        let mut state = self.state();
        push(&mut state.unsent, item);
        if state.unsent.len() >= MOST_UNSENT {
            // Where that is not heard, the next request is not, either, and that ends it all.
            let _ = self.send(&mut state);
        }
    }

    /// Waits until the writer takes it.
    fn send(&self, state: &mut State) -> io::Result<()> {
        let sent = (&self.socket).write_all(&state.unsent);
        state.unsent.clear();
        sent
    }

    fn rule(&self, state: &mut State, text: String) -> io::Result<u32> {
        if let Some(&number) = state.rules.get(&text) {
            return Ok(number);
        }
        let number = state.rules.len() as u32;
        self.push(state, &Item::Rule(text.clone()))?;
        state.rules.insert(text, number);
        Ok(number)
    }
}

impl State {
    /// The process and the name of a thread.
    fn thread(&mut self, tid: i32, now: SystemTime) -> Thread {
        let is_fresh = |thread: &Thread| now.duration_since(thread.since).is_ok_and(|age| age < FRESH);
        if let Some(thread) = self.threads.get(&tid).filter(|thread| is_fresh(thread)) {
            return *thread;
        }
        let comm = std::fs::read(format!("/proc/{tid}/comm")).unwrap_or_default();
        let name = comm_of(comm.trim_ascii_end());
        let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
        let pid = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
        let thread = Thread { since: now, pid: pid.unwrap_or(tid), name };
        if self.threads.len() >= MOST_THREADS {
            self.threads.clear();
        }
        self.threads.insert(tid, thread);
        thread
    }
}

impl Observe for Shared {
    fn request(&self, _: &Sqe, _: &Context) {}

    fn request_of(&self, by: Submitter, _: &Sqe, context: &Context) -> io::Result<()> {
        let now = SystemTime::now();
        let mut state = self.state();
        let thread = state.thread(by.tid, now);
        let request = Request {
            time: nanoseconds(now).into(),
            ring: (by.ring + 1).into(),
            pid: thread.pid.into(),
            tid: by.tid.into(),
            program: thread.name,
            rule: NO_RULE.into(),
            verdict: Verdict::Allow as u8,
            complete: context.is_complete().into(),
            words: words(context),
            ..Request::default()
        };
        self.push(&mut state, &Item::Request(request))
    }

    fn setup(&self, entries: u32, params: &Params) {
        self.put_off(&Item::Ring { entries, flags: params.flags, cq_entries: params.cq_entries });
    }

    fn register(&self, op: RegisterOp) {
        self.put_off(&Item::Register(op.0));
    }

    fn ended(&self) {
        // Whoever waits for the answer hears of it.
        let _ = self.send(&mut self.state());
    }
}

impl<A: Audit> Audit for Recorded<A> {
    fn refused(&mut self, refusal: &Refusal) -> io::Result<()> {
        if let Refused::Request { context, denial, .. } = &refusal.request {
            let shared = &self.shared;
            let origin = shared.enforcement.as_ref().and_then(|judge| judge.origin(denial, context));
            let mut state = shared.state();
            let rule = origin.map(|origin| {
                let rule = &origin.rule;
                shared.rule(&mut state, format!("{} at {}:{}", rule.key, rule.file, rule.line))
            });
            let request = Request {
                time: nanoseconds(refusal.time).into(),
                pid: refusal.pid.into(),
                tid: refusal.tid.into(),
                program: comm_of(refusal.program.as_bytes()),
                rule: rule.transpose()?.unwrap_or(NO_RULE).into(),
                verdict: if refusal.permitted { Verdict::Permit } else { Verdict::Deny } as u8,
                complete: context.is_complete().into(),
                words: words(context),
                ..Request::default()
            };
            shared.push(&mut state, &Item::Request(request))?;
        }
        self.audit.refused(refusal)
    }

    fn killed(&mut self, killed: &Killed) {
        self.audit.killed(killed);
    }

    fn made(&mut self) {
        self.audit.made();
    }

    fn ended(&mut self) {
        // What was refused at last is told after the observer's end.
        let _ = self.shared.send(&mut self.shared.state());
        self.audit.ended();
    }
}

/// Of an SQE what every tracepoint tells.
fn header(opcode: Opcode, flags: SqeFlags, user_data: u64) -> Sqe {
    Sqe { opcode: opcode.0, flags: flags.bits(), user_data, ..Sqe::default() }
}

/// A name as the kernel has it (`TASK_COMM_LEN`): cut, with a NUL behind it.
fn comm_of(name: &[u8]) -> [u8; 16] {
    let mut comm = [0; 16];
    let length = name.len().min(15);
    comm[..length].copy_from_slice(&name[..length]);
    comm
}

/// The words of a context of the guard.
fn words(context: &Context) -> [ringwarden_trace::Word; WORDS] {
    let shown = context.words();
    std::array::from_fn(|word| shown.get(word).copied().unwrap_or_default().into())
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
