//! A seccomp profile for an agent, or for Ringwarden inside of the container: what `export seccomp` writes and what
//! `export kubernetes` packs.

use super::SOCKET;
use crate::lane::ANY_POLICY;
use crate::style::{BOLD, complain};
use crate::{UNUSABLE, input, kernels, layers, style};
use clap::{Args, ValueEnum};
use ringwarden::Enforcement;
use ringwarden::filter::RegisterRules;
use ringwarden::guard::SPLITS_RINGS;
use ringwarden::guard::needs::{self, When};
use ringwarden::policy::Preset;
use ringwarden::profile::{Capability, Listener, Profile, ReadError, Setting, kernel_version};
use ringwarden::uapi::ring::SetupFlags;
use ringwarden::uapi::{KernelModel, OPCODES, Opcode, RegisterOp};
use std::path::Path;
use std::process::ExitCode;

/// Which profile is fitted, and to what.
#[derive(Args)]
pub(super) struct Options {
    /// The profile that containers have without io_uring [default: the system's, /etc/containers/seccomp.json or
    /// /usr/share/containers/seccomp.json]
    #[arg(long, value_name = "PROFILE")]
    from: Option<String>,
    /// The socket of the agent, as the runtime sees it
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub(super) socket: String,
    /// What the agent calls the policy: NAME.toml in its folder, or a preset [default: the file's name without .toml]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[arg(long, value_name = "KERNEL", help = format!(
        "The oldest kernel on which the agent is to hold the policy: {}. Only from 7.0 on it holds conditions",
        kernels::since(KernelModel::V7_0)
    ))]
    kernel: Option<KernelModel>,
    /// Ask that a signal interrupts no call that the agent has received already: Linux 5.19; crun, and runc from 1.5 on
    /// with libseccomp 2.6. Other runtimes refuse such a profile
    #[arg(long)]
    wait_killable: bool,
    /// A capability that the container has, such as CAP_SYS_ADMIN, where the profile's includes and excludes are decided
    #[arg(long = "cap", value_name = "CAP", value_parser = capability)]
    capabilities: Vec<Capability>,
    /// The oldest kernel, where they are
    #[arg(long, value_name = "VERSION", default_value = "5.10", value_parser = version)]
    kernel_version: (u32, u32),
}

fn capability(name: &str) -> Result<Capability, String> {
    Capability::from_name(name).ok_or_else(|| "not a capability of Linux".to_owned())
}

fn version(text: &str) -> Result<(u32, u32), String> {
    kernel_version(text).ok_or_else(|| "not a version such as 5.10".to_owned())
}

/// Who holds programs in the container to the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Lane {
    /// `ringwarden agent`, outside of the container, whose image stays as it is
    Agent,
    /// `ringwarden run --lane restricted` inside
    Restricted,
    /// `ringwarden run --lane filtered` inside
    Filtered,
    /// `ringwarden run --lane tasks` inside
    Tasks,
    /// `ringwarden run --lane split` inside
    Split,
}

/// Why there is no profile, for people, and the exit status.
pub(super) struct NoProfile(String, u8);

impl NoProfile {
    pub(super) fn tell(self) -> ExitCode {
        style::fail(self.0, self.1)
    }
}

/// A rule is more than the lane holds.
const BEYOND: u8 = 1;
/// The most bytes of a profile.
const LONGEST: u64 = 64 << 20;
/// Where the package of Podman's and CRI-O's common files has the default profile, and an administrator's own.
const OF_SYSTEM: [&str; 2] = ["/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"];
/// What libseccomp learned in 2.6, of the calls that lanes need.
const RECENT: [&str; 1] = ["mseal"];

impl Options {
    /// The profile for these policies; what to know of it is told on standard error.
    pub(super) fn profile(&self, lane: Lane, policies: &[String]) -> Result<Profile, NoProfile> {
        let base = self.base()?;
        match lane {
            Lane::Agent => self.for_agent(base, policies),
            _ => self.for_run(base, lane, policies),
        }
    }

