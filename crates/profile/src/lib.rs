//! Seccomp profiles of containers as files.
//!
//! A profile is read ([`Profile::read`]) from what OCI runtimes, Docker, Podman and Kubernetes take. It says what
//! becomes of a call ([`Profile::decide`]), in a [`Setting`], on which its rules depend. It is fitted to io_uring under
//! a policy, which is held by an agent outside of the container ([`Profile::for_agent`]) or by Ringwarden inside
//! ([`Profile::for_calls`]), and written, by [`serde`], with no rule lost; or with all decided that not every runtime
//! can decide ([`Profile::resolved`]).
//!
//! Nothing here makes a system call.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod agent;
mod decide;
mod inside;
mod profile;
mod read;
mod remark;
mod resolve;
mod resource;
mod setting;
mod stranger;
mod yaml;

pub use agent::{Listener, Unfit};
pub use inside::Conditional;
pub use profile::{Action, Architecture, Arg, Circumstances, Operator, Profile, Rule};
pub use setting::{ARCHITECTURE, Capability, NATIVE, Setting, kernel_version};

/// Why a text is not a profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is no JSON or YAML, or not a profile.
    #[error("{line}:{column}: {message}")]
    Place {
        /// The line, from 1.
        line: usize,
        /// The column, from 1; 0 at the end of a line.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A list has no profile of the name that was asked for, or several and none was.
    #[error("{}", choice(names))]
    Choice {
        /// The profiles that it has, with their namespaces.
        names: Vec<String>,
    },
}

fn choice(names: &[String]) -> String {
    match names {
        [] => "there is no seccomp profile in this list".to_owned(),
        names => format!("choose a profile by `--name`: {}", names.join(", ")),
    }
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let place = format!(" at line {line} column {column}");
        Self::Place { line, column, message: text.strip_suffix(&place).unwrap_or(&text).to_owned() }
    }
}
