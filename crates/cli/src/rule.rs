//! Rules that decide, as reports name them.

use ringwarden::policy::RuleOrigin;
use schemars::JsonSchema;
use serde::Serialize;

/// A rule that decides.
#[derive(Clone, PartialEq, JsonSchema, Serialize)]
pub(crate) struct Rule {
    /// As `key = value`, in one line.
    pub(crate) rule: String,
    /// The policy file and line.
    pub(crate) at: String,
    #[serde(skip)]
    pub(crate) origin: RuleOrigin,
}

impl Rule {
    pub(crate) fn new(origin: &RuleOrigin) -> Self {
        // One line, however many the rule has.
        let text = origin.text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            rule: format!("{} = {text}", origin.key),
            at: format!("{}:{}", origin.file, origin.line),
            origin: origin.clone(),
        }
    }
}
