//! A seccomp profile to a policy: the widest one that lets nothing through which the profile denies
//! as a system call.
//!
//! The profile is read ([`Profile`]); its rules that apply ([`Setting`]) say of each call that an
//! operation stands for ([`syscall_equivalent`](crate::data::syscall_equivalent)) whether it is allowed ([`verdict`]), under
//! conditions that are sets of an argument's values ([`condition`], [`formula`]); those are written
//! as expressions ([`expression`]), and all of it as a file ([`file`]).

mod call;
mod condition;
mod doubt;
mod expression;
mod file;
mod formula;
mod ranges;
mod sample;
mod verdict;

pub use ringwarden_profile::{Capability, ReadError, kernel_version};

use crate::check;
use crate::compile::compile;
use crate::data::syscall_equivalent::{SYSCALL_EQUIVALENTS, StandsFor, SyscallEquivalent};
use crate::diagnostic::Code;
use crate::diagnostic::source::Source;
use crate::policy::Policy;
use formula::Formula;
use ringwarden_profile::{Profile, Setting};
use ringwarden_uapi::{KernelModel, Opcode};
use std::sync::Arc;
use verdict::{Decided, Verdict};

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

/// An operation in the policy.
#[derive(Debug)]
struct Ruling {
    row: &'static SyscallEquivalent,
    rule: Rule,
    /// What the reader should know of it.
    notes: Vec<String>,
}

/// What a policy says of an operation.
#[derive(Debug)]
enum Rule {
    Allow,
    /// Where this holds of the arguments of the call; the expression that says so.
    When(&'static str, Formula, String),
    /// The call that is denied, and why.
    Deny(&'static str, String),
    /// It stands for no call, and was not asked for.
    Unasked,
}

impl Import {
    /// The widest policy that lets nothing through which a seccomp profile denies: the text of a file
    /// that [`Policy::parse`] reads, with comments for the people who review it.
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
        let rulings =
            SYSCALL_EQUIVALENTS.iter().map(|row| self.ruling(&profile, &setting, row)).collect::<Vec<_>>();
        let warnings = doubt::all(&profile);
        Ok(Imported { policy: file::write(self, &profile, &setting, &rulings, &warnings), warnings })
    }

    fn ruling(&self, profile: &Profile, setting: &Setting<'_>, row: &'static SyscallEquivalent) -> Ruling {
        let mut ruling = Ruling { row, rule: Rule::Allow, notes: Vec::new() };
        if row.stands_for == StandsFor::Unlike && !self.allow.contains(&row.operation) {
            ruling.rule = Rule::Unasked;
        }
        for &call in row.calls() {
            let Decided { verdict, notes } = verdict::decide(profile, *setting, row.operation, call);
            ruling.rule = match verdict {
                Verdict::Allowed => continue,
                Verdict::Denied(why) => {
                    ruling.rule = Rule::Deny(call, why);
                    break;
                }
                Verdict::Depends(formula) => {
                    let text = expression::of(&formula, row.operation, call);
                    match usable(row.operation, &text) {
                        Usable::Yes => Rule::When(call, formula, text),
                        Usable::Always => continue,
                        Usable::No(why) => Rule::Deny(call, why.to_owned()),
                    }
                }
            };
            ruling.notes = notes;
        }
        ruling
    }
}

/// Whether a policy can say an expression.
enum Usable {
    Yes,
    /// Every request meets it.
    Always,
    /// Why not.
    No(&'static str),
}

/// Whether an expression is a rule, and one that kernels can hold.
fn usable(operation: Opcode, expression: &str) -> Usable {
    let text = format!("version = 1\ndefault = \"deny\"\n[ops]\n{operation} = \"{expression}\"\n");
    let errors = match Policy::parse(&text, "").and_then(|policy| compile(&[policy], KernelModel::default()))
    {
        Ok(_) => return Usable::Yes,
        Err(errors) => errors,
    };
    if errors.iter().all(|error| error.code() != Code::Constant) {
        return Usable::No("its conditions are too long for a filter");
    }
    match check::outcome(&Arc::new(Source::new("", expression)), operation, expression) {
        Some(true) => Usable::Always,
        Some(false) => Usable::No("no call meets its conditions"),
        None => Usable::No("part of its conditions always comes out the same, which no policy says"),
    }
}
