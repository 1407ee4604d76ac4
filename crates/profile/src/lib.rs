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
mod error;
mod inside;
mod profile;
mod read;
mod remark;
mod resolve;
mod resource;
mod setting;
mod stranger;
mod version;
mod yaml;

pub use agent::{Listener, Unfit};
pub use error::ReadError;
pub use inside::Conditional;
pub use profile::{Action, Architecture, Arg, Circumstances, Operator, Profile, Rule};
pub use setting::{ARCHITECTURE, Capability, NATIVE, Setting};
pub use version::kernel_version;
