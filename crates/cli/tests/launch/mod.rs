//! Starting programs natively, under a backend, and as another user.

#![allow(dead_code, reason = "each test file uses a part")]

use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};
use tempfile::TempDir;

/// The group of users whom tests play.
const NOBODY: u32 = 65534;

/// After this a program hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder that everybody can use, with what a test runs: the build folder may be closed to the user whom the test
/// plays.
pub(crate) struct Stage {
    folder: TempDir,
    user: Option<u32>,
    backend: &'static str,
}

impl Stage {
    /// For the calling user.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).expect("chmod");
        Self { folder, user: None, backend: "guard" }
    }

    /// For an ordinary user whom no other test plays, of nobody's group, or the calling user who is one already: what is
    /// closed counts against a user's limits until the kernel has come to it.
    pub(crate) fn unprivileged() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        const FIRST: u32 = 200_000;
        let next = || FIRST + 100 * (std::process::id() % 1000) + NEXT.fetch_add(1, Ordering::Relaxed);
        Self { user: is_root().then(next), ..Self::new() }
    }

    /// The same with that backend in place of the guard.
    pub(crate) fn with_backend(self, backend: &'static str) -> Self {
        Self { backend, ..self }
    }

    /// Which backend that is.
    pub(crate) fn backend(&self) -> &'static str {
        self.backend
    }

    /// Whether programs run as root.
    pub(crate) fn is_privileged(&self) -> bool {
        self.user.is_none() && is_root()
    }

    /// The user whom the test plays, if it is not the calling one.
    pub(crate) fn user(&self) -> Option<u32> {
        self.user
    }

    /// A new, empty folder that the program may write to.
    pub(crate) fn empty_folder(&self) -> PathBuf {
        let path = tempfile::tempdir_in(self.folder.path()).expect("a temporary folder").keep();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("chmod");
        path
    }

    /// One of `crates/testprograms`, by name.
    pub(crate) fn example(&self, name: &str) -> PathBuf {
        self.placed(&built(&format!("examples/{name}")))
    }

    /// `program`, natively.
    pub(crate) fn native(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path());
        if let Some(user) = self.user {
            command.uid(user).gid(NOBODY);
        }
        command
    }

    /// `program` under the backend with that policy; arguments can be added.
    pub(crate) fn guarded(&self, policy: &str, program: impl AsRef<OsStr>) -> Command {
        self.layered(&[policy], program)
    }

    /// The same with several policies, every one of which must allow.
    pub(crate) fn layered(&self, policies: &[impl AsRef<str>], program: impl AsRef<OsStr>) -> Command {
        let mut command = self.run(policies);
        command.arg("--").arg(program);
        command
    }

    /// The same as on that kernel.
    pub(crate) fn modelled(&self, policy: &str, model: impl ToString, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.run(&[policy]);
        command.args(["--model", &model.to_string(), "--"]).arg(program);
        command
    }

    /// The same with an audit file.
    pub(crate) fn audited(&self, policy: &str, audit: &Path, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.run(&[policy]);
        command.arg("--audit").arg(audit).arg("--").arg(program);
        command
    }

    /// The same with a word on standard error about what is refused.
    pub(crate) fn verbose(&self, policy: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.run(&[policy]);
        command.args(["--verbose", "--"]).arg(program);
        command
    }

    /// `program` in permissive mode, with more options of `run`.
    pub(crate) fn permissive(
        &self,
        policy: &str,
        options: &[impl AsRef<OsStr>],
        program: impl AsRef<OsStr>,
    ) -> Command {
        let mut command = self.native(self.ringwarden());
        command.args(["run", "--permissive", "-p"]).arg(self.file(policy));
        command.args(options).arg("--").arg(program);
        command
    }

    fn run(&self, policies: &[impl AsRef<str>]) -> Command {
        let mut command = self.native(self.ringwarden());
        command.args(["run", "--backend", self.backend]);
        for policy in policies {
            command.arg("-p").arg(self.file(policy.as_ref()));
        }
        command
    }

    /// The command line program itself.
    pub(crate) fn ringwarden(&self) -> PathBuf {
        self.placed(&built("ringwarden"))
    }

    /// A file with that policy.
    pub(crate) fn file(&self, policy: &str) -> PathBuf {
        let mut file =
            tempfile::Builder::new().suffix(".toml").tempfile_in(self.folder.path()).expect("a file");
        file.write_all(policy.as_bytes()).expect("write");
        let (_, path) = file.keep().expect("keep");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("chmod");
        path
    }

    /// Where that program is for everybody: a link to it, which no test may change, or a copy where the folder is of another
    /// file system or the kernel lets nobody link what is not theirs. Programs are large, and tests many.
    fn placed(&self, binary: &Path) -> PathBuf {
        let to = self.folder.path().join(binary.file_name().expect("a file"));
        match fs::hard_link(binary, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(_) => copy(binary, &to),
        }
        to
    }

    /// A program that the test may change, in a folder of its own.
    pub(crate) fn copy(&self, binary: &Path) -> PathBuf {
        let to = self.empty_folder().join(binary.file_name().expect("a file"));
        copy(binary, &to);
        to
    }
}

