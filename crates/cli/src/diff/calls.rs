//! What is no request: the rings and register calls that both sides allow.

use super::relation::sentence;
use crate::style::{BAD, BOLD, GOOD, tell};
use ringwarden::filter::{CallRules, RegisterRules, SetupRules};
use ringwarden::policy::SETUP_FLAGS;
use schemars::JsonSchema;
use serde::Serialize;

/// `[setup]` and `[register]` of both sides.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Calls {
    /// Which rings can be made.
    pub(crate) setup: Change,
    /// Which register calls can be made.
    pub(crate) register: Change,
}

/// What one of the tables allows and refuses now.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Change {
    /// What NEW does: `equal`, `tightens`, `loosens` or `neither`.
    pub(crate) relation: &'static str,
    /// What OLD allows and NEW refuses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tightened: Vec<String>,
    /// What OLD refuses and NEW allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) loosened: Vec<String>,
}

impl Calls {
    pub(super) fn new(old: CallRules, new: CallRules) -> Self {
        Self {
            setup: Change::new(rings(old.setup, new.setup), rings(new.setup, old.setup)),
            register: Change::new(
                registers(old.register, new.register),
                registers(new.register, old.register),
            ),
        }
    }

    pub(super) fn is_equal(&self) -> bool {
        [&self.setup, &self.register].iter().all(|change| change.relation == "equal")
    }

    pub(super) fn print(&self) {
        for (table, change) in [("setup", &self.setup), ("register", &self.register)] {
            match change.relation {
                "equal" => continue,
                relation => tell!("{BOLD}[{table}]{BOLD:#}: {}", sentence(relation)),
            }
            if !change.tightened.is_empty() {
                tell!("  {BAD}now refused{BAD:#}  {}", change.tightened.join(", "));
            }
            if !change.loosened.is_empty() {
                tell!("  {GOOD}now allowed{GOOD:#}  {}", change.loosened.join(", "));
            }
        }
    }
}

impl Change {
    fn new(tightened: Vec<String>, loosened: Vec<String>) -> Self {
        let relation = match (tightened.is_empty(), loosened.is_empty()) {
            (true, true) => "equal",
            (false, true) => "tightens",
            (true, false) => "loosens",
            (false, false) => "neither",
        };
        Self { relation, tightened, loosened }
    }
}

/// The rings that `one` allows and `other` refuses.
pub(crate) fn rings(one: SetupRules, other: SetupRules) -> Vec<String> {
    let only_other = other.denied.difference(one.denied);
    let flags = SETUP_FLAGS.iter().filter(|flag| only_other.contains(flag.flag));
    let flags = flags.map(|flag| format!("rings with {}", flag.name));
    let larger = (other.max_entries < one.max_entries)
        .then(|| format!("rings of more than {} entries", other.max_entries));
    flags.chain(larger).collect()
}

/// The register calls that `one` allows and `other` refuses.
pub(crate) fn registers(one: RegisterRules, other: RegisterRules) -> Vec<String> {
    let known = one.known(true).filter(|&op| !other.allow(op)).map(|op| op.to_string());
    let newer =
        (one.allow_unknown() && !other.allow_unknown()).then(|| "opcodes of later kernels".to_owned());
    known.chain(newer).collect()
}
