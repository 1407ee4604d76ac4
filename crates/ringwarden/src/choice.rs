//! The lane that holds policies on this machine.

use crate::run::RunError;
use crate::{BeyondTasks, EnforceError, Enforcement, Lane};
use ringwarden_filter::OperationRules;
use ringwarden_guard::{Guard, Maker, SPLITS_RINGS};
use ringwarden_kernel::{Facts, Kernel, Lacking, Status};
use ringwarden_policy::Policy;
use ringwarden_uapi::KernelModel;
use std::ffi::OsStr;

/// Policies, compiled for the lane that holds them here.
///
/// ```no_run
/// use ringwarden::{Choice, policy::Policy};
///
/// let policy = Policy::from_file("mine.toml")?;
/// let choice = Choice::here(&[policy])?;
/// println!("the lane {} holds {}", choice.lane(), "mine.toml");
/// let status = choice.run(&["postgres", "-D", "data"])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub enum Choice {
    /// The kernel's filters.
    Tasks {
        /// The policies.
        enforcement: Enforcement,
        /// What puts programs under the filters.
        kernel: Kernel,
    },
    /// Restricted rings.
    Restricted {
        /// The policies.
        enforcement: Enforcement,
        /// What rings are restricted to.
        operations: OperationRules,
    },
    /// Rings with the kernel's filters.
    Filtered {
        /// The policies.
        enforcement: Enforcement,
    },
    /// Split rings.
    Split {
        /// The policies.
        enforcement: Enforcement,
        /// Why no other lane; empty if this one was asked for.
        why: Vec<String>,
        /// Programs may have filters of their own.
        own_filters: bool,
        /// Nothing is refused.
        permissive: bool,
    },
}

/// What not every lane can do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Wishes {
    /// Refused requests are to be told of one by one; and why those cannot be that the kernel refuses.
    pub unheard: Option<String>,
    /// Be like that kernel.
    pub model: Option<KernelModel>,
    /// Let programs have filters of their own.
    pub own_filters: bool,
    /// Refuse nothing.
    pub permissive: bool,
    /// Somebody is to be told of every request, of those that are allowed, too.
    pub every_request: bool,
}

