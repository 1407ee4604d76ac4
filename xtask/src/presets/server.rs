//! A server in the root, natively or under a policy.

use super::root::Root;
use crate::deadline::ends_within;
use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long starting and stopping may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server, whose user knows the folder `run` as `/run`. Dropping it kills it.
pub(crate) struct Server<'a> {
    pub(crate) root: &'a Root,
    run: &'a Path,
    child: Child,
}

impl<'a> Server<'a> {
    /// Starts it, and waits until it says that it is ready, as it would to systemd.
    pub(crate) fn start(root: &'a Root, run: &'a Path, mut command: Command) -> anyhow::Result<Self> {
        let address = run.join("notify");
        let _ = fs::remove_file(&address);
        let notify = UnixDatagram::bind(&address)?;
        fs::set_permissions(&address, Permissions::from_mode(0o777))?;
        let log = File::create(run.join("log"))?;
        command.env("NOTIFY_SOCKET", "/run/notify");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot run unshare (util-linux)")?;
        let mut server = Self { root, run, child };
        server.wait_until_ready(&notify).with_context(|| server.log().unwrap_or_default())?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, notify: &UnixDatagram) -> anyhow::Result<()> {
        notify.set_read_timeout(Some(Duration::from_millis(200)))?;
        let deadline = Instant::now() + PATIENCE;
        let mut message = [0; 256];
        loop {
            match notify.recv(&mut message) {
                Ok(len) if message[..len].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") => {
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended before it was ready: {status}");
            }
            ensure!(Instant::now() < deadline, "the server is not ready after {PATIENCE:?}");
        }
    }

    /// Requests that the kernel has taken from all rings of the process that a file in its folder names, by its own
    /// count.
    pub(crate) fn requests(&self, pid_file: &str) -> anyhow::Result<u64> {
        let file = fs::read_to_string(self.run.join(pid_file))?;
        let pid = file.lines().next().with_context(|| format!("{pid_file} is empty"))?;
        requests_of(pid)
    }

    /// What the server and the guard have printed.
    pub(crate) fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.run.join("log"))?)
    }

    /// Shuts it down by the signal that asks it to in an orderly way; what holds it ends with it.
    pub(crate) fn stop(mut self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal)?;
        ensure!(ends_within(pid, PATIENCE)?, "no shutdown within {PATIENCE:?}:\n{}", self.log()?);
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}:\n{}", self.log()?);
        Ok(())
    }
}

/// Requests that the kernel has taken from all rings of a process, by its own count.
pub(crate) fn requests_of(pid: &str) -> anyhow::Result<u64> {
    let mut requests = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // Descriptors come and go meanwhile.
        let Ok(info) = fs::read_to_string(entry?.path()) else { continue };
        let head = info.lines().find_map(|line| line.strip_prefix("CachedSqHead:"));
        requests += head.map_or(Ok(0), |head| head.trim().parse::<u64>())?;
    }
    Ok(requests)
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // The process that is killed takes its program with it, and servers' processes end with the first of them.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