    /// Where its `includes` and `excludes` are decided.
    pub(super) fn setting(&self) -> Setting<'_> {
        Setting { capabilities: &self.capabilities, kernel: self.kernel_version }
    }

    fn base(&self) -> Result<Profile, NoProfile> {
        let of_system = || OF_SYSTEM.into_iter().find(|path| Path::new(path).exists()).map(str::to_owned);
        let Some(name) = self.from.clone().or_else(of_system) else {
            return Err(NoProfile(
                format!(
                    "this system has no seccomp profile for containers ({}): name the one that your runtime uses by \
                     `--from`, such as profiles/seccomp/default.json of Docker's source",
                    OF_SYSTEM.join(", ")
                ),
                UNUSABLE,
            ));
        };
        let text = input::text(&name, LONGEST)
            .map_err(|error| NoProfile(format!("cannot read `{name}`: {error}"), UNUSABLE))?;
        Profile::read(&text, None).map_err(|error| {
            let told = match error {
                ReadError::Choice { names } => {
                    format!("`{name}` is a list of profiles: {}; write one to a file", names.join(", "))
                }
                other => format!("{name}:{other}"),
            };
            NoProfile(told, UNUSABLE)
        })
    }

    /// What the agent calls the policy.
    pub(super) fn metadata(&self, policies: &[String]) -> Result<String, NoProfile> {
        let name = match (&self.name, policies) {
            (Some(name), _) => name.clone(),
            (None, [preset]) if Preset::named(preset).is_some() => preset.clone(),
            (None, [file]) if file != input::STDIN => {
                Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
            _ => {
                let told = "say by `--name` what the agent calls the policy: NAME.toml in its folder";
                return Err(NoProfile(told.to_owned(), UNUSABLE));
            }
        };
        let bare = name.strip_prefix('@').unwrap_or(&name);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if bare.is_empty() || name.len() > 64 || bare.starts_with('.') || !bare.bytes().all(plain) {
            let told = format!(
                "`{name}` is no name for the agent: 64 letters, digits, `-`, `_`, and `.` in between; say another by \
                 `--name`"
            );
            return Err(NoProfile(told, UNUSABLE));
        }
        Ok(name)
    }

    fn for_agent(&self, base: Profile, policies: &[String]) -> Result<Profile, NoProfile> {
        if policies.len() > 1 {
            let told = "the agent holds a container to one policy: write one that says it all".to_owned();
            return Err(NoProfile(told, UNUSABLE));
        }
        if let Some(old) =
            self.kernel.filter(|&kernel| kernel < KernelModel::V7_0 || kernel != kernel.kernel())
        {
            return Err(NoProfile(format!("no kernel has the filters of `{old}`"), UNUSABLE));
        }
        let metadata = self.metadata(policies)?;
        let enforcement = loaded(policies, self.kernel.or(Some(KernelModel::default())))?;
        let (denies, messages) = match (enforcement.operations(), self.kernel) {
            (Ok(operations), _) => {
                let denies = OPCODES.iter().any(|info| !operations.allow(info.opcode));
                (denies, operations.allow(Opcode::MSG_RING))
            }
            (Err(_), Some(_)) => {
                let outright = |op| enforcement.filters().outright(op);
                let denies = OPCODES.iter().any(|info| outright(info.opcode) == Some(false));
                // `io_uring_sync_msg_ring` asks no filter.
                (denies, outright(Opcode::MSG_RING) == Some(true))
            }
            (Err(beyond), None) => {
                let since = layers::parse(policies).ok().and_then(|layers| kernels::first_to_hold(&layers));
                let say = since.map_or_else(String::new, |since| {
                    format!(" if no kernel is older than that, say so by `--kernel {since}`;")
                });
                let told = format!(
                    "before Linux {} the agent cannot hold this: {beyond};{say} with `ringwarden run` in the container, \
                     {ANY_POLICY}",
                    since.unwrap_or(KernelModel::V7_0)
                );
                return Err(NoProfile(told, BEYOND));
            }
        };
        let register = registers(&enforcement);
        let listener = Listener {
            socket: &self.socket,
            metadata: &metadata,
            wait_killable: self.wait_killable,
            register: &register,
            sqpoll: !enforcement.calls().setup.denied.contains(SetupFlags::SQPOLL),
            messages,
            probes: denies,
        };
        base.for_agent(&listener)
            .map_err(|unfit| NoProfile(format!("this profile cannot be used: {unfit}"), UNUSABLE))
    }

    fn for_run(&self, base: Profile, lane: Lane, policies: &[String]) -> Result<Profile, NoProfile> {
        let enforcement = loaded(policies, self.kernel)?;
        let when = match lane {
            Lane::Split if !SPLITS_RINGS => return Err(NoProfile(ANY_POLICY.to_owned(), BEYOND)),
            Lane::Split => enforcement.guard().when(),
            Lane::Restricted => {
                let beyond = enforcement.operations().err();
                if let Some(beyond) = beyond {
                    return Err(NoProfile(format!("the restricted lane cannot hold this: {beyond}"), BEYOND));
                }
                When::Always
            }
            Lane::Tasks | Lane::Filtered if enforcement.guards_own().is_some() => {
                let told = enforcement.guards_own().unwrap_or_default();
                return Err(NoProfile(format!("{told}; {ANY_POLICY}"), BEYOND));
            }
            Lane::Tasks => match enforcement.kernel() {
                Ok(_) => When::Always,
                Err(beyond) => {
                    return Err(NoProfile(format!("{beyond}: use `--lane filtered`"), BEYOND));
                }
            },
            _ => When::Always,
        };
        // The kernel's filters need nobody to look after the program.
        let is_needed = |name| lane != Lane::Tasks || ["prctl", "seccomp"].contains(&name);
        let needed = needs::needs()
            .iter()
            .filter(|need| need.when <= when && need.number.is_some() && is_needed(need.name));
        let mut calls = vec!["io_uring_setup", "io_uring_enter", "io_uring_register"];
        calls.extend(needed.map(|need| need.name).filter(|name| !name.starts_with("io_uring_")));
        let (profile, conditional) = base.for_calls(&calls);
        // Runtimes' own conditions on it refuse new namespaces, and Ringwarden makes none.
        for call in conditional.iter().map(|one| &one.call).filter(|call| *call != "clone") {
            warn(format_args!(
                "`{call}` is allowed under conditions on its arguments, which stay as they are"
            ));
        }
        for call in calls.iter().filter(|call| RECENT.contains(call)) {
            warn(format_args!(
                "libseccomp before 2.6 does not know `{call}`, and runtimes then leave it out: it stays forbidden, and \
                 `ringwarden run` will say so"
            ));
        }
        Ok(profile)
    }
}

/// The register calls that programs may make where somebody else makes their rings.
fn registers(enforcement: &Enforcement) -> RegisterRules {
    let calls = enforcement.calls();
    let mut register = calls.register;
    // A ring that may not have a size must not get it later.
    if calls.setup.limits_sizes() {
        register.set(RegisterOp::REGISTER_RESIZE_RINGS, false);
    }
    register
}

fn loaded(policies: &[String], kernel: Option<KernelModel>) -> Result<Enforcement, NoProfile> {
    layers::load(policies, kernel).map_err(|unusable| {
        unusable.print();
        NoProfile("there is no profile without a policy".to_owned(), UNUSABLE)
    })
}

fn warn(text: std::fmt::Arguments<'_>) {
    complain!("{BOLD}warning{BOLD:#}: {text}");
}
