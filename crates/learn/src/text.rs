//! Observations as a policy file.

use crate::atom;
use crate::level::Level;
use crate::observations::{Observations, Operation, Register, Seen};
use crate::rule::Rule;
use crate::values::Values;
use ringwarden_policy::layout::{File, Table, Value};
use ringwarden_policy::{FIELDS, Field, GROUPS, Group, Kind, REGISTER_GROUPS, SETUP_FLAGS};
use ringwarden_uapi::ring::{MAX_ENTRIES, SetupFlags, SqeFlags};
use ringwarden_uapi::{KernelModel, Opcode, RegisterOp};
use std::fmt;

/// The longest name that a policy gets.
const NAME: usize = 64;

/// The flags of rings that are worth a denial although the program never asked for them: they make the kernel poll.
const COSTLY: SetupFlags = SetupFlags::SQPOLL.union(SetupFlags::IOPOLL);

impl Observations {
    /// The smallest readable policy that allows all of it. `name` is what it calls itself, unless there
    /// are other characters in it than letters, digits and `._+-`, or very many.
    pub fn policy(&self, level: Level, name: Option<&str>) -> String {
        let mut file = self.head(level, name);
        for table in [self.all(level), self.rules(level), self.rings_made(level), self.calls(level)] {
            file.table(table);
        }
        file.to_string()
    }

    fn head(&self, level: Level, name: Option<&str>) -> File {
        let how = match level {
            Level::Strict => ", strictly",
            Level::Narrow => ", narrowly",
            Level::Balanced => "",
            Level::Loose => ", loosely",
        };
        let (runs, requests) = (count(self.runs, "run"), count(self.requests(), "request"));
        let mut file = File::new(&format!(
            "Learned by `ringwarden learn` from {runs} with {requests}{how}.\n\
             It says what the program did, not what it should do: read it before you rely on it."
        ));
        file.key("version", Value::number(1));
        if let Some(name) = name.filter(|name| is_plain(name)) {
            file.key("name", Value::text(name));
        }
        file.key("default", Value::text("deny"));
        file
    }

    /// `[all]`: of a strict policy, request flags that no request had.
    fn all(&self, level: Level) -> Table {
        let mut table = Table::new("all");
        // The call that sends a message without a ring passes only where MSG_RING has no conditions.
        let sends = self.register.contains_key(&Register(RegisterOp::REGISTER_SEND_MSG_RING));
        if level != Level::Strict || sends || self.operations.is_empty() {
            return table;
        }
        let seen = self.operations.values().fold(0, |flags, seen| flags | seen.sqe_flags);
        // A drain shows IOSQE_ASYNC as well, so that the requests after it may, too.
        let mut values = Values::default();
        values.add(SqeFlags::from_bits_truncate(seen).bits().into());
        let field = FIELDS.iter().find(|field| field.kind == Kind::SqeFlags);
        let every = SqeFlags::all().bits().into();
        if let Some(require) = field.and_then(|field| atom::no_other_bits(field, &values, every)) {
            table.key("require", Value::condition(&require));
        }
        table
    }

    /// `[ops]`: a group where every member is allowed without conditions, single operations elsewhere.
    fn rules(&self, level: Level) -> Table {
        let mut table = Table::new("ops");
        for group in GROUPS {
            let rules: Vec<_> = group
                .members
                .iter()
                .filter_map(|&member| Some((member, self.rule(member, level)?)))
                .collect();
            if is_whole(group, &rules) {
                let requests = rules.iter().map(|(_, (_, requests))| requests).sum();
                table.key_with(group.name, Value::text("allow"), &count(requests, "request"));
                continue;
            }
            for (member, (rule, requests)) in rules {
                table.key_with(&member.to_string(), rule.value(), &count(requests, "request"));
            }
        }
        self.conditions(level, &mut table);
        table
    }

    fn rule(&self, operation: Opcode, level: Level) -> Option<(Rule, u64)> {
        let seen = self.operations.get(&Operation(operation))?;
        Some((Rule::of(operation, seen, level), seen.requests))
    }

    /// The operations that are allowed whole at this level and would have conditions at a narrower one.
    pub fn unconditional(&self, level: Level) -> Vec<Opcode> {
        let narrow = |(operation, seen): (&Operation, &Seen)| {
            let conditional = matches!(Rule::of(operation.0, seen, Level::Narrow), Rule::When(_));
            conditional.then_some(operation.0)
        };
        if level.has_conditions() { Vec::new() } else { self.operations.iter().filter_map(narrow).collect() }
    }

