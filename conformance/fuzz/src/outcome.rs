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
    /// What takes place at the same time completes in any order: only the engine knows that there is such.
    #[serde(skip)]
    pub(crate) unordered: bool,
}

impl Outcome {
    /// Of a call without completions.
    pub(crate) fn returned(returned: i32) -> Self {
        Self { returned, ..Self::default() }
    }

    /// Whether the engine has it right, whose outcome this is.
    pub(crate) fn is_that_of(&self, kernel: &Self) -> bool {
        let sorted = |cqes: &[(u64, i32)]| {
            let mut cqes = cqes.to_vec();
            cqes.sort_unstable();
            cqes
        };
        let same = match self.unordered {
            true => sorted(&self.cqes) == sorted(&kernel.cqes),
            false => self.cqes == kernel.cqes,
        };
        same && self.returned == kernel.returned && self.pdu_size == kernel.pdu_size
    }
}
