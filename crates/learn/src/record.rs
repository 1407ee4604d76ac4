//! What one run of `learn` leaves to the next: the observations, and the policy that was written.

use crate::level::Level;
use crate::observations::Observations;
use serde::{Deserialize, Serialize};

/// The format that this version writes and reads.
const VERSION: u32 = 1;

/// Observations with the policy that they became. Whether a policy file was edited since shows in a
/// comparison with [`policy`](Self::policy).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    version: u32,
    /// How the policy was written.
    pub level: Level,
    /// What was seen, in all runs.
    pub observations: Observations,
    /// The text of the policy.
    pub policy: String,
}

/// Why a text is no record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// It has a form that this version does not know.
    #[error("it has version {0}, and this program reads version {VERSION}")]
    Version(u32),
    /// It is not a record at all.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Record {
    /// Writes the policy of the observations, and remembers both.
    pub fn new(observations: Observations, level: Level, name: Option<&str>) -> Self {
        let policy = observations.policy(level, name);
        Self { version: VERSION, level, observations, policy }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The text is not one.
    pub fn from_json(text: &str) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Format {
            version: u32,
        }
        match serde_json::from_str(text)? {
            Format { version: VERSION } => Ok(serde_json::from_str(text)?),
            Format { version } => Err(Unreadable::Version(version)),
        }
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// None that can be named: the types have a JSON form.
    pub fn to_json(&self) -> Result<String, Unreadable> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_refused() {
        let record = Record::new(Observations::new(), Level::Balanced, None).to_json().unwrap();
        assert!(Record::from_json(&record).is_ok());
        for (from, to, expected) in [
            ("\"version\": 1", "\"version\": 2", "it has version 2, and this program reads version 1"),
            ("\"operations\": {", "\"operations\": {\"rea\": {}", "unknown operation `rea`"),
            ("\"register\": {", "\"register\": {\"rea\": 1", "unknown register opcode `rea`"),
            ("{", "", "invalid type"),
        ] {
            let error = Record::from_json(&record.replacen(from, to, 1)).expect_err(to).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
