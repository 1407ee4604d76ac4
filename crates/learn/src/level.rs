//! How far a policy goes beyond what was seen.

use serde::{Deserialize, Serialize};

/// How far a policy goes beyond what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The values that were seen; request flags and flags of rings that were not are refused.
    Strict,
    /// Few values as they are, many by what they have in common.
    #[default]
    Balanced,
    /// Operations and address families.
    Loose,
}
