//! Which lane holds policies on this machine: who enforces them, and how.

use crate::layers::Unusable;
use clap::ValueEnum;
use ringwarden::Enforcement;
use ringwarden::filter::OperationRules;
use ringwarden::guard::SPLITS_RINGS;
use ringwarden::kernel::{Facts, Kernel, Lacking};
use ringwarden::uapi::KernelModel;

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
/// Why [`Enforcement::kernel`] has none.
pub(crate) const SETUP: &str = "only who makes the rings can hold what `[setup]` says of them";

/// What only the split lane can do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes<'a> {
    /// Refused requests are to be told of; and why those cannot be that the kernel refuses.
    pub(crate) unheard: Option<&'a str>,
    /// Be like that kernel.
    pub(crate) model: Option<KernelModel>,
    /// Let programs have filters of their own.
    pub(crate) own_filters: bool,
    /// Refuse nothing.
    pub(crate) permissive: bool,
}

impl<'a> Wishes<'a> {
    /// Why no lane will do in which the kernel decides.
    fn beyond_the_kernel(self) -> Option<&'a str> {
        match self {
            Self { permissive: true, .. } => Some("only the guard lets pass what a policy refuses"),
            Self { model: Some(_), .. } => Some("no kernel is like another"),
            Self { unheard, .. } => unheard,
        }
    }

    /// Why no lane will do in which somebody else makes the program's rings.
    fn beyond_a_maker(self) -> Option<&'a str> {
        let own = "rings that are made for a program have no filters of its own";
        self.beyond_the_kernel().or_else(|| self.own_filters.then_some(own))
    }
}

