//! What there is to say of layers that can be read.

use super::assertions::{self, Asserted};
use super::fit::Fit;
use super::loosened;
use ringwarden::diff::CompareError;
use ringwarden::policy::{Diagnostics, Policy};
use ringwarden::uapi::KernelModel;
use ringwarden::{EnforceError, Enforcement};

/// What layers turned out to be.
pub(crate) struct Judged {
    pub(crate) layers: Vec<Policy>,
    /// What they were compiled for.
    pub(crate) model: KernelModel,
    /// Unless they cannot be enforced; then there is no more than that to say.
    pub(crate) enforcement: Option<Enforcement>,
    /// Unless they only give names.
    pub(crate) fit: Option<Fit>,
    /// Errors and warnings, those about assertions included.
    pub(crate) diagnostics: Vec<Diagnostics>,
    pub(crate) assertions: Vec<Asserted>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Of what the compiler makes.
    #[error(transparent)]
    Enforce(#[from] EnforceError),
    /// Of comparing.
    #[error(transparent)]
    Compare(#[from] CompareError),
}

impl Judged {
    /// Compiles the layers, which the command line calls `names`, and finds out all about them: for a kernel, or for what
    /// they need.
    pub(crate) fn new(
        names: &str,
        layers: Vec<Policy>,
        kernel: Option<KernelModel>,
    ) -> Result<Self, Failure> {
        let needed = layers.iter().map(Policy::needs_in_all).fold(KernelModel::default(), KernelModel::max);
        let model = kernel.unwrap_or(needed);
        let (diagnostics, assertions) = (Vec::new(), Vec::new());
        let mut judged = Self { layers, model, enforcement: None, fit: None, diagnostics, assertions };
        let enforcement = match Enforcement::new(&judged.layers, model) {
            Ok(enforcement) => enforcement,
            Err(EnforceError::Policy(errors)) => {
                judged.diagnostics.push(errors);
                judged.warn(Vec::new());
                return Ok(judged);
            }
            Err(other) => return Err(other.into()),
        };
        judged.fit = match judged.layers.iter().all(Policy::defines_alone) {
            true => None,
            false => Some(Fit::of(names, &judged.layers, &enforcement)),
        };
        let mut told: Vec<_> = enforcement.unproved().cloned().into_iter().collect();
        for policy in &judged.layers {
            // Alone, as it says what it extends.
            let own = match &judged.layers[..] {
                [_] => enforcement.clone(),
                _ => Enforcement::new(std::slice::from_ref(policy), model)?,
            };
            told.extend(loosened::by(policy, &own)?);
        }
        let (assertions, of_them) = assertions::of(&judged.layers, &enforcement)?;
        judged.assertions = assertions;
        told.extend(of_them);
        judged.warn(told);
        judged.enforcement = Some(enforcement);
        Ok(judged)
    }

    /// Takes in what the policies themselves warn of, and what else was found, in one list.
    fn warn(&mut self, found: Vec<Diagnostics>) {
        let own = self.layers.iter().filter_map(Policy::warnings);
        let all: Vec<_> = own.chain(found).collect();
        self.diagnostics.extend(Diagnostics::of(all.iter().flatten().cloned().collect()));
    }

    /// How many assertions are proved, in words; `None` where there are none.
    pub(crate) fn proved(&self) -> Option<String> {
        let (all, proved) =
            (self.assertions.len(), self.assertions.iter().filter(|assertion| assertion.is_proved()).count());
        let of_them = if proved < all { format!(" of {all}") } else { String::new() };
        let plural = if all == 1 { "" } else { "s" };
        (all > 0).then(|| format!("{proved}{of_them} assertion{plural} proved"))
    }
}
