//! A PostgreSQL server, and what is asked of it.

use crate::debian::output;
use crate::presets::launch::Launch;
use crate::presets::root::Root;
use crate::presets::server::Server;
use anyhow::Context;
use rustix::process::Signal;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Besides these, the server is set up as it comes.
const SETTINGS: [&str; 2] = ["listen_addresses=", "unix_socket_directories=/run"];

/// A running server on the cluster in `/run/data`.
pub(super) struct Postgres<'a>(Server<'a>);

impl<'a> Postgres<'a> {
    /// Starts it with these settings, `name=value`.
    pub(super) fn start(
        root: &'a Root,
        run: &'a Path,
        launch: Launch,
        settings: &[&str],
    ) -> anyhow::Result<Self> {
        let mut command = launch.command(root, "postgres");
        command.args(["-D", "/run/data"]);
        for setting in SETTINGS.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        Server::start(root, run, command).map(Self)
    }

    /// A client in the root; arguments can be added.
    fn client(&self, program: &str) -> Command {
        let mut command = self.0.root.command(program);
        command.env("PGHOST", "/run").env("PGDATABASE", "postgres").stdin(Stdio::null());
        command
    }

    /// The single value that a query gives.
    pub(super) fn value(&self, query: &str) -> anyhow::Result<String> {
        output(self.client("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query]))
            .map(|text| text.trim().to_owned())
    }

    /// What psql says to a statement that may fail.
    pub(super) fn attempt(&self, statement: &str) -> anyhow::Result<Output> {
        self.client("psql").args(["-XAtq", "-c", statement]).output().context("cannot run psql")
    }

    /// Runs pgbench and gives its report.
    pub(super) fn pgbench(&self, args: &[&str]) -> anyhow::Result<String> {
        output(self.client("pgbench").args(args))
    }

    /// Requests that the kernel has taken from the rings of all backends since the start. The server makes the
    /// rings before it forks, so all of them are among its descriptors.
    pub(super) fn requests(&self) -> anyhow::Result<u64> {
        self.0.requests("data/postmaster.pid")
    }

    /// What the server and the guard have printed.
    pub(super) fn log(&self) -> anyhow::Result<String> {
        self.0.log()
    }

    /// Shuts it down in an orderly way.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.0.stop(Signal::INT)
    }
}
