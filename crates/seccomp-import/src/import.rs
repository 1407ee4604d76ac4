//! [`Import`]: how a profile becomes a policy, and what comes of it.

use crate::doubt;
use crate::file::File;
use crate::ruling::Ruling;
use ringwarden_policy::{SYSCALL_EQUIVALENTS, StandsFor, SyscallEquivalent};
use ringwarden_profile::{Capability, Profile, ReadError, Setting};
use ringwarden_uapi::Opcode;

/// How a seccomp profile becomes a policy.
#[derive(Clone, Debug)]
pub struct Import {
    /// What the policy is called.
    pub name: String,
    /// What the policy's comments call the profile, such as the name of its file.
    pub origin: String,
    /// What the container may do besides: rules of the profile depend on it.
    pub capabilities: Vec<Capability>,
    /// Major and minor number of the oldest kernel that the policy is for: rules depend on it.
    pub kernel: (u32, u32),
    /// Operations to allow that stand for no system call; others are the profile's to allow.
    pub allow: Vec<Opcode>,
    /// Which of several profiles in one file, by the name of its object, with or without the namespace.
    pub profile: Option<String>,
}

/// What a profile became.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The text of a policy.
    pub policy: String,
    /// What the profile says that may be a mistake, or that no policy can say. The policy has it in comments,
    /// too.
    pub warnings: Vec<String>,
}

/// Why a profile does not become a policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The text is not a profile.
    #[error(transparent)]
    Profile(#[from] ReadError),
    /// An operation was asked for by [`Import::allow`] that is the profile's to allow.
    #[error("`{operation}` stands for {}, which the profile decides", calls.join(", "))]
    HasTwin {
        /// The operation.
        operation: Opcode,
        /// The system calls that it stands for.
        calls: &'static [&'static str],
    },
}

impl Import {
    /// The widest policy that lets nothing through which a seccomp profile denies: the text of a file
    /// that [`Policy::parse`](ringwarden_policy::Policy::parse) reads, with comments for the people who review it.
    ///
    /// `text` is JSON or YAML: the profile as OCI runtimes, Docker and Podman have it, a container's `config.json`
    /// of which it is a part, or a Kubernetes `SeccompProfile` or a list of those.
    ///
    /// # Errors
    /// The text is not a profile, or has keys that profiles do not have: what is not understood may
    /// be what denies. Or an operation is asked for that the profile decides.
    pub fn seccomp(&self, text: &str) -> Result<Imported, ImportError> {
        for &operation in &self.allow {
            if let Some(StandsFor::Calls(calls)) = SyscallEquivalent::of(operation).map(|row| row.stands_for)
            {
                return Err(ImportError::HasTwin { operation, calls });
            }
        }
        let profile = Profile::read(text, self.profile.as_deref())?;
        let setting = Setting { capabilities: &self.capabilities, kernel: self.kernel };
        let rulings: Vec<_> = SYSCALL_EQUIVALENTS
            .iter()
            .map(|row| Ruling::new(row, &profile, setting, self.allow.contains(&row.operation)))
            .collect();
        let warnings = doubt::all(&profile);
        let file = File {
            name: &self.name,
            origin: &self.origin,
            profile: &profile,
            setting,
            rulings: &rulings,
            warnings: &warnings,
        };
        Ok(Imported { policy: file.text(), warnings })
    }
}
