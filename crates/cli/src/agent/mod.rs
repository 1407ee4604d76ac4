//! `ringwarden agent`: rings for containers, whose runtime hands their seccomp listeners over.
//!
//! ```text
//!  runtime ── message, listener ──► front ── assignment, listener ──► worker, one per listener
//!                                     ▲                                  │ serves io_uring_setup
//!                                     └───────────── reports ────────────┘
//! ```
//!
//! The front (`front.rs`) accepts, reads one message (`message.rs`) and starts a worker (`worker.rs`), which finds the
//! policy (`policy.rs`, `ceiling.rs`), looks at the container's seccomp profile, finds its control groups
//! (`cgroups.rs` beside this folder), and makes its rings, for which those pay. Workers go on when the front dies. What the two tell each other is in `wire.rs`.
//! Of requests that the kernel refuses the front hears by itself (`refusals.rs`), and knows by their control group which
//! container's they are (`groups.rs`).

mod ceiling;
mod container;
mod front;
mod groups;
mod http;
mod message;
mod metrics;
mod policy;
mod refusals;
mod socket;
mod wire;
mod worker;

use crate::{FAILED, audit, input, layers, style};
use clap::Args;
pub(crate) use container::Record;
use container::say;
use front::Front;
use ringwarden::guard::{
    self,
    needs::{self, When},
};
use ringwarden::launch::descriptors;
use ringwarden::uapi::KernelModel;
use rustix::thread::{CapabilitySet, capabilities};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use wire::Most;
pub(crate) use worker::Worker;

/// Make the rings of containers, each under its own policy, with images as they are.
///
/// Container runtimes (runc, crun, and what builds on them: containerd, CRI-O, Docker, Podman) hand the seccomp listener
/// of a container to whoever listens at the `listenerPath` of its seccomp profile. This does: it makes each container's
/// rings, which the kernel then holds to the policy that `listenerMetadata` names: by restrictions (Linux 5.10), or by
/// filters (Linux 7.0). Requests cost nothing more.
///
/// A container whose policy is unknown, broken, beyond the ceiling or beyond those lanes gets no ring: io_uring_setup
/// fails with ENOSYS there, and standard error says why. So it is with every container where this does not run; rings
/// that exist stay restricted then.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Agent {
    /// The socket that runtimes connect to; only root may. Not needed where the service manager hands one over
    /// (LISTEN_FDS)
    #[arg(long, value_name = "PATH")]
    listen: Option<PathBuf>,
    /// Where policies are: `web` names DIR/web.toml, `@container-default` a preset. Read whenever a container starts
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    /// A policy, or a preset: what it refuses no container's policy may allow
    #[arg(long, value_name = "POLICY")]
    ceiling: Option<String>,
    /// So many rings at a time in a container; more are refused (ENOMEM)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rings: Option<u64>,
    /// So many entries in all rings of a container together, at a time; more are refused (ENOMEM)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    entries: Option<u64>,
    /// Append one line of JSON to FILE for each ring and each request that is refused
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// Offer metrics for Prometheus by HTTP, at a loopback address such as 127.0.0.1:9644 or at the path of a socket
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<String>,
}

const AFTER_HELP: &str = "\
What a container needs is a seccomp profile with io_uring_setup notified (SCMP_ACT_NOTIFY) and
  \"listenerPath\": \"/run/ringwarden/agent.sock\", \"listenerMetadata\": \"web\"
and `seccomp` with SECCOMP_FILTER_FLAG_NEW_LISTENER refused. An annotation io.ringwarden.policy of the
container outranks the profile's metadata. docs/agent.md says more.

Exit status: it ends only by a signal, or with 125 when it cannot begin

Examples:
  ringwarden agent --listen /run/ringwarden/agent.sock --policies /etc/ringwarden/policies
  ringwarden agent --listen /run/ringwarden/agent.sock --policies /etc/ringwarden/policies \\
    --ceiling @container-default --rings 64 --metrics 127.0.0.1:9644";

impl Agent {
    pub(crate) fn execute(self) -> ExitCode {
        match self.begin() {
            Ok((front, listener)) => {
                say(format_args!("serving at {}", socket::name_of(&listener)));
                // Fails only where nobody waits to hear of it.
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
                style::fail(Front::accept(&Arc::new(front), &listener), FAILED)
            }
            Err(reason) => style::fail(reason, FAILED),
        }
    }

    /// Everything that can fail, but for the serving itself.
    fn begin(self) -> Result<(Front, UnixListener), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("the agent looks into the processes of containers, which takes root".into());
        }
        if capabilities(None).is_ok_and(|sets| !sets.effective.contains(CapabilitySet::SYS_PTRACE)) {
            // Otherwise every ring would fail with EPERM, and nobody would say why.
            return Err("the agent looks into the processes of containers, which takes CAP_SYS_PTRACE; \
                        systemd: `CapabilityBoundingSet=`, in a container: `--privileged`"
                .into());
        }
        let missing = needs::missing(When::Always);
        if !missing.is_empty() {
            return Err(guard::Error::Missing(missing).to_string());
        }
        if !self.policies.is_dir() {
            return Err(format!("{} is not a folder", self.policies.display()));
        }
        if let Some(ceiling) = &self.ceiling {
            if ceiling == input::STDIN {
                return Err("the ceiling is read again for each container: name a file or a preset".into());
            }
            layers::is_lasting(ceiling)
                .and_then(|()| layers::load(std::slice::from_ref(ceiling), KernelModel::default()))
                .map_err(|unusable| unusable.line())?;
        }
        let audit = self.audit.as_deref().map(|path| {
            audit::open(path).map_err(|error| format!("cannot write to {}: {error}", path.display()))
        });
        let audit = audit.transpose()?;
        let most = (self.rings.is_some() || self.entries.is_some()).then(|| Most {
            rings: self.rings.unwrap_or(u64::MAX),
            entries: self.entries.unwrap_or(u64::MAX),
        });
        let listener = socket::listen(self.listen.as_deref())?;
        // What else was left open is not for workers, either.
        descriptors::close_for_own_part();
        let address =
            listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
        let front = Front::new(self.policies, self.ceiling, most, audit, address);
        if front.audit.is_some() || self.metrics.is_some() {
            let audit = front.audit.as_ref().map(std::fs::File::try_clone).transpose();
            let audit = audit.map_err(|error| error.to_string())?;
            if let Err(reason) = refusals::listen(Arc::clone(&front.metrics), audit) {
                say(format_args!("requests that the kernel refuses are not told of: {reason}"));
            }
        }
        if let Some(address) = &self.metrics {
            http::offer(address, Arc::clone(&front.metrics))?;
        }
        Ok((front, listener))
    }
}
