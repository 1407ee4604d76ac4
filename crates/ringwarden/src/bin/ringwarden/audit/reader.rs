//! The process that reads what the kernel refuses, for lanes in which the kernel does.

use super::{Log, Tally};
use ringwarden::launch::{Bond, Companion};
use ringwarden::refusals::{InUse, Scope, Stream};
use rustix::fd::AsFd;
use rustix::process::Pid;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
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

/// Reads what is refused to the calling process's descendants, in a process of its own. That outlives its parent,
/// should the parent be killed, until the last of them has ended.
pub(crate) struct Reader {
    companion: Companion,
    /// Of the calling process, for as long as the program must not run on without this.
    bond: Option<Bond>,
}

impl Reader {
    /// Starts it. Whatever the calling process starts from then on is listened to. The process takes `in_use` over.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn start(log: Log, in_use: InUse) -> Result<Self, String> {
        let strict = log.file.is_some();
        let companion = Companion::start(|parent, stream| read(parent, stream, log));
        let companion = companion.map_err(|error| error.to_string())?;
        let mut line = String::new();
        // A byte at a time: what follows is not for now.
        let heard = BufReader::with_capacity(1, companion.stream()).read_line(&mut line);
        let reason = match heard.and_then(|_| Ok(serde_json::from_str(&line)?)) {
            Ok(Beginning::Listens) => None,
            Ok(Beginning::Unavailable(reason)) => Some(reason),
            Err(error) => Some(format!("the process that would read them is gone ({error})")),
        };
        if let Some(reason) = reason {
            companion.wait();
            return Err(reason);
        }
        drop(in_use);
        let bond = strict.then(|| companion.bond()).transpose().map_err(|error| error.to_string())?;
        Ok(Self { companion, bond })
    }

    /// What binds the program to it, where it must not run on without being listened to.
    pub(crate) fn bond(&self) -> io::Result<Option<Bond>> {
        self.bond.as_ref().map(|_| self.companion.bond()).transpose()
    }

    /// Has it come to an end, unless descendants are left who must be listened to; what it has counted.
    pub(crate) fn end(self) -> Tally {
        if self.bond.is_some_and(|bond| !bond.nobody_else_is_left()) {
            return Tally::default();
        }
        let mut stream = self.companion.stream();
        let mut text = String::new();
        let told = stream.write_all(&[OVER]).and_then(|()| BufReader::new(stream).read_line(&mut text));
        // It ends by itself, a little later.
        told.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default()
    }
}

/// Reads until it is told to end, or nobody is left. Gives the exit status.
fn read(parent: Pid, talk: UnixStream, mut log: Log) -> u8 {
    let parent = parent.as_raw_nonzero().get();
    let stream = match Stream::open(Scope::Process(parent)) {
        Ok(stream) => stream,
        Err(unavailable) => {
            let _ = say(&talk, &Beginning::Unavailable(unavailable.to_string()));
            return 0;
        }
    };
    if say(&talk, &Beginning::Listens).is_err() {
        return 0;
    }
    let ended = listen(stream, &talk, parent, &mut log);
    log.lines.finish();
    match ended {
        Ok(()) => {
            let _ = say(&talk, &log.tally);
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

/// Says it in a line.
fn say(mut talk: &UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    talk.write_all(&line)
}

fn listen(mut stream: Stream, talk: &UnixStream, parent: i32, log: &mut Log) -> io::Result<()> {
    // Whom not to listen to, for as long as that is who it was.
    let mut own = Some(parent);
    loop {
        let woken = stream.wait(own.map(|_| talk.as_fd()), None)?;
        log.drained(&stream.drain(), own)?;
        if woken.other {
            let mut byte = [0];
            let mut talk = talk;
            let said = matches!(talk.read(&mut byte), Ok(1));
            if said || log.file.is_none() {
                break;
            }
            // The parent has been killed, or does not wait for everybody; whoever must be listened to still is. The
            // parent's number may be somebody else's from now on.
            own = None;
        }
        if woken.over {
            break;
        }
    }
    log.drained(&stream.finish()?, own)
}