    /// Which conditions were left out, and why, as a comment.
    fn conditions(&self, level: Level, table: &mut Table) {
        let rules: Vec<_> = self
            .unconditional(level)
            .into_iter()
            .filter_map(|operation| Some((operation, self.rule(operation, Level::Narrow)?.0)))
            .collect();
        let fields = rules.iter().flat_map(|(operation, _)| Field::all_of(*operation));
        let fields = fields.filter(|field| !field.is_guards_own());
        let Some(since) = fields.map(|field| field.since.max(KernelModel::V7_0)).max() else { return };
        table.blank();
        table.comment(&format!(
            "Conditions would be narrower, and take the split lane before Linux {since}: two context switches a\n\
             submission. `ringwarden learn --narrow` writes them in the place of these rules."
        ));
        let mut narrower = Table::new("ops");
        for (operation, rule) in rules {
            narrower.key(&operation.to_string(), rule.value());
        }
        table.comment_out(&narrower);
    }

    /// `[setup]`: flags that no ring had, and the size of the largest.
    fn rings_made(&self, level: Level) -> Table {
        let mut table = Table::new("setup").behind(&count(self.setup.rings, "ring"));
        if self.setup.rings == 0 || level == Level::Loose {
            return table;
        }
        let used = SetupFlags::from_bits_truncate(self.setup.flags);
        let denied = if level == Level::Strict { used.complement() } else { COSTLY - used };
        let denied = SETUP_FLAGS.iter().filter(|flag| denied.contains(flag.flag));
        let names: Vec<_> = denied.map(|flag| flag.name).collect();
        let size = self.setup.entries.max(1).next_power_of_two();
        if !names.is_empty() {
            table.key("deny_flags", Value::list(names));
        }
        if size < MAX_ENTRIES {
            table.key("max_entries", Value::number(size));
        }
        table
    }

    /// `[register]`: the opcodes that were seen; of a loose policy their groups.
    fn calls(&self, level: Level) -> Table {
        let mut entries = Vec::new();
        for group in REGISTER_GROUPS {
            let calls = |op: &RegisterOp| Some((*op, *self.register.get(&Register(*op))?));
            let seen: Vec<_> = group.members.iter().filter_map(calls).collect();
            let whole = seen.len() == group.members.len() && seen.len() > 1;
            if whole || level == Level::Loose && !seen.is_empty() {
                let calls = seen.iter().map(|(_, calls)| calls).sum();
                entries.push((group.name.to_owned(), calls));
            } else {
                entries.extend(seen.into_iter().map(|(op, calls)| (op.to_string(), calls)));
            }
        }
        let mut table = Table::new("register");
        table.key("default", Value::text("deny"));
        if !entries.is_empty() {
            let entries = entries.into_iter().map(|(name, calls)| (name, count(calls, "call")));
            table.key("allow", Value::commented_list(entries));
        }
        table
    }
}

impl Rule {
    /// As policies have it.
    fn value(&self) -> Value {
        match self {
            Self::Allow => Value::text("allow"),
            Self::When(clauses) => {
                let clauses: Vec<_> = clauses.iter().map(|clause| clause.join(" && ")).collect();
                Value::condition(&clauses.join(" || "))
            }
        }
    }
}

/// `18,204 requests, 3 operations, 2 rings`.
impl fmt::Display for Observations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operations = count(self.operations.len() as u64, "operation");
        write!(f, "{}, {operations}, {}", count(self.requests(), "request"), count(self.rings(), "ring"))
    }
}

fn is_whole(group: &Group, rules: &[(Opcode, (Rule, u64))]) -> bool {
    rules.len() == group.members.len()
        && rules.len() > 1
        && rules.iter().all(|(_, (rule, _))| *rule == Rule::Allow)
}

/// Whether a name can stand in a policy as it is.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    (1..=NAME).contains(&name.len()) && name.chars().all(plain)
}

/// `1 request`, `18,204 requests`.
fn count(number: u64, noun: &str) -> String {
    let digits = number.to_string();
    let grouped = digits.as_bytes().rchunks(3).rev();
    let grouped: Vec<_> = grouped.map(|digits| String::from_utf8_lossy(digits)).collect();
    format!("{} {noun}{}", grouped.join(","), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, expected) in [
            (0, "0 requests"),
            (1, "1 request"),
            (999, "999 requests"),
            (1000, "1,000 requests"),
            (1_234_567, "1,234,567 requests"),
        ] {
            assert_eq!(count(number, "request"), expected);
        }
    }

    #[test]
    fn a_name_cannot_end_its_string() {
        let named = |name| Observations::new().policy(Level::Balanced, Some(name));
        assert!(named("fio-3.39").contains("\nname    = \"fio-3.39\"\n"));
        for name in ["", "a\"b", "a\nb", "a b", "\u{e9}", &"a".repeat(65)] {
            assert!(!named(name).contains("name"), "{name:?}");
        }
    }
}
