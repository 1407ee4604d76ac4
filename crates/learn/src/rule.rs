//! From what was seen of an operation to its rule.

mod address;
mod open;
mod socket;

use crate::level::Level;
use crate::observations::{NO_FAMILY, Seen};
use ringwarden_uapi::{Opcode, PayloadKind};

/// One part of a rule: conditions that hold together. None of them is an `||`.
pub(crate) type Clause = Vec<String>;

/// A rule of `[ops]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Every request.
    Allow,
    /// The requests of which some clause holds.
    When(Vec<Clause>),
}

impl Rule {
    /// The rule that allows what was seen of an operation.
    pub(crate) fn of(operation: Opcode, seen: &Seen, level: Level) -> Self {
        if !level.has_conditions() {
            return Self::Allow;
        }
        let mut clauses = match operation.payload() {
            Some(PayloadKind::Socket) => socket::clauses(&seen.families, level),
            Some(PayloadKind::Sockaddr) => address::clauses(operation, &seen.families, level),
            Some(PayloadKind::Openat | PayloadKind::OpenHow) => {
                open::clauses(operation, &seen.families, level)
            }
            None => Vec::new(),
        };
        if seen.strangers {
            clauses.push(vec![format!("family >= {NO_FAMILY}")]);
        }
        if clauses.is_empty() || clauses.iter().any(Vec::is_empty) {
            return Self::Allow;
        }
        Self::When(clauses)
    }
}
