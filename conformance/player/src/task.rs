//! The tasks of a script, as real processes and threads.

use crate::queue::Queue;
use crate::register::{self, Subject, errno};
use crate::{Args, Filters, fresh, privileges};
use anyhow::{Context, anyhow, bail};
use ringwarden_conformance::{Action, Outcome, Request, ScriptCase, Target};
use ringwarden_testring::SetupFlags;
use ringwarden_uapi::KernelModel;
use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The tasks' ends of their channels, by name.
pub(crate) type Channels = HashMap<String, UnixStream>;

type Pipe = (PipeReader, PipeWriter);

/// What a task acts on. Threads share it, children begin with a copy.
#[derive(Clone)]
pub(crate) struct Stage {
    case: Arc<ScriptCase>,
    file: String,
    model: KernelModel,
    filters: Filters,
    channels: Arc<Channels>,
    /// In the order in which they were made.
    rings: Arc<Mutex<Vec<(String, Queue)>>>,
    pipes: Arc<Mutex<Vec<(String, Pipe)>>>,
}

/// Goes on as a task that has called exec, without any ring: they are closed then.
pub(crate) fn resume(case: &ScriptCase, file: &str, task: &str, args: &Args) -> anyhow::Result<()> {
    let mut channels = Channels::new();
    for channel in &args.channel {
        let (name, fd) = channel.split_once('=').context("TASK=FD")?;
        let fd = fd.parse().context("TASK=FD")?;
        // SAFETY: whoever called exec left it open for this, and for nothing else.
        #[allow(unsafe_code)]
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        channels.insert(name.to_owned(), fd.into());
    }
    let stage = Stage::new(case, file, args, channels);
    let channel = stage.channels.get(task).context("no channel")?;
    reply(channel, Ok(Outcome::returned(0)))?;
    stage.serve(task);
    Ok(())
}

impl Stage {
    pub(crate) fn new(case: &ScriptCase, file: &str, args: &Args, channels: Channels) -> Self {
        Self {
            case: Arc::new(case.clone()),
            file: file.to_owned(),
            model: args.kernel,
            filters: args.filters,
            channels: Arc::new(channels),
            rings: Arc::default(),
            pipes: Arc::default(),
        }
    }

    /// Acts as `task` until nobody gives it a cue any more.
    pub(crate) fn serve(&self, task: &str) {
        let Some(mut channel) = self.channels.get(task) else { return };
        let mut number = [0; 4];
        while channel.read_exact(&mut number).is_ok() {
            let outcome = self.act(task, u32::from_ne_bytes(number) as usize);
            if reply(channel, outcome).is_err() {
                return;
            }
        }
    }

    fn act(&self, task: &str, number: usize) -> anyhow::Result<Outcome> {
        let step = self.case.steps.get(number).context("no such step")?;
        // Kernels differ in results, not in how many completions there are.
        let expected = step.expect(self.model).cqes.as_ref().map(Vec::len);
        let mut cqes = Vec::new();
        let returned = match &step.action {
            Action::Spawn { how, child } => self.spawn(how, child)?,
            Action::Exec => return Err(self.exec(task)),
            Action::DropPrivileges => privileges::drop_all(),
            Action::NoNewPrivs => privileges::give_up_new(),
            Action::UnshareUser => privileges::unshare_user(),
            Action::Ring { ring, setup } => self.make(ring, *setup),
            Action::Filter { target, filter, times } => self.on(target, |subject| {
                for _ in 1..*times {
                    let returned = register::filter(subject, filter)?;
                    if returned != 0 {
                        return Ok(returned);
                    }
                }
                register::filter(subject, filter)
            })?,
            Action::Restrict { target, entries } => {
                self.on(target, |subject| register::restrict(subject, entries))?
            }
            Action::Pipe { pipe } => {
                self.pipes().push((pipe.clone(), io::pipe()?));
                0
            }
            Action::Fill { pipe } => {
                let pipes = self.pipes();
                let found = pipes.iter().find(|(name, _)| name == pipe);
                let (_, (_, writer)) = found.with_context(|| format!("no pipe {pipe}"))?;
                let mut writer = writer;
                writer.write_all(&[0])?;
                0
            }
            Action::Enable { ring } => self.ring(ring, |queue| Ok(queue.enable()))?,
            Action::Register { ring, op } => self.ring(ring, |queue| queue.register(*op))?,
            Action::Submit { ring, request } => {
                let fd = self.named_fd(request)?;
                self.ring(ring, |queue| queue.submit_next(request, fd))?
            }
            Action::Enter { ring, min_complete, requests } => {
                let fds = requests.iter().map(|request| self.named_fd(request));
                let fds = fds.collect::<Result<Vec<_>, _>>()?;
                self.ring(ring, |queue| {
                    for (request, fd) in requests.iter().zip(fds) {
                        queue.push_next(request, fd)?;
                    }
                    let returned = queue.enter(*min_complete);
                    if let Some(count) = expected {
                        cqes = queue.wait(count)?;
                    }
                    Ok(returned)
                })?
            }
            Action::Complete { ring } => {
                cqes = self.ring(ring, |queue| Ok(queue.wait(expected.unwrap_or_default())?))?;
                0
            }
            other => bail!("{other:?} is not acted out"),
        };
        Ok(Outcome { returned, cqes })
    }

