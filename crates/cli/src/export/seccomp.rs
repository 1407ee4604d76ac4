//! `ringwarden export seccomp`: a container's seccomp profile, with io_uring under a policy.

use super::profile::{Lane, Options};
use crate::{UNUSABLE, output, style};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write the seccomp profile for containers whose io_uring is held to a policy.
///
/// It is made from the profile that containers have without io_uring, and changes nothing else. For the agent, calls that
/// make and enable rings go to its socket, register calls are allowed as the policy has them, and the container can have
/// no seccomp listener of its own, nor take descriptors out of other processes (pidfd_getfd). For the other lanes, what
/// `ringwarden run` needs in the container is allowed.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when it is done;
  1  a rule is more than the lane holds
  2  a policy or the profile cannot be read or used, or FILE cannot be written

Examples:
  ringwarden export seccomp /etc/ringwarden/policies/web.toml -o web.json
  podman run --security-opt seccomp=web.json IMAGE
  ringwarden export seccomp --from default.json --lane split policy.toml -o split.json
  docker run --security-opt seccomp=split.json IMAGE ringwarden run -p policy.toml -- ./server")]
pub(super) struct Seccomp {
    /// A policy file, - for standard input, or a preset such as @container-default; for `ringwarden run` several, as
    /// there
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<String>,
    /// Who holds programs to it
    #[arg(long, value_enum, default_value_t = Lane::Agent)]
    lane: Lane,
    #[command(flatten)]
    options: Options,
    /// Write what the runtime specification has and no more, for containerd and config.json: includes, excludes and
    /// archMap are decided for this machine, --cap and --kernel-version
    #[arg(long)]
    resolved: bool,
    /// Where it goes, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Seccomp {
    pub(super) fn export(self) -> ExitCode {
        let mut profile = match self.options.profile(self.lane, &self.policies) {
            Ok(profile) => profile,
            Err(reason) => return reason.tell(),
        };
        if self.resolved {
            profile = match profile.resolved(self.options.setting()) {
                Ok(profile) => profile,
                Err(reason) => {
                    return style::fail(format_args!("this profile cannot be used: {reason}"), UNUSABLE);
                }
            };
        }
        match serde_json::to_string_pretty(&profile) {
            Ok(text) => output::write(self.output.as_deref(), format!("{text}\n").as_bytes()),
            Err(error) => style::fail(error, crate::FAILED),
        }
    }
}
