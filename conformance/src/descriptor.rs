//! Which descriptors a filter can be registered on.

use crate::script::kernels;
use crate::{Kernels, Res};
use ringwarden_uapi::Errno;
use serde::Deserialize;

/// A valid registration, which denies NOP, on some descriptor.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Raw")]
pub struct DescriptorCase {
    /// What it shows.
    pub name: String,
    /// The kernels it is about.
    pub kernels: Kernels,
    /// The descriptor.
    pub on: Descriptor,
    /// What the call returns.
    pub result: Res,
}

/// What a register call is made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Descriptor {
    /// -2.
    MinusTwo,
    /// A number that no open file has.
    Closed,
    /// A file that is no ring.
    File,
    /// The index of a ring that the task has registered, with `IORING_REGISTER_USE_REGISTERED_RING`.
    RegisteredRing,
    /// -1 with `IORING_REGISTER_USE_REGISTERED_RING`.
    RegisteredTask,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    since: Option<String>,
    until: Option<String>,
    on: Descriptor,
    result: Option<String>,
}

impl TryFrom<Raw> for DescriptorCase {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let errno = |name: &str| Errno::from_name(name).map(Errno::negated).ok_or("no such errno");
        Ok(Self {
            kernels: kernels(raw.since.as_deref(), raw.until.as_deref())?,
            name: raw.name,
            on: raw.on,
            result: Res::Value(raw.result.as_deref().map(errno).transpose()?.unwrap_or_default()),
        })
    }
}
