//! `ringwarden export oci`: policies as restrictions of an OCI container.

use crate::{UNUSABLE, layers, output, style};
use clap::Args;
use ringwarden::oci::ANNOTATION;
use ringwarden::uapi::KernelModel;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a policy as io_uring restrictions of an OCI container: `linux.ioUring`, as proposed for the runtime specification.
///
/// Such restrictions have whole operations, address families of sockets, and flags that are denied to all requests. A
/// policy that says more is refused, by the name of the rule; whether it does is decided by what it means. Several
/// policies are layers: every one must allow a request.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when it is done;
  1  a rule is more than such restrictions hold
  2  a policy cannot be read or has errors, or FILE cannot be written

Examples:
  ringwarden export oci @file-io
  ringwarden export oci policy.toml --annotation | jq -s '.[0].annotations += .[1] | .[0]' config.json -")]
pub(super) struct Oci {
    /// Policy files, - for standard input, or presets such as @file-io
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<String>,
    /// Write the annotation by which a draft of youki takes them, dev.youki.io_uring, in an object
    #[arg(long)]
    annotation: bool,
    /// Where they go, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Oci {
    pub(super) fn export(self) -> ExitCode {
        let enforcement = match layers::load(&self.policies, KernelModel::default()) {
            Ok(enforcement) => enforcement,
            Err(unusable) => {
                unusable.print();
                return ExitCode::from(UNUSABLE);
            }
        };
        let restrictions = match enforcement.io_uring() {
            Ok(restrictions) => restrictions,
            Err(excess) => {
                return style::fail(
                    format_args!("restrictions of a container cannot hold this: {excess}"),
                    1,
                );
            }
        };
        let text = match self.annotation {
            false => serde_json::to_string_pretty(&restrictions),
            true => serde_json::to_string(&restrictions)
                .and_then(|text| serde_json::to_string_pretty(&serde_json::json!({ ANNOTATION: text }))),
        };
        match text {
            Ok(text) => output::write(self.output.as_deref(), format!("{text}\n").as_bytes()),
            Err(error) => style::fail(error, crate::FAILED),
        }
    }
}
