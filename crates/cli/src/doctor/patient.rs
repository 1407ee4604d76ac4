//! A program under the guard: nothing tells better whether that works here.

use crate::demo::{AT_FDCWD, submit};
use clap::Args;
use io_uring::{IoUring, opcode, types};
use ringwarden::guard::needs::When;
use ringwarden::uapi::open::O_DIRECTORY;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};

/// Looks at an argument in memory, so that everything is needed which the guard may ever need.
const LOOKS_AT_ARGUMENTS: &str =
    "version = 1\ndefault = \"allow\"\n[ops]\nopenat2 = \"flags & O_CREAT == 0\"\n";

/// Looks at requests only.
const LOOKS_AT_REQUESTS: &str = "version = 1\ndefault = \"allow\"\n[ops]\nopenat2 = \"user_data != 1\"\n";

/// Looks at whole operations.
const LOOKS_AT_OPERATIONS: &str = "version = 1\ndefault = \"allow\"\n[ops]\ntee = \"deny\"\n";

/// The program, which `doctor` runs under policies.
#[derive(Args)]
pub(crate) struct Patient {}

/// Runs the program under a policy that has those needs, in the lane that has no more.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn try_out(when: When) -> Result<(), String> {
    let (lane, policy) = match when {
        When::Arguments => ("split", LOOKS_AT_ARGUMENTS),
        When::Always => ("restricted", LOOKS_AT_OPERATIONS),
        _ => ("split", LOOKS_AT_REQUESTS),
    };
    let tried = || -> io::Result<_> {
        let own = std::env::current_exe()?;
        let mut command = Command::new(&own);
        command.args(["run", "--lane", lane, "-p", "/proc/self/fd/0", "--"]).arg(&own).arg("doctor-patient");
        // `/dev/null` need not be there.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut guard = command.spawn()?;
        if let Some(mut file) = guard.stdin.take() {
            file.write_all(policy.as_bytes())?;
        }
        guard.wait_with_output()
    };
    let output = tried().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().next().map(|line| line.trim_start_matches("error: ").to_owned());
    Err(format!("a program that was tried under it: {}", reason.unwrap_or_else(|| output.status.to_string())))
}

impl Patient {
    pub(crate) fn execute(self) -> ExitCode {
        match open_a_folder() {
            Ok(()) => ExitCode::SUCCESS,
            Err(what) => crate::style::fail(what, 1),
        }
    }
}

/// Opens a folder by a ring.
fn open_a_folder() -> Result<(), String> {
    let failed = |call: &str, error: io::Error| format!("{call}: {error}");
    let mut ring = IoUring::new(1).map_err(|error| failed("setting up a ring", error))?;
    let how = types::OpenHow::new().flags(O_DIRECTORY);
    let open = opcode::OpenAt2::new(types::Fd(AT_FDCWD), c"/".as_ptr(), &how).build();
    match submit(&mut ring, &open).map_err(|error| failed("submitting a request", error))? {
        error @ ..0 => Err(failed("an allowed request", io::Error::from_raw_os_error(-error))),
        _ => Ok(()),
    }
}
