//! `ringwarden import`: policies from what other sandboxes have.

mod oci;

use crate::format::{self, Document, Format};
use crate::style::{self, BOLD, complain, say};
use crate::{UNUSABLE, compile, input, output};
use clap::{Args, Subcommand};
use ringwarden::policy::{Argument, SYSCALL_EQUIVALENTS, StandsFor};
use ringwarden::seccomp_import::{self, Capability, ImportError, ReadError};
use ringwarden::uapi::Opcode;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make a policy of what another sandbox allows.
#[derive(Args)]
pub(crate) struct Import {
    #[command(subcommand)]
    from: From,
}

#[derive(Subcommand)]
enum From {
    Seccomp(Seccomp),
    Oci(oci::Oci),
}

/// Make a policy of a seccomp profile: as wide as can be, and nothing passes that the profile denies.
///
/// Each io_uring operation stands for system calls: `read` for read, pread64 and preadv2. It is allowed
/// where the profile allows all of them, under the profile's conditions on arguments that filters see.
/// Operations that do what no system call does are denied unless --allow names them.
///
/// PROFILE is what Docker, Podman, containerd and CRI-O take, a container's config.json, or a SeccompProfile
/// of Kubernetes or a list of those, as JSON or YAML. Rules for other capabilities, kernels and architectures than said here
/// do not count. The profile still has to let the program make io_uring_setup, io_uring_enter and
/// io_uring_register, which Docker's does not: allow them where the policy is in force.
#[derive(Args)]
#[command(after_help = "\
Example:
  ringwarden import seccomp docker-default.json -o policy.toml
  ringwarden check policy.toml
  ringwarden run -p policy.toml -- PROGRAM

Exit status: 0 when there is a policy;
  2  the profile cannot be read, or is not one, or FILE cannot be written")]
struct Seccomp {
    /// The profile, or - for standard input
    #[arg(required_unless_present = "map")]
    profile: Option<String>,
    /// Where the policy goes, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A capability that the container has, such as CAP_SYS_ADMIN [default: none]
    #[arg(long = "cap", value_name = "CAP", value_parser = capability)]
    capabilities: Vec<Capability>,
    /// The oldest kernel that the policy is for
    #[arg(long, value_name = "VERSION", default_value = "6.10", value_parser = kernel)]
    kernel_version: (u32, u32),
    /// An operation to allow that stands for no system call, such as msg_ring
    #[arg(long, value_name = "OP", value_parser = compile::operation)]
    allow: Vec<Opcode>,
    /// Which profile of a list, by the name of its object
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print which system calls each operation stands for, and import nothing
    #[arg(long, conflicts_with_all = ["profile", "output", "capabilities", "allow", "name"])]
    map: bool,
    /// How --map prints
    #[arg(long, value_enum, default_value_t = Format::Human, conflicts_with = "profile")]
    format: Format,
}

fn capability(name: &str) -> Result<Capability, String> {
    Capability::from_name(name).ok_or_else(|| "not a capability of Linux".to_owned())
}

fn kernel(version: &str) -> Result<(u32, u32), String> {
    seccomp_import::kernel_version(version).ok_or_else(|| "not a version such as 6.10".to_owned())
}

/// The map.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Map {
    /// By opcode.
    operations: Vec<Row>,
}

impl Document for Map {}

#[derive(JsonSchema, Serialize)]
struct Row {
    /// The operation.
    name: String,
    /// What becomes of it: `profile` where the calls decide, `allow` and `deny` where there are none.
    decided_by: &'static str,
    /// The system calls that it stands for.
    calls: Vec<Call>,
    /// Why it is so.
    reason: &'static str,
}

/// A system call, with the parameters that conditions can speak of.
#[derive(JsonSchema, Serialize)]
struct Call {
    /// Its name.
    name: &'static str,
    /// Those that conditions can speak of.
    arguments: Vec<Parameter>,
}

#[derive(JsonSchema, Serialize)]
struct Parameter {
    /// From 0.
    index: u8,
    /// The operation's fields that it says something of.
    fields: &'static [&'static str],
}

impl Import {
    pub(crate) fn execute(self) -> ExitCode {
        match self.from {
            From::Seccomp(seccomp) if seccomp.map => seccomp.map(),
            From::Seccomp(seccomp) => seccomp.import(),
            From::Oci(oci) => oci.import(),
        }
    }
}

impl Seccomp {
    fn import(self) -> ExitCode {
        let profile = self.profile.as_deref().unwrap_or("-");
        let text = match input::text(profile, LONGEST) {
            Ok(text) => text,
            Err(error) => return style::fail(format_args!("cannot read `{profile}`: {error}"), UNUSABLE),
        };
        let (name, origin) = called(profile);
        let import = seccomp_import::Import {
            name: self.name.clone().unwrap_or(name),
            origin,
            capabilities: self.capabilities,
            kernel: self.kernel_version,
            allow: self.allow,
            profile: self.name,
        };
        let policy = match import.seccomp(&text) {
            Ok(imported) => {
                for warning in &imported.warnings {
                    complain!("{BOLD}warning{BOLD:#}: {}: {warning}", profile);
                }
                imported.policy
            }
            Err(error @ ImportError::Profile(ReadError::Place { .. })) => {
                return style::fail(format_args!("{profile}:{error}"), UNUSABLE);
            }
            Err(error) => return style::fail(error, UNUSABLE),
        };
        output::write(self.output.as_deref(), policy.as_bytes())
    }

    fn map(self) -> ExitCode {
        if self.format == Format::Json {
            let rows = SYSCALL_EQUIVALENTS.iter().map(|row| Row {
                name: row.operation.to_string(),
                decided_by: match row.stands_for {
                    StandsFor::Harmless => "allow",
                    StandsFor::Unlike => "deny",
                    _ => "profile",
                },
                calls: row
                    .calls()
                    .iter()
                    .map(|name| Call {
                        name,
                        arguments: Argument::of(name)
                            .iter()
                            .map(|argument| Parameter { index: argument.index, fields: argument.fields })
                            .collect(),
                    })
                    .collect(),
                reason: row.reason,
            });
            return format::json(&Map { operations: rows.collect() }, ExitCode::SUCCESS);
        }
        for row in SYSCALL_EQUIVALENTS {
            let calls = match row.stands_for {
                StandsFor::Harmless => "- allowed".to_owned(),
                StandsFor::Unlike => "- denied".to_owned(),
                _ => row.calls().join(", "),
            };
            say!("{BOLD}{:<17}{BOLD:#} {calls:<26} {}", row.operation.to_string(), row.reason);
        }
        ExitCode::SUCCESS
    }
}

/// What a policy that is imported from there is called, and what its comments call the file.
fn called(file: &str) -> (String, String) {
    let path = Path::new(file);
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    match file {
        input::STDIN => ("imported".to_owned(), "from standard input".to_owned()),
        _ => (text(path.file_stem()), text(path.file_name())),
    }
}

/// The most bytes of a profile.
const LONGEST: u64 = 64 << 20;