/// Why no lane holds policies here, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoChoice {
    /// Something is wrong with the policies, whatever the lane.
    #[error(transparent)]
    Policies(#[from] EnforceError),
    /// The filters of this kernel do not see what rules look at.
    #[error("this kernel's filters do not see what the policies ask for: {0}")]
    Unseen(EnforceError),
    /// What only the split lane can do is wished for.
    #[error("{reason}, and the lane {lane} was asked for")]
    Wish {
        /// The lane that was asked for.
        lane: Lane,
        /// Why it cannot be.
        reason: String,
    },
    /// Restrictions of rings cannot hold the policies.
    #[error("the restricted lane cannot hold the policies: {0}")]
    Restricted(String),
    /// The kernel's filters for tasks cannot hold the policies.
    #[error("the lane tasks cannot hold the policies: {0}")]
    Tasks(#[from] BeyondTasks),
    /// The kernel's own filters cannot be used here.
    #[error("the kernel's own filters cannot be used here: {0}")]
    Lacking(Lacking),
    /// Programs are to see the filters of no kernel.
    #[error("programs see a kernel's filters, and `guard` is not a kernel")]
    NotAKernel,
    /// It takes split rings, and this is not x86-64.
    #[error("this takes split rings, which are x86-64 only{}", .why.iter().map(|why| format!("; {why}")).collect::<String>())]
    Architecture {
        /// Why no other lane: each says what would have to be otherwise.
        why: Vec<String>,
    },
}

impl Wishes {
    /// Why no lane will do in which the kernel decides.
    fn beyond_the_kernel(&self) -> Option<&str> {
        match self {
            Self { permissive: true, .. } => Some("only the guard lets pass what a policy refuses"),
            Self { every_request: true, .. } => Some("only the guard sees what is allowed"),
            Self { model: Some(_), .. } => Some("no kernel is like another"),
            Self { unheard, .. } => unheard.as_deref(),
        }
    }

    /// Why no lane will do in which somebody else makes the program's rings.
    fn beyond_a_maker(&self) -> Option<&str> {
        let own = "rings that are made for a program have no filters of its own";
        self.beyond_the_kernel().or_else(|| self.own_filters.then_some(own))
    }
}

impl Choice {
    /// Compiles `layers` for the first lane that holds them on this machine. Every layer must allow a request.
    ///
    /// Finds out what the kernel does by throw-away children, which takes some milliseconds.
    ///
    /// # Errors
    /// The policies are wrong, or no lane holds them here.
    pub fn here(layers: &[Policy]) -> Result<Self, NoChoice> {
        Self::with(layers, None, &Wishes::default())
    }

    /// The same with a lane that is insisted on, if it is given, and with wishes.
    ///
    /// # Errors
    /// The policies are wrong, or the lane cannot do what is asked; nothing is silently weaker.
    pub fn with(layers: &[Policy], lane: Option<Lane>, wishes: &Wishes) -> Result<Self, NoChoice> {
        if wishes.model == Some(KernelModel::Guard) {
            return Err(NoChoice::NotAKernel);
        }
        if let Some(alone) = layers.iter().find(|layer| layer.defines_alone()) {
            return Err(EnforceError::OnlyNames { file: alone.file().to_owned() }.into());
        }
        match lane {
            Some(Lane::Tasks) => return insist_on_tasks(layers, wishes),
            Some(Lane::Filtered) => return insist_on_filtered(layers, wishes),
            _ => {}
        }
        // The newest kernel's filters see the most of all kernels'.
        let enforcement =
            Enforcement::new(layers, wishes.model.unwrap_or_else(|| Enforcement::needed(layers)))?;
        match lane {
            Some(Lane::Split) => return split(enforcement, Vec::new(), wishes),
            Some(_) => {
                let operations = restricted(wishes, &enforcement).map_err(NoChoice::Restricted)?;
                return Ok(Self::Restricted { enforcement, operations });
            }
            None => {}
        }
        let facts = match wishes.beyond_the_kernel().map(str::to_owned).or_else(|| enforcement.guards_own()) {
            None => Ok(Facts::find()),
            Some(reason) => Err(reason),
        };
        let compiled = |usable: Usable| {
            let usable = usable(facts.as_ref().map_err(String::clone)?);
            Enforcement::for_filters(usable, layers).map_err(|reason| reason.to_string())
        };
        let mut why = Vec::new();
        match compiled(Facts::usable) {
            Ok(enforcement) => match enforcement.kernel() {
                Ok(kernel) => return Ok(Self::Tasks { enforcement, kernel }),
                Err(beyond) => why.push(beyond.to_string()),
            },
            Err(reason) => why.push(format!("the kernel's own filters are not used: {reason}")),
        }
        match restricted(wishes, &enforcement) {
            Ok(operations) => return Ok(Self::Restricted { enforcement, operations }),
            Err(reason) => why.push(format!("its rings cannot be left to the kernel: {reason}")),
        }
        match (compiled(Facts::usable_on_rings), wishes.beyond_a_maker()) {
            (Ok(enforcement), None) => Ok(Self::Filtered { enforcement }),
            _ => split(enforcement, why, wishes),
        }
    }

    /// Which lane it is.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Tasks { .. } => Lane::Tasks,
            Self::Restricted { .. } => Lane::Restricted,
            Self::Filtered { .. } => Lane::Filtered,
            Self::Split { .. } => Lane::Split,
        }
    }

    /// The policies, compiled for that lane: where the kernel's filters hold them, for the model that those keep to.
    pub fn enforcement(&self) -> &Enforcement {
        match self {
            Self::Tasks { enforcement, .. }
            | Self::Restricted { enforcement, .. }
            | Self::Filtered { enforcement, .. }
            | Self::Split { enforcement, .. } => enforcement,
        }
    }

    /// Runs `argv[0]`, looked up in `PATH`, with those arguments, and waits until it has ended: the calling process, which
    /// must have a single thread, becomes the program's stand-in, as [`Kernel::run`], [`Maker::run`] and
    /// [`Guard::run`](ringwarden_guard::Guard::run) say. [`Command`](crate::Command) is for all other callers.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn run(self, argv: &[impl AsRef<OsStr>]) -> Result<Status, RunError> {
        self.run_telling(argv, || ())
    }

    /// The same; calls `executed` when the program was executed, but in the lane `tasks`, which takes no supervisor.
    pub(crate) fn run_telling(
        self,
        argv: &[impl AsRef<OsStr>],
        executed: impl FnOnce() + Send + 'static,
    ) -> Result<Status, RunError> {
        Ok(match self {
            Self::Tasks { kernel, .. } => kernel.run(argv)?,
            Self::Restricted { enforcement, operations } => {
                Maker::new(operations, enforcement.calls()).told_of_exec(executed).run(argv)?
            }
            Self::Filtered { enforcement } => {
                enforcement.filtering_maker().told_of_exec(executed).run(argv)?
            }
            Self::Split { enforcement, own_filters, permissive, .. } => {
                guard(&enforcement, own_filters, permissive).told_of_exec(executed).run(argv)?
            }
        })
    }
}

