//! A program to be started under policies, by any thread of any process.

use crate::Choice;
use crate::run::RunError;
use crate::supervisor::{self, Outcome, Plan};
use ringwarden_kernel::{ConfineFailure, Kernel};
use ringwarden_launch::{ExecError, Given, Variables};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Output, Stdio};

/// A program that will run under policies, and everything it starts: [`std::process::Command`] with a lane.
///
/// In the lane [`Tasks`](crate::Lane::Tasks) the child is the program, natively: the kernel's filters are put in force between
/// fork and exec. In the other lanes the child is the *supervisor*, a process that makes the program's rings and stands in
/// for it: it passes on signals that processes send it, stops as the program stops, and ends as the program has ended,
/// when the program's descendants have, too. Killed, it takes the program with it. Its standard descriptors are the
/// program's, and stay open until it ends.
///
/// The supervisor is the calling program itself, executed again, if its `main` begins with
/// [`supervise_if_asked`](crate::supervise_if_asked), or another program that does so
/// ([`supervised_by`](Self::supervised_by)). The calling process may have any number of threads, and nothing about it
/// changes.
///
/// In all lanes `no_new_privs` is set for the program, and io_urings among the descriptors that it would inherit are
/// closed.
///
/// ```no_run
/// use ringwarden::{Choice, Command, policy::Policy};
/// use std::process::Stdio;
///
/// ringwarden::supervise_if_asked(); // first in `main`
/// let choice = Choice::here(&[Policy::from_file("@container-default")?])?;
/// let mut command = Command::new("fio", &choice)?;
/// let child = command.arg("job.fio").env("TMPDIR", "/scratch").stdout(Stdio::piped()).spawn()?;
/// let output = child.wait_with_output()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An asynchronous runtime, which has children of its own, takes the [`std::process::Command`] that this becomes, as in
/// `tokio::process::Command::from(std::process::Command::try_from(command)?)`.
#[derive(Debug)]
pub struct Command {
    program: OsString,
    folder: Option<PathBuf>,
    way: Way,
    std: std::process::Command,
    /// What is put on children at the last; nothing once `std` has it.
    last: Option<Last>,
    /// Which standard descriptors were set.
    set: [bool; 3],
}

/// What the child is.
#[derive(Debug)]
enum Way {
    /// The program.
    Native(Option<ConfineFailure>),
    /// A supervisor.
    Supervised {
        /// Where its report comes.
        reports: OwnedFd,
        /// The program's environment.
        variables: Variables,
    },
}

/// What a child does between fork and exec, behind all that its caller wants done there.
#[derive(Debug)]
enum Last {
    Confine(Kernel),
    Keep(Given),
}

impl Command {
    /// `program` is looked up in `PATH`, as ever. In a lane that takes a supervisor, that is the calling program.
    ///
    /// # Errors
    /// [`RunError::NoSupervisor`]: it has never called [`supervise_if_asked`](crate::supervise_if_asked), or too late.
    /// [`RunError::Start`]: descriptors cannot be made.
    pub fn new(program: impl AsRef<OsStr>, choice: &Choice) -> Result<Self, RunError> {
        match choice {
            Choice::Tasks { kernel, .. } => Ok(Self::native(program.as_ref(), kernel)),
            _ => Self::supervised_by(supervisor::this_program(choice.lane())?, program, choice),
        }
    }

    /// The same; the supervisor, where the lane takes one, is the program `supervisor`: `ringwarden` of this very version,
    /// or any that begins with [`supervise_if_asked`](crate::supervise_if_asked) of it.
    ///
    /// # Errors
    /// [`RunError::Start`]: descriptors cannot be made.
    pub fn supervised_by(
        supervisor: impl AsRef<Path>,
        program: impl AsRef<OsStr>,
        choice: &Choice,
    ) -> Result<Self, RunError> {
        let program = program.as_ref();
        if let Choice::Tasks { kernel, .. } = choice {
            return Ok(Self::native(program, kernel));
        }
        let (reports, report) = Outcome::channel()?;
        let mut std = std::process::Command::new(supervisor.as_ref());
        let given = Given::new(Plan::of(choice)?.write()?, report, &mut std)?;
        std.arg(program);
        Ok(Self::of(
            program,
            Way::Supervised { reports, variables: Variables::default() },
            std,
            Last::Keep(given),
        ))
    }

