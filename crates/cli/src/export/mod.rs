//! `ringwarden export`: what other programs take, made from policies.

mod kubernetes;
mod oci;
mod profile;
mod seccomp;
mod systemd;

use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Write what container runtimes, Kubernetes and systemd take, so that they hold programs to a policy.
#[derive(Args)]
pub(crate) struct Export {
    #[command(subcommand)]
    to: To,
}

#[derive(Subcommand)]
enum To {
    Seccomp(seccomp::Seccomp),
    Kubernetes(kubernetes::Kubernetes),
    Systemd(systemd::Systemd),
    Oci(oci::Oci),
}

impl Export {
    pub(crate) fn execute(self) -> ExitCode {
        match self.to {
            To::Seccomp(seccomp) => seccomp.export(),
            To::Kubernetes(kubernetes) => kubernetes.export(),
            To::Systemd(systemd) => systemd.export(),
            To::Oci(oci) => oci.export(),
        }
    }
}

/// Where the agent listens, if not said otherwise.
const SOCKET: &str = "/run/ringwarden/agent.sock";
