//! Observations as a policy file.

use crate::atom;
use crate::level::Level;
use crate::observations::{Observations, Operation, Register, Seen};
use crate::rule::{Clause, Rule};
use crate::values::Values;
use ringwarden_policy::{FIELDS, Field, GROUPS, Group, Kind, REGISTER_GROUPS, SETUP_FLAGS};
use ringwarden_uapi::ring::{MAX_ENTRIES, SetupFlags, SqeFlags};
use ringwarden_uapi::{KernelModel, Opcode, RegisterOp};
use std::fmt::{self, Write};

/// Conditions up to this length stand on one line.
const LINE: usize = 84;
/// The longest name that a policy gets.
const NAME: usize = 64;

/// The flags of rings that are worth a denial although nobody asked for them: they make the kernel poll.
const COSTLY: SetupFlags = SetupFlags::SQPOLL.union(SetupFlags::IOPOLL);

/// A key with its value, and how often it was seen.
struct Entry {
    key: String,
    value: String,
    count: String,
}

impl Observations {
    /// The smallest readable policy that allows all of it. `name` is what it calls itself, unless there
    /// are other characters in it than letters, digits and `._+-`, or very many.
    pub fn policy(&self, level: Level, name: Option<&str>) -> String {
        let mut text = self.head(level, name);
        self.all(level, &mut text);
        section(&mut text, "[ops]", &self.rules(level));
        self.conditions(level, &mut text);
        let rings = format!("[setup]  # {}", count(self.setup.rings, "ring"));
        section(&mut text, &rings, &self.setup_keys(level));
        self.calls(level, &mut text);
        text
    }

    fn head(&self, level: Level, name: Option<&str>) -> String {
        let how = match level {
            Level::Strict => ", strictly",
            Level::Narrow => ", narrowly",
            Level::Balanced => "",
            Level::Loose => ", loosely",
        };
        let (runs, requests) = (count(self.runs, "run"), count(self.requests(), "request"));
        let mut text = format!(
            "# Learned by `ringwarden learn` from {runs} with {requests}{how}.\n\
             # It says what the program did, not what it should do: read it before you rely on it.\n\
             version = 1\n"
        );
        if let Some(name) = name.filter(|name| is_plain(name)) {
            text += &format!("name    = \"{name}\"\n");
        }
        text + "default = \"deny\"\n"
    }

    /// `[all]`: of a strict policy, request flags that no request had.
    fn all(&self, level: Level, text: &mut String) {
        // The call that sends a message without a ring passes only where MSG_RING has no conditions.
        let sends = self.register.contains_key(&Register(RegisterOp::REGISTER_SEND_MSG_RING));
        if level != Level::Strict || sends || self.operations.is_empty() {
            return;
        }
        let seen = self.operations.values().fold(0, |flags, seen| flags | seen.sqe_flags);
        // A drain shows IOSQE_ASYNC as well, so that the requests after it may, too.
        let mut values = Values::default();
        values.add(SqeFlags::from_bits_truncate(seen).bits().into());
        let field = FIELDS.iter().find(|field| field.kind == Kind::SqeFlags);
        let every = SqeFlags::all().bits().into();
        if let Some(require) = field.and_then(|field| atom::no_other_bits(field, &values, every)) {
            *text += &format!("\n[all]\nrequire = {}\n", condition(&[vec![require]]));
        }
    }