    fn native(program: &OsStr, kernel: &Kernel) -> Self {
        let std = std::process::Command::new(program);
        Self::of(program, Way::Native(None), std, Last::Confine(kernel.clone()))
    }

    fn of(program: &OsStr, way: Way, std: std::process::Command, last: Last) -> Self {
        Self { program: program.to_owned(), folder: None, way, std, last: Some(last), set: [false; 3] }
    }

    /// One more argument for the program.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.std.arg(argument);
        self
    }

    /// More arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.std.args(arguments);
        self
    }

    /// Sets a variable of its environment. A supervisor's own environment is the caller's, whatever the program's is.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        match &mut self.way {
            Way::Supervised { variables, .. } => {
                variables.set(&mut self.std, key.as_ref(), Some(value.as_ref()));
            }
            Way::Native(_) => {
                self.std.env(key, value);
            }
        }
        self
    }

    /// Sets several.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Self {
        variables.into_iter().for_each(|(key, value)| {
            self.env(key, value);
        });
        self
    }

    /// Takes a variable out of its environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        match &mut self.way {
            Way::Supervised { variables, .. } => variables.set(&mut self.std, key.as_ref(), None),
            Way::Native(_) => {
                self.std.env_remove(key);
            }
        }
        self
    }

    /// Gives it no variables of the calling process.
    pub fn env_clear(&mut self) -> &mut Self {
        match &mut self.way {
            Way::Supervised { variables, .. } => variables.clear(&mut self.std),
            Way::Native(_) => {
                self.std.env_clear();
            }
        }
        self
    }

    /// The folder that it runs in.
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Self {
        self.folder = Some(folder.as_ref().to_owned());
        self.std.current_dir(folder);
        self
    }

    /// Its standard input: the caller's, but for [`output`](Self::output).
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.set[0] = true;
        self.std.stdin(stdin);
        self
    }

    /// Its standard output, likewise.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.set[1] = true;
        self.std.stdout(stdout);
        self
    }

    /// Its standard error, likewise.
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.set[2] = true;
        self.std.stderr(stderr);
        self
    }

    /// Its user, as of [`CommandExt::uid`]; a supervisor's, too.
    pub fn uid(&mut self, uid: u32) -> &mut Self {
        self.std.uid(uid);
        self
    }

    /// Its group, likewise.
    pub fn gid(&mut self, gid: u32) -> &mut Self {
        self.std.gid(gid);
        self
    }

    /// Its process group, likewise; 0 is one of its own.
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.std.process_group(group);
        self
    }

    /// For what else the standard library offers before the first [`spawn`](Self::spawn), such as `pre_exec`: all of it comes
    /// before the policies are in force. Environment and standard descriptors are for the methods of this type. An `arg0`
    /// would be the supervisor's.
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.std
    }

    /// Starts the program, and returns when it has been executed.
    ///
    /// # Errors
    /// See [`RunError`]; the program has not run.
    pub fn spawn(&mut self) -> Result<Child, RunError> {
        self.put_last()?;
        // Of children that somebody else has started by this command.
        match &self.way {
            Way::Native(failure) => while failure.as_ref().is_some_and(|failure| failure.take().is_some()) {},
            Way::Supervised { reports, .. } => while let Ok(Some(_)) = Outcome::receive(reports) {},
        }
        let spawned = self.std.spawn();
        match (&self.way, spawned) {
            (Way::Native(_), Ok(child)) => Ok(child),
            (Way::Native(failure), Err(error)) => {
                let confine = failure.as_ref().and_then(ConfineFailure::take);
                Err(confine.map_or_else(|| self.not_spawned(error), RunError::Confine))
            }
            (Way::Supervised { .. }, Err(error)) => Err(self.not_spawned(error)),
            (Way::Supervised { reports, .. }, Ok(mut child)) => match report(reports, &child) {
                Ok(Some(Outcome::Runs)) => Ok(child),
                other => {
                    // Whatever the reason, nobody runs on whose start has failed.
                    let _ = child.kill();
                    // None where somebody else collects children.
                    let status = child.wait().map_or_else(|_| String::new(), |status| format!(" ({status})"));
                    Err(match other? {
                        Some(Outcome::NotExecuted { errno }) => {
                            self.not_executed(io::Error::from_raw_os_error(errno))
                        }
                        Some(Outcome::Failed { reason }) => RunError::Supervisor(reason),
                        _ => RunError::Supervisor(format!(
                            "{} ended without a word{status}: does its `main` begin with \
                             `ringwarden::supervise_if_asked`?",
                            self.std.get_program().display()
                        )),
                    })
                }
            },
        }
    }

    /// Runs the program to its end, with the caller's standard descriptors where none are set.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn status(&mut self) -> Result<ExitStatus, RunError> {
        Ok(self.spawn()?.wait()?)
    }

    /// Runs the program to its end, and collects what it writes; with no standard input where none is set.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn output(&mut self) -> Result<Output, RunError> {
        let set = self.set;
        self.set_others(set, [Stdio::null, Stdio::piped, Stdio::piped]);
        let child = self.spawn();
        self.set_others(set, [Stdio::inherit; 3]);
        Ok(child?.wait_with_output()?)
    }

    fn set_others(&mut self, set: [bool; 3], others: [fn() -> Stdio; 3]) {
        let setters =
            [std::process::Command::stdin, std::process::Command::stdout, std::process::Command::stderr];
        for ((set, other), setter) in set.into_iter().zip(others).zip(setters) {
            if !set {
                setter(&mut self.std, other());
            }
        }
    }

    /// Has children do the last things, once the caller has said all that comes before.
    fn put_last(&mut self) -> io::Result<()> {
        match self.last.take() {
            Some(Last::Confine(kernel)) => match kernel.confine(&mut self.std) {
                Ok(failure) => self.way = Way::Native(Some(failure)),
                Err(error) => {
                    self.last = Some(Last::Confine(kernel));
                    return Err(error);
                }
            },
            Some(Last::Keep(given)) => given.keep(&mut self.std),
            None => {}
        }
        Ok(())
    }

    /// Why the system has started no child.
    fn not_spawned(&self, error: io::Error) -> RunError {
        use io::ErrorKind::{ArgumentListTooLong, InvalidInput, NotADirectory, NotFound, PermissionDenied};
        if let (Some(folder), NotFound | NotADirectory | PermissionDenied) = (&self.folder, error.kind())
            && let Err(error) = std::fs::read_dir(folder)
        {
            return RunError::Folder { folder: folder.clone(), error };
        }
        match (&self.way, error.kind()) {
            (_, InvalidInput) => error.into(),
            (Way::Native(_), _) | (_, ArgumentListTooLong) => self.not_executed(error),
            (_, NotFound | PermissionDenied) => {
                let supervisor = self.std.get_program().display();
                RunError::Supervisor(format!("{supervisor}, which is to supervise the program: {error}"))
            }
            _ => error.into(),
        }
    }

    fn not_executed(&self, error: io::Error) -> RunError {
        ExecError::new(self.program.to_string_lossy(), error).into()
    }
}

/// What is left of it for others to start: why the program was not executed, if so, a supervisor then tells on standard
/// error and by its exit status, as `ringwarden run` does.
impl TryFrom<Command> for std::process::Command {
    type Error = io::Error;

    fn try_from(mut command: Command) -> io::Result<Self> {
        command.put_last()?;
        Ok(command.std)
    }
}

/// Waits for a supervisor's report; `None` where it ends without one.
fn report(reports: &OwnedFd, child: &Child) -> io::Result<Option<Outcome>> {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(Errno::SRCH)?;
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => {
            let mut fds = [PollFd::new(reports, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
            while let Err(error) = poll(&mut fds, None) {
                if error != Errno::INTR {
                    return Err(error.into());
                }
            }
        }
        // It has ended, and somebody else has collected it.
        Err(Errno::SRCH) => {}
        Err(error) => return Err(error.into()),
    }
    // What it sends before its end is there by then, whichever of the two was seen first.
    Outcome::receive(reports)
}