/// A copy of a program, which can be executed at once.
pub(crate) fn copy(from: &Path, to: &Path) {
    // Not `fs::copy`: a process that another test forks meanwhile would hold the copy open for writing, and it could not be
    // executed (ETXTBSY).
    let copied = Command::new("cp").arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "cannot copy {}", from.display());
}

/// What was built beside the test: it lies in `target/PROFILE/deps`, and on another machine in a folder
/// that is laid out likewise.
pub(crate) fn built(name: &str) -> PathBuf {
    const HOW: &str = "`cargo test --workspace` builds it, or `cargo build --workspace --bins --examples`";
    let test = env::current_exe().expect("own path");
    let built = test.ancestors().nth(2).expect("a build folder").join(name);
    assert!(built.exists(), "{name} is not built: {HOW}");
    assert!(!is_outdated(&built), "{name} is older than its sources: {HOW}");
    built
}

/// Whether some source of a program is newer. Cargo writes down beside a program what it is made of, and builds none of
/// another package for the sake of a test.
fn is_outdated(program: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|found| found.modified());
    let (Ok(built), Ok(made_of)) = (modified(program), fs::read_to_string(program.with_extension("d")))
    else {
        return false;
    };
    let sources = made_of.split_once(": ").map_or("", |(_, sources)| sources).split_whitespace();
    sources.map(Path::new).any(|source| modified(source).is_ok_and(|changed| changed > built))
}

/// Says what is not tested, which `RINGWARDEN_REQUIRE_ALL` does not allow.
pub(crate) fn skip(reason: &str) {
    assert!(env::var_os("RINGWARDEN_REQUIRE_ALL").is_none(), "{reason}");
    eprintln!("skipped: {reason}");
}

/// Says what this machine does not let anybody test, which is tested where `RINGWARDEN_GUEST` says that it is a guest of
/// ours.
pub(crate) fn skip_here(reason: &str) {
    assert!(env::var_os("RINGWARDEN_GUEST").is_none(), "{reason}");
    eprintln!("skipped, as this machine does not let anybody: {reason}");
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs `command` to its end, which must come in time, and gives what it printed.
pub(crate) fn finish(command: Command) -> Output {
    finish_into(command, Stdio::piped())
}

/// The same with another standard error.
pub(crate) fn finish_into(mut command: Command, stderr: Stdio) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).process_group(0);
    let child = command.spawn().expect("start");
    let hangs = watch(&child);
    let output = child.wait_with_output().expect("wait");
    assert!(!hangs(), "{command:?} hangs: {output:?}");
    output
}

/// Kills the group of processes that the child leads when it takes too long; what it gives tells whether it did, and
/// ends that.
pub(crate) fn watch(child: &Child) -> impl FnOnce() -> bool + use<> {
    let group = rustix::process::Pid::from_child(child);
    let (ended, wait) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let hangs = wait.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
        if hangs {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        hangs
    });
    move || {
        drop(ended);
        watch.join().expect("watch")
    }
}