/// The split lane, which `why` no other will do.
fn split(enforcement: Enforcement, why: Vec<String>, wishes: &Wishes) -> Result<Choice, NoChoice> {
    if !SPLITS_RINGS {
        return Err(NoChoice::Architecture { why });
    }
    // Who is to be like another kernel has that kernel's filters.
    let own_filters = wishes.own_filters || wishes.model.is_some();
    Ok(Choice::Split { enforcement, why, own_filters, permissive: wishes.permissive })
}

/// A guard for the split lane.
fn guard(enforcement: &Enforcement, own_filters: bool, permissive: bool) -> Guard {
    let mut guard = enforcement.guard();
    if own_filters {
        guard = guard.with_own_filters();
    }
    if permissive {
        guard = guard.with_permission();
    }
    guard
}

/// Whether the kernel's filters can be relied on.
type Usable = fn(&Facts) -> Result<KernelModel, Lacking>;

/// The rules that rings are restricted to.
///
/// # Errors
/// Why that will not do.
fn restricted(wishes: &Wishes, enforcement: &Enforcement) -> Result<OperationRules, String> {
    match wishes.beyond_a_maker() {
        Some(reason) => Err(reason.into()),
        None => enforcement
            .operations()
            .map_err(|beyond| enforcement.guards_own().unwrap_or_else(|| beyond.to_string())),
    }
}

fn insist_on_tasks(layers: &[Policy], wishes: &Wishes) -> Result<Choice, NoChoice> {
    let beyond = wishes.beyond_the_kernel();
    let enforcement = insist_on_filters(Lane::Tasks, Facts::usable, beyond, layers)?;
    let kernel = enforcement.kernel()?;
    Ok(Choice::Tasks { enforcement, kernel })
}

fn insist_on_filtered(layers: &[Policy], wishes: &Wishes) -> Result<Choice, NoChoice> {
    let beyond = wishes.beyond_a_maker();
    let enforcement = insist_on_filters(Lane::Filtered, Facts::usable_on_rings, beyond, layers)?;
    Ok(Choice::Filtered { enforcement })
}

/// Policies compiled for the kernel's own filters, and nothing else will do.
fn insist_on_filters(
    lane: Lane,
    usable: Usable,
    beyond: Option<&str>,
    layers: &[Policy],
) -> Result<Enforcement, NoChoice> {
    if let Some(reason) = beyond {
        return Err(NoChoice::Wish { lane, reason: reason.to_owned() });
    }
    // What the newest kernel's filters do not see, none does.
    Enforcement::new(layers, KernelModel::default()).map_err(NoChoice::Unseen)?;
    let model = usable(&Facts::find()).map_err(NoChoice::Lacking)?;
    Enforcement::new(layers, model).map_err(NoChoice::Unseen)
}
