//! Policies that are compiled for a kernel, as C programs hold them.

use crate::abi::Code;
use crate::error::Error;
use crate::means::Means;
use crate::rules::Rules;
use crate::string::c_string;
use ringwarden::kernel::Facts;
use ringwarden::policy::{self, Diagnostics};
use ringwarden::uapi::KernelModel;
use std::ffi::{CStr, CString};

/// `struct ringwarden_enforcement`: policies, compiled for a kernel. It does not change, but for text that it gives
/// away, behind a lock.
#[derive(Debug)]
pub struct Enforcement {
    pub(crate) inner: ringwarden::Enforcement,
    pub(crate) layers: Vec<policy::Policy>,
    pub(crate) rules: Rules,
    pub(crate) means: Means,
    kernel: CString,
}

/// The name that stands for the kernel that is running.
const RUNNING: &str = "running";

impl Enforcement {
    /// Compiles policies for the kernel of that name; without one for the newest, or the guard where a rule needs it.
    pub(crate) fn new(layers: Vec<policy::Policy>, kernel: Option<&CStr>) -> Result<Self, Error> {
        let name = kernel.map(|name| name.to_str().map_err(|_| Error::argument("kernel", "is not UTF-8")));
        let name = name.transpose()?;
        let model = match name {
            None => layers.iter().map(policy::Policy::needs).max().unwrap_or_default(),
            Some(RUNNING) => Facts::find().usable()?,
            Some(other) => other.parse::<KernelModel>().map_err(|unknown| {
                Error::new(Code::Kernel, &format!("{unknown}; `{RUNNING}` is the one that runs"))
            })?,
        };
        let inner = ringwarden::Enforcement::new(&layers, model)?;
        let means = if name == Some(RUNNING) { Means::of(&inner) } else { Means::OtherKernel(model) };
        let kernel = c_string(model.facts().name);
        Ok(Self { inner, layers, rules: Rules::default(), means, kernel })
    }

    /// The kernel that it is compiled for.
    pub(crate) fn kernel(&self) -> &CStr {
        &self.kernel
    }

    /// The rules of which it is not proved that their programs are what they say.
    pub(crate) fn warnings(&self) -> Option<&Diagnostics> {
        self.inner.unproved()
    }
}