    fn rings(&self) -> MutexGuard<'_, Vec<(String, Queue)>> {
        // Tasks act in turn: who died with the lock has said so.
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pipes(&self) -> MutexGuard<'_, Vec<(String, Pipe)>> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring<T>(&self, name: &str, act: impl FnOnce(&mut Queue) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut rings = self.rings();
        let found = rings.iter_mut().find(|(other, _)| other == name);
        act(&mut found.with_context(|| format!("no ring {name}"))?.1)
    }

    fn on(
        &self,
        target: &Target,
        act: impl FnOnce(Subject<'_>) -> anyhow::Result<i32>,
    ) -> anyhow::Result<i32> {
        match target {
            Target::Task => act(Subject::Task),
            Target::Ring(name) => self.ring(name, |queue| act(Subject::Ring(queue.fd()))),
        }
    }

    fn make(&self, name: &str, setup: SetupFlags) -> i32 {
        let mut rings = self.rings();
        let sister = rings.last().map(|(_, queue)| queue);
        let sister = sister.filter(|_| setup.contains(SetupFlags::ATTACH_WQ));
        match Queue::new(setup, sister) {
            Ok(queue) => {
                rings.push((name.to_owned(), queue));
                0
            }
            Err(error) => errno(&error),
        }
    }

    /// The descriptor of the ring that a request is a message to, or of the pipe that it reads.
    fn named_fd(&self, request: &Request) -> anyhow::Result<Option<RawFd>> {
        if let Some(name) = request.from() {
            let pipes = self.pipes();
            let found = pipes.iter().find(|(other, _)| other == name);
            let (_, (reader, _)) = found.with_context(|| format!("no pipe {name}"))?;
            return Ok(Some(reader.as_raw_fd()));
        }
        request.to().map(|name| self.ring(name, |queue| Ok(queue.fd().as_raw_fd()))).transpose()
    }

    fn spawn(&self, how: &str, child: &str) -> anyhow::Result<i32> {
        let (stage, name) = (self.clone(), child.to_owned());
        let act = move || stage.serve(&name);
        match how {
            "fork" => {
                fresh::fork(act)?;
            }
            "clone_vm" => fresh::clone_vm(act)?,
            "thread" => {
                std::thread::Builder::new().spawn(act)?;
            }
            other => bail!("{other} is not acted out"),
        }
        Ok(0)
    }

    /// Starts this program again, which then answers in this task's place.
    fn exec(&self, task: &str) -> anyhow::Error {
        let mut command = Command::new("/proc/self/exe");
        command.args(["--kernel", &self.model.to_string(), "--resume", task]);
        if self.filters == Filters::EndAt {
            command.args(["--filters", "end-at"]);
        }
        for (name, channel) in self.channels.iter() {
            command.arg("--channel").arg(format!("{name}={}", channel.as_fd().as_raw_fd()));
        }
        anyhow!(command.args([&self.file, &self.case.name]).exec())
    }
}

fn reply(mut channel: &UnixStream, outcome: anyhow::Result<Outcome>) -> io::Result<()> {
    let outcome = outcome.map_err(|error| format!("{error:#}"));
    let mut line = serde_json::to_vec(&outcome)?;
    line.push(b'\n');
    channel.write_all(&line)
}
