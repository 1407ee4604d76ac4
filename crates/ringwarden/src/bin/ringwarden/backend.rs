//! Which backend enforces policies on this machine.

use crate::layers::Unusable;
use clap::ValueEnum;
use ringwarden::Enforcement;
use ringwarden::kernel::{Facts, Kernel, Lacking};
use ringwarden::uapi::KernelModel;

/// What the command line asks for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// The kernel's own filters where they pass a self-test, the guard elsewhere
    Auto,
    /// The kernel's own filters, Linux 7.0 and later
    Kernel,
    /// A supervisor that checks each request before the kernel sees it
    Guard,
}

/// Why [`Enforcement::kernel`] has none.
const SETUP: &str = "only the guard can hold what `[setup]` says of new rings";

/// What only the guard can do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    /// Tell of refused requests.
    pub(crate) reports: bool,
    /// Be like that kernel.
    pub(crate) model: Option<KernelModel>,
}

impl Wishes {
    /// Why the kernel's own filters will not do.
    fn beyond_the_kernel(self) -> Option<&'static str> {
        match self {
            Self { reports: true, .. } => Some("only the guard can tell of refused requests"),
            Self { model: Some(_), .. } => Some("only the guard can be like another kernel"),
            _ => None,
        }
    }
}

/// What it comes to: policies compiled for a backend.
pub(crate) enum Choice {
    /// The kernel's filters, which keep to that model.
    Kernel { enforcement: Enforcement, kernel: Kernel, model: KernelModel },
    /// The guard; `why` not the kernel, unless it was asked for.
    Guard { enforcement: Enforcement, why: Option<String> },
}

/// Why there is no choice.
pub(crate) enum NoChoice {
    /// Something about the policies, to be followed by a hint.
    Policies { unusable: Unusable, hint: Option<&'static str> },
    /// Something about the machine or the command line.
    Machine(String),
}

impl From<Unusable> for NoChoice {
    fn from(unusable: Unusable) -> Self {
        Self::Policies { unusable, hint: None }
    }
}

impl Backend {
    /// Chooses, trying out the kernel's filters where they may be used. `load` compiles the policies
    /// for a kernel.
    ///
    /// # Errors
    /// The policies are wrong, or the backend that was asked for cannot do what is asked.
    pub(crate) fn choose(
        self,
        wishes: Wishes,
        load: impl Fn(KernelModel) -> Result<Enforcement, Unusable>,
    ) -> Result<Choice, NoChoice> {
        if self == Self::Kernel {
            return by_kernel(wishes, load);
        }
        // The newest kernel's filters see the most.
        let enforcement = load(wishes.model.unwrap_or_default())?;
        if self == Self::Guard {
            return Ok(Choice::Guard { enforcement, why: None });
        }
        let guard = |why: String| Ok(Choice::Guard { enforcement, why: Some(why) });
        if let Some(reason) = wishes.beyond_the_kernel() {
            return guard(reason.into());
        }
        match by_facts(Facts::find().usable(), load) {
            Ok((enforcement, kernel, model)) => Ok(Choice::Kernel { enforcement, kernel, model }),
            Err(why) => guard(why),
        }
    }
}

/// Policies compiled for the kernel's own filters, where those are `usable` as filters of a model.
///
/// # Errors
/// Why they are not used.
pub(crate) fn by_facts(
    usable: Result<KernelModel, Lacking>,
    load: impl Fn(KernelModel) -> Result<Enforcement, Unusable>,
) -> Result<(Enforcement, Kernel, KernelModel), String> {
    let model = usable.map_err(|lacking| lacking.to_string())?;
    let enforcement = load(model).map_err(|_| {
        format!("this kernel's filters, those of Linux {model}, do not see what the policy asks for")
    })?;
    let kernel = enforcement.kernel().ok_or(SETUP)?;
    Ok((enforcement, kernel, model))
}

fn by_kernel(
    wishes: Wishes,
    load: impl Fn(KernelModel) -> Result<Enforcement, Unusable>,
) -> Result<Choice, NoChoice> {
    if let Some(reason) = wishes.beyond_the_kernel() {
        return Err(NoChoice::Machine(format!(
            "{reason}: `--audit`, `--verbose` and `--model` need `--backend guard`"
        )));
    }
    let model = Facts::find().usable().map_err(|lacking| {
        NoChoice::Machine(format!(
            "the kernel backend cannot be used here: {lacking}; `--backend guard` enforces the same \
             policies on every kernel from 6.10 on, and `ringwarden doctor` shows what this machine has"
        ))
    })?;
    let enforcement = load(model).map_err(|unusable| NoChoice::Policies {
        unusable,
        hint: Some(
            "the policies are compiled for what this kernel's filters see; `--backend guard` sees more",
        ),
    })?;
    match enforcement.kernel() {
        Some(kernel) => Ok(Choice::Kernel { enforcement, kernel, model }),
        None => Err(NoChoice::Machine(format!("{SETUP}: use `--backend guard`, or leave that table out"))),
    }
}
