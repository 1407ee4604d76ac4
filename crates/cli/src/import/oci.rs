//! `ringwarden import oci`: a policy from the restrictions of an OCI container.

use super::called;
use crate::{UNUSABLE, input, output, style};
use clap::Args;
use ringwarden::oci::IoUring;
use std::path::PathBuf;
use std::process::ExitCode;

/// Make a policy of the io_uring restrictions of an OCI container: one that means the same.
///
/// CONFIG is a container's config.json, with `linux.ioUring` or the annotation dev.youki.io_uring, or the restrictions by
/// themselves: {"defaultAction": "deny", "ops": ["IORING_OP_READ"], "socketFamilies": ["AF_INET"], "deniedSqeFlags":
/// ["IOSQE_FIXED_FILE"]}. Names that are not known here are refused. docs/export.md says what each key is taken to mean.
#[derive(Args)]
#[command(after_help = "\
Example:
  ringwarden import oci config.json -o policy.toml
  ringwarden run -p policy.toml -- PROGRAM

Exit status: 0 when there is a policy;
  2  CONFIG cannot be read, or has no restrictions, or FILE cannot be written")]
pub(super) struct Oci {
    /// The container's configuration, or - for standard input
    config: String,
    /// Where the policy goes, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The most bytes of a configuration.
const LONGEST: u64 = 16 << 20;

impl Oci {
    pub(super) fn import(self) -> ExitCode {
        let Self { config, output } = self;
        let text = match input::text(&config, LONGEST) {
            Ok(text) => text,
            Err(error) => return style::fail(format_args!("cannot read `{config}`: {error}"), UNUSABLE),
        };
        let (name, origin) = called(&config);
        match IoUring::read(&text) {
            Ok(restrictions) => output::write(
                output.as_deref(),
                restrictions.policy(&name, &format!("of {origin}")).as_bytes(),
            ),
            Err(error) => style::fail(format_args!("{config}:{error}"), UNUSABLE),
        }
    }
}
