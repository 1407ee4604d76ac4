//! A program to be started under policies, by any thread of any process.

use crate::run::RunError;
use crate::supervisor::{self, Outcome, Plan};
use crate::{Choice, Lane};
use ringwarden_kernel::ConfineFailure;
use ringwarden_launch::{ExecError, Handover};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Child, ExitStatus, Output, Stdio};

/// A program that will run under policies, and everything it starts: [`std::process::Command`] with a lane.
///
/// In the lane [`Tasks`](Lane::Tasks) the child is the program, natively: the kernel's filters are put in force between
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
/// `tokio::process::Command::from(std::process::Command::from(command))`.
#[derive(Debug)]
pub struct Command {
    program: OsString,
    way: Way,
    std: std::process::Command,
    /// Which standard descriptors were set.
    set: [bool; 3],
}

/// What the child is.
#[derive(Debug)]
enum Way {
    /// The program.
    Native(ConfineFailure),
    /// A supervisor, whose reports come here.
    Supervised(OwnedFd),
}

impl Command {
    /// `program` is looked up in `PATH`, as ever. In a lane that takes a supervisor, that is the calling program.
    ///
    /// # Errors
    /// [`RunError::NoSupervisor`]: it has never called [`supervise_if_asked`](crate::supervise_if_asked).
    /// [`RunError::Start`]: descriptors cannot be made.
    pub fn new(program: impl AsRef<OsStr>, choice: &Choice) -> Result<Self, RunError> {
        match choice {
            Choice::Tasks { .. } => Self::native(program.as_ref(), choice),
            _ => {
                let by = supervisor::this_program().ok_or(RunError::NoSupervisor(choice.lane()))?;
                Self::supervised_by(by, program, choice)
            }
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
        if choice.lane() == Lane::Tasks {
            return Self::native(program, choice);
        }
        let (reports, report) = Outcome::channel()?;
        let mut std = std::process::Command::new(supervisor.as_ref());
        Handover::give(Plan::of(choice)?.write()?, report, &mut std)?;
        std.arg(program);
        Ok(Self { program: program.to_owned(), way: Way::Supervised(reports), std, set: [false; 3] })
    }

    fn native(program: &OsStr, choice: &Choice) -> Result<Self, RunError> {
        let mut std = std::process::Command::new(program);
        let Choice::Tasks { kernel, .. } = choice else { return Err(RunError::NoSupervisor(choice.lane())) };
        let failure = kernel.confine(&mut std)?;
        Ok(Self { program: program.to_owned(), way: Way::Native(failure), std, set: [false; 3] })
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

    /// Sets a variable of its environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.std.env(key, value);
        self
    }

    /// Sets several.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Self {
        self.std.envs(variables);
        self
    }

    /// Takes a variable out of its environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.std.env_remove(key);
        self
    }

    /// Gives it no variables of the calling process.
    pub fn env_clear(&mut self) -> &mut Self {
        self.std.env_clear();
        self
    }

    /// The folder that it runs in.
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Self {
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

    /// For what else the standard library offers: user and group, process group, `pre_exec`. All of it comes before the
    /// policies are in force. An `arg0` would be the supervisor's.
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.std
    }

    /// Starts the program, and returns when it has been executed.
    ///
    /// # Errors
    /// See [`RunError`]; the program has not run.
    pub fn spawn(&mut self) -> Result<Child, RunError> {
        match &self.way {
            Way::Native(failure) => self.std.spawn().map_err(|error| match failure.take() {
                Some(error) => RunError::Confine(error),
                None => self.not_executed(error),
            }),
            Way::Supervised(reports) => {
                let mut child = self.std.spawn().map_err(|error| {
                    let supervisor = self.std.get_program().display();
                    RunError::Supervisor(format!("{supervisor}, which is to supervise the program: {error}"))
                })?;
                match report(reports, &child) {
                    Ok(Some(Outcome::Runs)) => Ok(child),
                    other => {
                        // Whatever the reason, nobody runs on whose start has failed.
                        let _ = child.kill();
                        let status = child.wait()?;
                        Err(match other? {
                            Some(Outcome::NotExecuted { errno }) => {
                                self.not_executed(io::Error::from_raw_os_error(errno))
                            }
                            Some(Outcome::Failed { reason }) => RunError::Supervisor(reason),
                            _ => RunError::Supervisor(format!(
                                "{} ended without a word ({status}): does its `main` begin with \
                                 `ringwarden::supervise_if_asked`?",
                                self.std.get_program().display()
                            )),
                        })
                    }
                }
            }
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
        let collecting = [Stdio::null, Stdio::piped, Stdio::piped];
        self.set_others(set, collecting);
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

    fn not_executed(&self, error: io::Error) -> RunError {
        ExecError::new(self.program.to_string_lossy(), error).into()
    }
}

/// What is left of it for others to start: why the program was not executed, if so, a supervisor then tells on standard
/// error and by its exit status, as `ringwarden run` does.
impl From<Command> for std::process::Command {
    fn from(command: Command) -> Self {
        command.std
    }
}

/// Waits for a supervisor's report; `None` where it ends without one.
fn report(reports: &OwnedFd, child: &Child) -> io::Result<Option<Outcome>> {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(Errno::SRCH)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let mut fds = [PollFd::new(reports, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
    while let Err(error) = poll(&mut fds, None) {
        if error != Errno::INTR {
            return Err(error.into());
        }
    }
    // Those that it makes before its end are there by then.
    let reported = fds[0].revents().contains(PollFlags::IN);
    if reported { Outcome::receive(reports).map(Some) } else { Ok(None) }
}
