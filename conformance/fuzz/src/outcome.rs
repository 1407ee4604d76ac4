//! What comes of a step.

use serde::{Deserialize, Serialize};

/// What came of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// What the call returned, or `-errno`.
    pub(crate) returned: i32,
    /// What a registration's struct holds as its payload size afterwards.
    pub(crate) pdu_size: Option<u8>,
    /// `user_data` and result of completions.
    pub(crate) cqes: Vec<(u64, i32)>,
}

impl Outcome {
    /// Of a call without completions.
    pub(crate) fn returned(returned: i32) -> Self {
        Self { returned, ..Self::default() }
    }
}
