//! How far a policy goes beyond what was seen.

use serde::{Deserialize, Serialize};

/// How far a policy goes beyond what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The values that were seen; request flags and flags of rings that were not are refused.
    Strict,
    /// Few values as they are, many by what they have in common.
    Narrow,
    /// Whole operations, which restrictions of rings can hold; the size of rings.
    #[default]
    Balanced,
    /// Whole operations, and groups of register calls.
    Loose,
}

impl Level {
    /// Whether rules have conditions on the arguments of requests.
    pub(crate) fn has_conditions(self) -> bool {
        matches!(self, Self::Strict | Self::Narrow)
    }
}
