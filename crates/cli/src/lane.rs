//! The lane that the command line asks for, and why it cannot be had, in words of the command line.

use crate::layers::{self, Unusable};
use clap::ValueEnum;
use ringwarden::guard::SPLITS_RINGS;
use ringwarden::policy::Policy;
use ringwarden::{Choice, NoChoice, Wishes};

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lane {
    /// The first of the others that holds the policy here
    Auto,
    /// The kernel's own filters, put on the program before it starts: Linux 7.0 and later
    #[value(alias = "kernel")]
    Tasks,
    /// Rings made for the program and restricted by the kernel: whole operations, Linux 5.10 and later
    Restricted,
    /// Rings made for the program, with the kernel's own filters: any policy, Linux 7.0 and later
    Filtered,
    /// A guard that looks at each request before the kernel sees it: any policy, Linux 6.10 and later
    #[value(alias = "guard")]
    Split,
}

/// What to do about a policy that is beyond another lane.
pub(crate) const ANY_POLICY: &str = if SPLITS_RINGS {
    "`--lane split` holds every policy"
} else {
    "`--lane split`, which holds every policy, is x86-64 only"
};

/// Why there is no lane.
pub(crate) enum Refused {
    /// Something about the policies, to be followed by a hint.
    Policies { unusable: Unusable, hint: Option<&'static str> },
    /// Something about the machine or the command line.
    Machine(String),
}

impl Lane {
    /// The lane that is insisted on.
    fn wanted(self) -> Option<ringwarden::Lane> {
        match self {
            Self::Auto => None,
            Self::Tasks => Some(ringwarden::Lane::Tasks),
            Self::Restricted => Some(ringwarden::Lane::Restricted),
            Self::Filtered => Some(ringwarden::Lane::Filtered),
            Self::Split => Some(ringwarden::Lane::Split),
        }
    }

    /// Chooses, trying out the kernel's filters where they may be used.
    ///
    /// # Errors
    /// The policies are wrong, or the lane that was asked for cannot do what is asked.
    pub(crate) fn choose(self, wishes: &Wishes, layers: &[Policy]) -> Result<Choice, Refused> {
        Choice::with(layers, self.wanted(), wishes).map_err(refused)
    }
}

fn refused(reason: NoChoice) -> Refused {
    let seen = "the policies are compiled for what this kernel's filters see; `--lane split` sees more";
    Refused::Machine(match reason {
        NoChoice::Policies(error) => {
            return Refused::Policies { unusable: layers::unenforceable(error), hint: None };
        }
        NoChoice::Unseen(error) => {
            let hint = SPLITS_RINGS.then_some(seen);
            return Refused::Policies { unusable: layers::unenforceable(error), hint };
        }
        NoChoice::Wish { reason, .. } => {
            let only = if SPLITS_RINGS { "" } else { ", which is x86-64 only" };
            format!("{reason}: what was asked for takes `--lane split`{only}")
        }
        NoChoice::Restricted(why) => format!("the restricted lane cannot hold this: {why}; {ANY_POLICY}"),
        NoChoice::Tasks(beyond) => format!("{beyond}: use `--lane filtered`, or leave that table out"),
        NoChoice::Lacking(lacking) => {
            let others = if SPLITS_RINGS {
                "`--lane split` enforces the same policies on every kernel from 6.10 on"
            } else {
                ANY_POLICY
            };
            format!(
                "the kernel's own filters cannot be used here: {lacking}; {others}, and `ringwarden doctor` shows what \
                 this machine has"
            )
        }
        // Each reason says what would have to be otherwise.
        NoChoice::Architecture { why } => {
            let why: String = why.iter().map(|reason| format!("; {reason}")).collect();
            format!("this takes `--lane split`, which is x86-64 only{why}")
        }
        other => other.to_string(),
    })
}
