//! A program that locks itself down.

use crate::{BeyondTasks, Choice, Enforcement, Lane, NoChoice, Wishes};
use ringwarden_kernel::{ConfineError, Kernel};
use ringwarden_policy::Policy;

/// Policies for the calling process itself, by the kernel's own filters: Linux 7.0 and later. Elsewhere a program can start
/// itself again, under a [`Command`](crate::Command).
///
/// ```no_run
/// use ringwarden::{Confinement, policy::Policy};
///
/// let confinement = Confinement::here(&[Policy::from_file("server.toml")?])?;
/// // Everything that the policy would refuse has been done.
/// confinement.apply()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Confinement {
    enforcement: Enforcement,
    kernel: Kernel,
}

/// Why a process is not confined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfinementError {
    /// It has other threads, which filters would not reach. Nothing was done.
    #[error(
        "the process has {others} threads beside the calling one, which would not be confined; io_urings have some of \
         the kernel's, too, until they are closed"
    )]
    Threads {
        /// How many.
        others: usize,
    },
    /// How many threads it has is not known. Nothing was done.
    #[error("/proc/self/task cannot be read: whether the process has other threads is not known")]
    Unknown,
    /// Something could not be put in force. What comes before it is.
    #[error(transparent)]
    Confine(#[from] ConfineError),
}

impl Confinement {
    /// Compiles `layers` for this kernel's filters, once those have passed the self-test in throw-away children, which takes
    /// some milliseconds. Every layer must allow a request.
    ///
    /// # Errors
    /// The policies are wrong, or this kernel's filters cannot hold them.
    pub fn here(layers: &[Policy]) -> Result<Self, NoChoice> {
        match Choice::with(layers, Some(Lane::Tasks), &Wishes::default())? {
            Choice::Tasks { enforcement, kernel, .. } => Ok(Self { enforcement, kernel }),
            _ => Err(BeyondTasks.into()),
        }
    }

    /// The policies, compiled for this kernel.
    pub fn enforcement(&self) -> &Enforcement {
        &self.enforcement
    }

    /// Confines the calling process, which must have a single thread, and everything that it starts from now on, for
    /// good. `no_new_privs` is set, and its io_urings are closed: they were made without the filters.
    ///
    /// # Errors
    /// See [`ConfinementError`]. Of a process that was confined in part only its end is safe.
    pub fn apply(&self) -> Result<(), ConfinementError> {
        let tasks = std::fs::read_dir("/proc/self/task").map_err(|_| ConfinementError::Unknown)?.count();
        match tasks.saturating_sub(1) {
            0 => Ok(self.apply_to_thread()?),
            others => Err(ConfinementError::Threads { others }),
        }
    }

    /// The same for the calling thread and what it starts alone, whatever other threads there are: those are not confined,
    /// and share memory and descriptors with it, so that this is no protection against code that runs in it. Closes
    /// the io_urings of the whole process.
    ///
    /// # Errors
    /// What could not be put in force. What comes before it is.
    pub fn apply_to_thread(&self) -> Result<(), ConfineError> {
        self.kernel.confinement().apply()
    }
}