    /// `[ops]`: a group where every member is allowed without conditions, single operations elsewhere.
    fn rules(&self, level: Level) -> Vec<Entry> {
        let mut entries = Vec::new();
        for group in GROUPS {
            let rules: Vec<_> = group
                .members
                .iter()
                .filter_map(|&member| Some((member, self.rule(member, level)?)))
                .collect();
            if is_whole(group, &rules) {
                let requests = rules.iter().map(|(_, (_, requests))| requests).sum();
                entries.push(Entry {
                    key: format!("\"{}\"", group.name),
                    value: "\"allow\"".into(),
                    count: count(requests, "request"),
                });
                continue;
            }
            for (member, (rule, requests)) in rules {
                let (key, value) = (member.to_string(), rule.to_string());
                entries.push(Entry { key, value, count: count(requests, "request") });
            }
        }
        entries
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
    fn conditions(&self, level: Level, text: &mut String) {
        let rules: Vec<_> = self
            .unconditional(level)
            .into_iter()
            .filter_map(|operation| Some((operation, self.rule(operation, Level::Narrow)?.0)))
            .collect();
        let fields = rules.iter().flat_map(|(operation, _)| Field::all_of(*operation));
        let Some(since) = fields.map(|field| field.since.max(KernelModel::V7_0)).max() else { return };
        *text += &format!(
            "\n# Conditions would be narrower, and take the split lane before Linux {since}: two context switches a\n\
             # submission. `ringwarden learn --narrow` writes them in the place of these rules.\n"
        );
        let width = rules.iter().map(|(operation, _)| operation.to_string().len()).max().unwrap_or(0);
        for (operation, rule) in rules {
            for line in format!("{:width$} = {rule}", operation.to_string()).lines() {
                *text += &format!("# {line}\n");
            }
        }
    }

    /// `[setup]`: flags that no ring had, and the size of the largest.
    fn setup_keys(&self, level: Level) -> Vec<Entry> {
        if self.setup.rings == 0 || level == Level::Loose {
            return Vec::new();
        }
        let used = SetupFlags::from_bits_truncate(self.setup.flags);
        let denied = if level == Level::Strict { used.complement() } else { COSTLY - used };
        let denied = SETUP_FLAGS.iter().filter(|flag| denied.contains(flag.flag));
        let names: Vec<_> = denied.map(|flag| format!("\"{}\"", flag.name)).collect();
        let size = self.setup.entries.max(1).next_power_of_two();
        let key = |key: &str, value| Entry { key: key.into(), value, count: String::new() };
        let flags = (!names.is_empty()).then(|| key("deny_flags", array(&names)));
        let size = (size < MAX_ENTRIES).then(|| key("max_entries", size.to_string()));
        flags.into_iter().chain(size).collect()
    }

    /// `[register]`: the opcodes that were seen; of a loose policy their groups.
    fn calls(&self, level: Level, text: &mut String) {
        *text += "\n[register]\ndefault = \"deny\"\n";
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
        if entries.is_empty() {
            return;
        }
        *text += "allow = [\n";
        let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 3;
        for (name, calls) in entries {
            let _ = writeln!(text, "  {:width$}  # {}", format!("\"{name}\","), count(calls, "call"));
        }
        *text += "]\n";
    }
}

/// As TOML.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("\"allow\""),
            Self::When(clauses) => f.write_str(&condition(clauses)),
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

/// A table; nothing without entries.
fn section(text: &mut String, title: &str, entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    *text += &format!("\n{title}\n");
    let width = entries.iter().map(|entry| entry.key.len()).max().unwrap_or(0);
    for Entry { key, value, count } in entries {
        let comment = if count.is_empty() { String::new() } else { format!("  # {count}") };
        *text += &format!("{key:width$} = {value}{comment}\n");
    }
}

/// A condition as TOML: on one line, or a part a line.
fn condition(clauses: &[Clause]) -> String {
    let joined: Vec<_> = clauses.iter().map(|clause| clause.join(" && ")).collect();
    let line = joined.join(" || ");
    match clauses {
        _ if line.len() <= LINE => format!("\"{line}\""),
        [clause] => format!("'''\n  {}\n'''", clause.join("\n  && ")),
        _ => format!("'''\n  {}\n'''", joined.join("\n  || ")),
    }
}

/// Strings as TOML: on one line, or as many lines as they need.
fn array(names: &[String]) -> String {
    let line = names.join(", ");
    if line.len() <= LINE {
        return format!("[{line}]");
    }
    let lines: Vec<_> = names.chunks(6).map(|names| format!("  {},", names.join(", "))).collect();
    format!("[\n{}\n]", lines.join("\n"))
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
