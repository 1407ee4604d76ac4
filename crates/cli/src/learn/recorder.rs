//! Counts what passes the guard, tells of it while the program runs, and hands it over at the end.
//!
//! The guard is a process of its own, a copy of this one. What it counts goes back through a file in
//! memory that both have: the program has it not.

use ringwarden::Enforcement;
use ringwarden::filter::{Context, Verdict};
use ringwarden::guard::Observe;
use ringwarden::learn::Observations;
use ringwarden::uapi::RegisterOp;
use ringwarden::uapi::ring::{Params, Sqe};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IsTerminal, Read, Seek, Write, stderr};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

/// How often the terminal and the file are brought up to date.
const TICK: Duration = Duration::from_millis(250);

/// Clears the terminal's line.
const CLEAR: &str = "\r\x1b[K";

/// Observes a program for `learn`.
pub(super) struct Recorder {
    shared: Arc<Shared>,
    /// The thread that ticks is started in the guard's process.
    ticking: Once,
}

/// What a run has shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) observations: Observations,
    /// What the policy that was edited would have refused: names of operations, register calls, rings.
    pub(super) lacking: Vec<String>,
}

impl Outcome {
    /// Adds what others have seen.
    pub(super) fn join(&mut self, other: Self) {
        self.observations.merge(&other.observations);
        let all = std::mem::take(&mut self.lacking).into_iter().chain(other.lacking);
        self.lacking = all.collect::<BTreeSet<_>>().into_iter().collect();
    }
}

struct Shared {
    state: Mutex<State>,
    file: File,
    kept: Option<Enforcement>,
    /// Whether the last line has been printed.
    silent: Mutex<bool>,
}

#[derive(Default)]
struct State {
    observations: Observations,
    lacking: BTreeSet<String>,
    /// Since the file was brought up to date.
    changed: bool,
}

impl Recorder {
    /// `kept` is a policy that stays: what it would refuse is reported.
    pub(super) fn new(kept: Option<Enforcement>) -> std::io::Result<Self> {
        let file = File::from(memfd_create("ringwarden-learn", MemfdFlags::CLOEXEC)?);
        let state = State { observations: Observations::new(), ..State::default() };
        let shared = Shared { state: Mutex::new(state), file, kept, silent: Mutex::new(false) };
        shared.save();
        Ok(Self { shared: Arc::new(shared), ticking: Once::new() })
    }

    /// What was seen, once the guard is gone.
    pub(super) fn outcome(&self) -> Result<Outcome, String> {
        let mut text = String::new();
        let mut file = &self.shared.file;
        file.rewind().and_then(|()| file.read_to_string(&mut text)).map_err(|error| error.to_string())?;
        serde_json::from_str(&text)
            .map_err(|error| format!("the guard has not handed over what it saw: {error}"))
    }

    fn record(&self, record: impl FnOnce(&mut State)) {
        self.ticking.call_once(|| {
            let shared = Arc::clone(&self.shared);
            // Without the thread everything is told at the end.
            let _ = std::thread::Builder::new().name("learn".into()).spawn(move || shared.tick());
        });
        let mut state = self.shared.state();
        state.changed = true;
        record(&mut state);
    }
}

impl Observe for Recorder {
    fn request(&self, _sqe: &Sqe, context: &Context) {
        let kept = self.shared.kept.as_ref();
        let refused = kept.is_some_and(|kept| kept.filters().verdict(context) != Verdict::Allow);
        self.record(|state| {
            state.observations.request(context.words());
            if refused {
                state.lacking.insert(context.opcode().to_string());
            }
        });
    }

    fn setup(&self, entries: u32, params: &Params) {
        let kept = self.shared.kept.as_ref();
        let refused = kept.is_some_and(|kept| !kept.calls().setup.allow(entries, params));
        self.record(|state| {
            state.observations.setup(entries, params);
            if refused {
                state.lacking.insert("rings".into());
            }
        });
    }

    fn register(&self, op: RegisterOp) {
        let refused = self.shared.kept.as_ref().is_some_and(|kept| !kept.calls().register.allow(op));
        self.record(|state| {
            state.observations.register(op);
            if refused {
                state.lacking.insert(format!("register {op}"));
            }
        });
    }

    fn ended(&self) {
        let mut silent = self.shared.silent.lock().unwrap_or_else(PoisonError::into_inner);
        *silent = true;
        if stderr().is_terminal() {
            let _ = stderr().write_all(CLEAR.as_bytes());
        }
        drop(silent);
        self.shared.save();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings file and terminal up to date, again and again, in a thread of its own: a terminal that takes
    /// no more text must not hold up the program.
    fn tick(&self) {
        let terminal = stderr().is_terminal();
        loop {
            std::thread::sleep(TICK);
            if !self.state().changed {
                continue;
            }
            self.save();
            let line = self.line();
            let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
            if *silent {
                return;
            }
            if terminal {
                let _ = stderr().write_all(line.as_bytes());
            }
        }
    }

    fn line(&self) -> String {
        format!("{CLEAR}learning: {}", self.state().observations)
    }

    /// Replaces what the file holds. It is read when nobody writes any more.
    fn save(&self) {
        let mut state = self.state();
        state.changed = false;
        let outcome = Outcome {
            observations: state.observations.clone(),
            lacking: state.lacking.iter().cloned().collect(),
        };
        if let Ok(text) = serde_json::to_vec(&outcome) {
            let written = self.file.set_len(0).and_then(|()| self.file.write_all_at(&text, 0));
            state.changed |= written.is_err();
        }
    }
}
