//! Policies as C programs hold them.

use crate::error::Error;
use crate::string::c_string;
use ringwarden::policy::{self, Diagnostics};
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;

/// `struct ringwarden_policy`: a policy, read and checked.
#[derive(Debug)]
pub struct Policy {
    policy: policy::Policy,
    name: Option<CString>,
}

impl Policy {
    /// Of a file, or a preset.
    pub(crate) fn from_file(path: &CStr) -> Result<Self, Error> {
        Ok(policy::Policy::from_file(OsStr::from_bytes(path.to_bytes()))?.into())
    }

    /// Of a text that is in a file of that name, or might be.
    pub(crate) fn from_text(text: &[u8], file: &CStr) -> Result<Self, Error> {
        let file = file.to_str().map_err(|_| Error::argument("file", "is not UTF-8"))?;
        let unreadable = |reason| policy::file::FileError::Unreadable { name: file.to_owned(), reason };
        let text = policy::file::text(text.to_vec()).map_err(unreadable)?;
        let policy = policy::file::parse(&text, file).map_err(|diagnostics| Error::from(&diagnostics))?;
        Ok(policy.into())
    }

    /// What it calls itself.
    pub(crate) fn name(&self) -> Option<&CStr> {
        self.name.as_deref()
    }

    pub(crate) fn warnings(&self) -> Option<Diagnostics> {
        self.policy.warnings()
    }

    pub(crate) fn inner(&self) -> &policy::Policy {
        &self.policy
    }
}

impl From<policy::Policy> for Policy {
    fn from(policy: policy::Policy) -> Self {
        Self { name: policy.name().map(c_string), policy }
    }
}
