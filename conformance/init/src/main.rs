//! The first process of a virtual machine that `cargo xtask boot` starts.
//!
//! Mounts what programs expect, runs the one command that `/command` holds (its arguments, each ended
//! by a NUL byte) as root with its output on the second serial port, says on the console that it is there
//! (`init: start`) and how the command ended (`init: exit STATUS`, 128 + N for signal N), and ends the
//! machine. What goes wrong before is said there too, as `init: error …`.

#![deny(missing_docs)]

mod loopback;

use anyhow::{Context, ensure};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use rustix::system::{RebootCommand, reboot};
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// What is mounted, in this order: file system type and place.
const MOUNTS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
];
/// Where the command's output goes: the port that is not the console.
const OUTPUT: &str = if cfg!(target_arch = "aarch64") { "/dev/ttyS0" } else { "/dev/ttyS1" };
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn main() -> anyhow::Result<()> {
    ensure!(std::process::id() == 1, "this is the first process of a virtual machine, and of nothing else");
    mount_all()?;
    let mut console = OpenOptions::new().write(true).open("/dev/console").context("/dev/console")?;
    writeln!(console, "init: start")?;
    match run() {
        Ok(status) => writeln!(console, "init: exit {status}")?,
        Err(error) => writeln!(console, "init: error {error:#}")?,
    }
    tcdrain(&console)?;
    reboot(RebootCommand::Restart)?;
    Ok(())
}

fn mount_all() -> anyhow::Result<()> {
    for (kind, place) in [("devtmpfs", "/dev")].iter().chain(MOUNTS) {
        fs::create_dir_all(place).with_context(|| format!("cannot create {place}"))?;
        mount(*kind, *place, *kind, MountFlags::empty(), None)
            .with_context(|| format!("cannot mount {place}"))?;
    }
    // No mount: what was asked for may lie in it.
    fs::create_dir_all("/tmp")?;
    fs::set_permissions("/tmp", Permissions::from_mode(0o1777))?;
    Ok(())
}

/// Runs the command and gives its status.
fn run() -> anyhow::Result<i32> {
    loopback::up().context("the loopback interface")?;
    let output = output()?;
    let line = fs::read("/command").context("/command")?;
    let mut words = line.split(|&byte| byte == 0).map(OsStr::from_bytes);
    let program = words.next().filter(|program| !program.is_empty()).context("/command is empty")?;
    let mut command = Command::new(program);
    // What follows the last NUL is no argument.
    command.args(words).env_clear().env("PATH", PATH).env("HOME", "/root").env("TERM", "dumb");
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
    let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    let status = reap(Pid::from_child(&child))?;
    tcdrain(&output)?;
    Ok(status)
}

/// The serial port, without the conversions of a terminal.
fn output() -> anyhow::Result<File> {
    let port = OpenOptions::new().read(true).write(true).open(OUTPUT).context(OUTPUT)?;
    let mut modes = tcgetattr(&port).context(OUTPUT)?;
    modes.make_raw();
    tcsetattr(&port, OptionalActions::Now, &modes)?;
    Ok(port)
}

/// Waits for `child`, and for everybody whose parent has died until then.
fn reap(child: Pid) -> anyhow::Result<i32> {
    loop {
        if let Some((pid, status)) = wait(WaitOptions::empty())?
            && pid == child
        {
            return Ok(code(status));
        }
    }
}

fn code(status: WaitStatus) -> i32 {
    status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or_default())
}
