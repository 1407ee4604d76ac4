//! The process that reads what the kernel refuses, for lanes in which the kernel does.

use super::{Log, Tally, write_line};
use ringwarden::launch::{Bond, Companion, wait};
use ringwarden::refusals::{InUse, Scope, Stream};
use rustix::fd::AsFd;
use rustix::process::Pid;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// What it says when it begins.
#[derive(Serialize, Deserialize)]
enum Beginning {
    Listens,
    Unavailable(String),
}

/// By this byte it is told that nobody is left to listen to.
const OVER: u8 = b'.';

/// How long it stays when all has been said.
const LINGERING: Duration = Duration::from_millis(100);

/// The exit status when a record cannot be written.
const UNRECORDED: u8 = 1;

/// Reads what is refused to a program and its descendants, in a process of its own. That outlives its parent, should
/// the parent be killed, until the last of them has ended.
pub(crate) struct Reader {
    companion: Companion,
    /// Where the program must not run on without being listened to.
    bond: Option<Arc<Bond>>,
}

impl Reader {
    /// Starts it. It listens to nobody yet. The process takes `in_use` over.
    ///
    /// # Errors
    /// No process can be had.
    pub(crate) fn start(log: Log, in_use: Option<InUse>) -> io::Result<Self> {
        let strict = log.file.is_some();
        let companion = Companion::start(|stream| read(stream, log, in_use))?;
        let bond = strict.then(|| companion.bond().map(Arc::new)).transpose()?;
        Ok(Self { companion, bond })
    }

    /// What has it listen to a process and whatever that starts from then on.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub(crate) fn ear(&self) -> io::Result<Ear> {
        Ok(Ear { reader: self.companion.pid(), stream: self.companion.stream().try_clone()? })
    }

    /// What binds the program to it, where it must not run on without being listened to.
    pub(crate) fn bond(&self) -> Option<Arc<Bond>> {
        self.bond.clone()
    }

    /// Has it come to an end, unless descendants are left who must be listened to; what it has counted.
    pub(crate) fn end(self) -> Tally {
        if self.bond.is_some_and(|bond| !bond.nobody_else_is_left()) {
            return Tally::default();
        }
        let mut stream = self.companion.stream();
        let mut text = String::new();
        // Where nobody is left, it has told already. It ends by itself, a little later.
        let _ = stream.write_all(&[OVER]);
        // Where nothing has begun it waits for more than that.
        let _ = stream.shutdown(Shutdown::Write);
        let told = BufReader::new(stream).read_line(&mut text);
        told.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default()
    }
}

/// See [`Reader::ear`].
pub(crate) struct Ear {
    reader: Pid,
    stream: UnixStream,
}

impl Ear {
    /// Comes back when it listens.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn listen_to(self, process: Pid) -> io::Result<()> {
        let mut line = String::new();
        // A byte at a time: what follows is not for now.
        let mut answer = BufReader::with_capacity(1, &self.stream);
        let asked = (&self.stream).write_all(&process.as_raw_nonzero().get().to_ne_bytes());
        let heard = asked.and_then(|()| answer.read_line(&mut line));
        let reason = match heard.and_then(|_| Ok(serde_json::from_str(&line)?)) {
            Ok(Beginning::Listens) => return Ok(()),
            Ok(Beginning::Unavailable(reason)) => reason,
            Err(error) => format!("the process that would read them is gone ({error})"),
        };
        // Fails only where the kernel collects children by itself.
        let _ = wait::end(self.reader);
        Err(io::Error::other(reason))
    }
}

/// Reads until it is told to end, or nobody is left. Gives the exit status.
fn read(talk: UnixStream, mut log: Log, in_use: Option<InUse>) -> u8 {
    // Takes its time, which others use meanwhile.
    let in_use = in_use.map_or_else(InUse::begin, Ok);
    let mut process = [0; 4];
    if (&talk).read_exact(&mut process).is_err() {
        return 0;
    }
    let process = Scope::Process(i32::from_ne_bytes(process));
    let opened = in_use.and_then(|in_use| in_use.open(process).map(|stream| (in_use, stream)));
    let (_in_use, stream) = match opened {
        Ok(opened) => opened,
        Err(unavailable) => {
            let _ = write_line(&talk, &Beginning::Unavailable(unavailable.to_string()));
            return 0;
        }
    };
    if write_line(&talk, &Beginning::Listens).is_err() {
        return 0;
    }
    let ended = listen(stream, &talk, &mut log);
    log.lines.finish();
    match ended {
        Ok(()) => {
            let _ = write_line(&talk, &log.tally);
            drop((talk, log));
            linger();
            0
        }
        // Whoever is bound to this ends with it.
        Err(_) => UNRECORDED,
    }
}

/// Keeps the tracepoint in use for a moment, as the end of that takes long, and whoever begins to use it again waits for
/// it: another `run`, which often follows.
fn linger() {
    // Whoever waits for the end of what this could write does not wait for this. Fails without /dev/null.
    let nothing = File::options().read(true).write(true).open("/dev/null");
    if let Ok(nothing) = nothing
        && let (Ok(()), Ok(()), Ok(())) = (dup2_stdin(&nothing), dup2_stdout(&nothing), dup2_stderr(&nothing))
    {
        std::thread::sleep(LINGERING);
    }
}

fn listen(mut stream: Stream, talk: &UnixStream, log: &mut Log) -> io::Result<()> {
    let mut parent = true;
    loop {
        let told = stream.wait(parent.then(|| talk.as_fd()), None)?;
        log.drained(&stream.drain())?;
        if told {
            let mut byte = [0];
            let mut talk = talk;
            let said = matches!(talk.read(&mut byte), Ok(1));
            if said || log.file.is_none() {
                break;
            }
            // The parent has been killed, or does not wait for everybody; whoever must be listened to still is.
            parent = false;
        }
        if stream.is_over() {
            break;
        }
    }
    log.drained(&stream.finish()?)
}
