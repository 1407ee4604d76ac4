//! A PostgreSQL server, natively or under a policy, and what is asked of it.

use super::root::Root;
use crate::deadline::ends_within;
use crate::debian::output;
use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long starting and stopping may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Besides these, the server is set up as it comes.
const SETTINGS: [&str; 2] = ["listen_addresses=", "unix_socket_directories=/run"];

/// How a program is started.
#[derive(Clone, Copy)]
pub(crate) enum Launch {
    Natively,
    /// Under the guard with this policy.
    Under(&'static str),
}

impl Launch {
    /// `program` in `root`; arguments can be added.
    pub(crate) fn command(self, root: &Root, program: &str) -> Command {
        let Self::Under(policy) = self else { return root.command(program) };
        let mut command = root.command("ringwarden");
        command.args(["run", "--backend", "guard", "--verbose", "--audit", "/run/audit.jsonl"]);
        command.args(["-p", policy, "--", program]);
        command
    }
}

/// A running server on the cluster in `/run/data`. Dropping it kills it.
pub(crate) struct Server<'a> {
    root: &'a Root,
    run: &'a Path,
    child: Child,
}

impl<'a> Server<'a> {
    /// Starts it with these settings, `name=value`, and waits until it accepts connections.
    pub(crate) fn start(
        root: &'a Root,
        run: &'a Path,
        launch: Launch,
        settings: &[&str],
    ) -> anyhow::Result<Self> {
        // As to systemd, PostgreSQL says when it is ready.
        let address = run.join("notify");
        let _ = fs::remove_file(&address);
        let notify = UnixDatagram::bind(&address)?;
        fs::set_permissions(&address, Permissions::from_mode(0o777))?;
        let log = File::create(run.join("log"))?;
        let mut command = launch.command(root, "postgres");
        command.args(["-D", "/run/data"]).env("NOTIFY_SOCKET", "/run/notify");
        for setting in SETTINGS.iter().chain(settings) {
            command.args(["-c", setting]);
        }
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
                Ok(len) if message[..len].starts_with(b"READY=1") => return Ok(()),
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

    /// A client in the root; arguments can be added.
    fn client(&self, program: &str) -> Command {
        let mut command = self.root.command(program);
        command.env("PGHOST", "/run").env("PGDATABASE", "postgres").stdin(Stdio::null());
        command
    }

    /// The single value that a query gives.
    pub(crate) fn value(&self, query: &str) -> anyhow::Result<String> {
        output(self.client("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query]))
            .map(|text| text.trim().to_owned())
    }

    /// What psql says to statements, each sent alone, that may fail.
    pub(crate) fn attempt(&self, statements: &[&str]) -> anyhow::Result<Output> {
        let mut psql = self.client("psql");
        psql.arg("-XAtq");
        for statement in statements {
            psql.args(["-c", statement]);
        }
        psql.output().context("cannot run psql")
    }

    /// Runs pgbench and gives its report.
    pub(crate) fn pgbench(&self, args: &[&str]) -> anyhow::Result<String> {
        output(self.client("pgbench").args(args))
    }

    /// Requests that the kernel has taken from the rings of all backends since the start, by its own
    /// count. The server makes the rings before it forks, so all of them are among its descriptors.
    pub(crate) fn requests(&self) -> anyhow::Result<u64> {
        let file = fs::read_to_string(self.run.join("data/postmaster.pid"))?;
        let pid = file.lines().next().context("an empty postmaster.pid")?;
        let mut requests = 0;
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            // Descriptors come and go meanwhile.
            let Ok(info) = fs::read_to_string(entry?.path()) else { continue };
            let head = info.lines().find_map(|line| line.strip_prefix("CachedSqHead:"));
            requests += head.map_or(Ok(0), |head| head.trim().parse::<u64>())?;
        }
        Ok(requests)
    }

    /// What the server and the guard have printed.
    pub(crate) fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.run.join("log"))?)
    }

    /// Shuts it down in an orderly way; a guard ends with it.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT)?;
        ensure!(ends_within(pid, PATIENCE)?, "no shutdown within {PATIENCE:?}:\n{}", self.log()?);
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}:\n{}", self.log()?);
        Ok(())
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // The guard takes the whole tree with it, PostgreSQL's processes end with the first of them.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The audit of what ran last, line by line.
pub(crate) fn audit(run: &Path) -> anyhow::Result<Vec<String>> {
    let path: PathBuf = run.join("audit.jsonl");
    Ok(fs::read_to_string(path)?.lines().map(str::to_owned).collect())
}
