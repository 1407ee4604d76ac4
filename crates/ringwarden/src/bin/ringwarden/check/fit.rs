//! Which lane a policy fits.

use ringwarden::Enforcement;
use ringwarden::guard::SPLITS_RINGS;
use ringwarden::policy::Policy;
use ringwarden::uapi::KernelModel;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::{self, Display};

/// Which lane holds a policy where the kernel has no filters, which hold every one (docs/lanes.md).
#[derive(JsonSchema, Serialize)]
pub(crate) struct Fit {
    /// The policy, or policies with commas between them.
    file: String,
    /// `restricted` or `split`.
    lane: &'static str,
    /// What keeps it out of the restricted one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) because: Option<String>,
    /// The first Linux whose filters hold it.
    pub(crate) filters: String,
}

impl Fit {
    pub(super) fn of(file: &str, layers: &[Policy], enforcement: &Enforcement) -> Self {
        let because = enforcement.operations().err().map(|beyond| beyond.to_string());
        let lane = if because.is_none() { "restricted" } else { "split" };
        let holds = |model: &KernelModel| Enforcement::new(layers, *model).is_ok();
        let mut models = KernelModel::ALL.into_iter().filter(|&model| model >= KernelModel::V7_0);
        let filters = models.find(holds).unwrap_or_default().to_string();
        Self { file: file.to_owned(), lane, because, filters }
    }
}

impl Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.because {
            Some(because) => {
                let only = if SPLITS_RINGS { "" } else { ", which is x86-64 only," };
                write!(f, "split lane{only} before Linux {}: {because}", self.filters)
            }
            None => f.write_str("restricted lane: requests cost nothing"),
        }
    }
}