/// What it comes to: policies compiled for a lane.
pub(crate) enum Choice {
    /// The kernel's filters, which keep to that model.
    Tasks { enforcement: Enforcement, kernel: Kernel, model: KernelModel },
    /// Restricted rings.
    Restricted { enforcement: Enforcement, operations: OperationRules },
    /// Rings with the kernel's filters, which keep to that model.
    Filtered { enforcement: Enforcement, model: KernelModel },
    /// Split rings; `why` no other lane, unless it was asked for.
    Split { enforcement: Enforcement, why: Vec<String> },
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

impl Lane {
    /// Chooses, trying out the kernel's filters where they may be used. `load` compiles the policies
    /// for a kernel, or for what they need.
    ///
    /// # Errors
    /// The policies are wrong, or the lane that was asked for cannot do what is asked.
    pub(crate) fn choose(
        self,
        wishes: Wishes<'_>,
        load: impl Fn(Option<KernelModel>) -> Result<Enforcement, Unusable>,
    ) -> Result<Choice, NoChoice> {
        if wishes.model == Some(KernelModel::Guard) {
            return Err(NoChoice::Machine(
                "programs see a kernel's filters, and `guard` is no kernel".into(),
            ));
        }
        match self {
            Self::Tasks => return insist_on_tasks(wishes, load),
            Self::Filtered => return insist_on_filtered(wishes, load),
            _ => {}
        }
        // The newest kernel's filters see the most of all kernels'.
        let enforcement = load(wishes.model)?;
        match self {
            Self::Split => return split(enforcement, Vec::new()),
            Self::Restricted => {
                let operations = restricted(wishes, &enforcement).map_err(|why| {
                    NoChoice::Machine(format!("the restricted lane cannot hold this: {why}; {ANY_POLICY}"))
                })?;
                return Ok(Choice::Restricted { enforcement, operations });
            }
            _ => {}
        }
        let facts = match wishes.beyond_the_kernel().map(str::to_owned).or_else(|| enforcement.guards_own()) {
            None => Ok(Facts::find()),
            Some(reason) => Err(reason),
        };
        let compiled = |usable: Usable| compiled_for(usable(facts.as_ref()?), &load);
        let mut why = Vec::new();
        match compiled(Facts::usable) {
            Ok((enforcement, model)) => match enforcement.kernel() {
                Some(kernel) => return Ok(Choice::Tasks { enforcement, kernel, model }),
                None => why.push(SETUP.to_owned()),
            },
            Err(reason) => why.push(format!("the kernel's own filters are not used: {reason}")),
        }
        match restricted(wishes, &enforcement) {
            Ok(operations) => return Ok(Choice::Restricted { enforcement, operations }),
            Err(reason) => why.push(format!("its rings cannot be left to the kernel: {reason}")),
        }
        match (compiled(Facts::usable_on_rings), wishes.beyond_a_maker()) {
            (Ok((enforcement, model)), None) => Ok(Choice::Filtered { enforcement, model }),
            _ => split(enforcement, why),
        }
    }
}

/// The split lane, which `why` no other will do.
fn split(enforcement: Enforcement, why: Vec<String>) -> Result<Choice, NoChoice> {
    if SPLITS_RINGS {
        return Ok(Choice::Split { enforcement, why });
    }
    // Each reason says what would have to be otherwise.
    let why: String = why.iter().map(|reason| format!("; {reason}")).collect();
    Err(NoChoice::Machine(format!("this takes `--lane split`, which is x86-64 only{why}")))
}

/// Whether the kernel's filters can be relied on.
type Usable = fn(&Facts) -> Result<KernelModel, Lacking>;

/// Policies compiled for the kernel's own filters, where those are `usable` as filters of a model.
///
/// # Errors
/// Why they are not used.
pub(crate) fn compiled_for(
    usable: Result<KernelModel, Lacking>,
    load: impl Fn(Option<KernelModel>) -> Result<Enforcement, Unusable>,
) -> Result<(Enforcement, KernelModel), String> {
    let model = usable.map_err(|lacking| lacking.to_string())?;
    let enforcement = load(Some(model)).map_err(|_| {
        format!("this kernel's filters, those of Linux {model}, do not see what the policy asks for")
    })?;
    Ok((enforcement, model))
}

/// The rules that rings are restricted to.
///
/// # Errors
/// Why that will not do.
fn restricted(wishes: Wishes<'_>, enforcement: &Enforcement) -> Result<OperationRules, String> {
    match wishes.beyond_a_maker() {
        Some(reason) => Err(reason.into()),
        None => enforcement
            .operations()
            .map_err(|beyond| enforcement.guards_own().unwrap_or_else(|| beyond.to_string())),
    }
}

fn insist_on_tasks(
    wishes: Wishes<'_>,
    load: impl Fn(Option<KernelModel>) -> Result<Enforcement, Unusable>,
) -> Result<Choice, NoChoice> {
    let (enforcement, model) = insist_on_filters(Facts::usable, wishes.beyond_the_kernel(), load)?;
    match enforcement.kernel() {
        Some(kernel) => Ok(Choice::Tasks { enforcement, kernel, model }),
        None => Err(NoChoice::Machine(format!("{SETUP}: use `--lane filtered`, or leave that table out"))),
    }
}

fn insist_on_filtered(
    wishes: Wishes<'_>,
    load: impl Fn(Option<KernelModel>) -> Result<Enforcement, Unusable>,
) -> Result<Choice, NoChoice> {
    let (enforcement, model) = insist_on_filters(Facts::usable_on_rings, wishes.beyond_a_maker(), load)?;
    Ok(Choice::Filtered { enforcement, model })
}

/// Policies compiled for the kernel's own filters, and nothing else will do.
fn insist_on_filters(
    usable: Usable,
    beyond: Option<&str>,
    load: impl Fn(Option<KernelModel>) -> Result<Enforcement, Unusable>,
) -> Result<(Enforcement, KernelModel), NoChoice> {
    if let Some(reason) = beyond {
        let only = if SPLITS_RINGS { "" } else { ", which is x86-64 only" };
        return Err(NoChoice::Machine(format!("{reason}: what was asked for takes `--lane split`{only}")));
    }
    let hint = SPLITS_RINGS
        .then_some("the policies are compiled for what this kernel's filters see; `--lane split` sees more");
    let compile = |model| load(Some(model)).map_err(|unusable| NoChoice::Policies { unusable, hint });
    // What the newest kernel's filters do not see, none does.
    compile(KernelModel::default())?;
    let model = usable(&Facts::find()).map_err(|lacking| {
        let others = if SPLITS_RINGS {
            "`--lane split` enforces the same policies on every kernel from 6.10 on"
        } else {
            ANY_POLICY
        };
        NoChoice::Machine(format!(
            "the kernel's own filters cannot be used here: {lacking}; {others}, and `ringwarden doctor` shows what \
             this machine has"
        ))
    })?;
    Ok((compile(model)?, model))
}
