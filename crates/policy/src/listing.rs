//! A policy as one file: what it says with all that it extends, and where each rule is from.

use crate::calls::Register;
use crate::group::GROUPS;
use crate::policy::{Decision, Policy, RuleOrigin};
use crate::register_group::REGISTER_GROUPS;
use ringwarden_uapi::register::REGISTER_OPS;
use ringwarden_uapi::{OPCODES, Opcode, RegisterOp};
use std::fmt::Write;

/// Where the comments begin, if there is room.
const COMMENTS: usize = 40;

impl Policy {
    /// The policy as one TOML file that means the same, without tests and assertions: each rule followed by a comment
    /// that names the file and line it is from, as [`RuleOrigin`] has them, and its key there where that is
    /// another. Conditions are on one line.
    pub fn listing(&self) -> String {
        let mut listing = Listing::default();
        listing.text.push_str("version = 1\n");
        if let Some(name) = self.name() {
            // Numbers and strings print as TOML.
            let name = toml::Value::String(name.to_owned());
            let _ = writeln!(listing.text, "name = {name}");
        }
        listing.rule("default", "default", &self.default_origin);
        if !self.names.is_empty() {
            listing.text.push_str("\n[define]\n");
            for (name, definition) in &self.names {
                listing.rule(name, name, &definition.origin);
            }
        }
        if let Some(origin) = self.requirement() {
            listing.text.push_str("\n[all]\n");
            listing.rule("require", "require", origin);
        }
        if self.rules.iter().any(Option::is_some) {
            listing.text.push_str("\n[ops]\n");
            self.operations(&mut listing);
        }
        let calls = &self.calls;
        if calls.denied.is_some() || calls.max_entries.is_some() {
            listing.text.push_str("\n[setup]\n");
            if let Some((flags, origin)) = &calls.denied {
                let names: Vec<_> = flags.iter_names().map(|(name, _)| format!("\"{name}\"")).collect();
                listing.line(&format!("deny_flags = [{}]", names.join(", ")), &place(origin));
            }
            if let Some((entries, origin)) = &calls.max_entries {
                listing.line(&format!("max_entries = {entries}"), &place(origin));
            }
        }
        if let Some(register) = &calls.register {
            listing.text.push_str("\n[register]\n");
            listing.rule("default", "register.default", &register.default.1);
            for (list, decision) in [("allow", Decision::Allow), ("deny", Decision::Deny)] {
                registers(&mut listing, register, list, decision);
            }
        }
        listing.text
    }

    /// One line for a group whose members all have its rule, and else one for each operation.
    fn operations(&self, listing: &mut Listing) {
        let origin = |operation| self.operation(operation).map(|rule| &rule.origin);
        let mut listed: Vec<Opcode> = Vec::new();
        for group in GROUPS {
            if let Some(first) = group.members.first().and_then(|&first| origin(first))
                && first.key == group.name
                && group.members.iter().all(|&member| origin(member) == Some(first))
            {
                listing.rule(&format!("\"{}\"", group.name), group.name, first);
                listed.extend(group.members);
            }
        }
        for info in OPCODES.iter().filter(|info| !listed.contains(&info.opcode)) {
            if let Some(origin) = origin(info.opcode) {
                listing.rule(info.name, info.name, origin);
            }
        }
    }
}

/// One of the lists of `[register]`, an element a line.
fn registers(listing: &mut Listing, register: &Register, list: &str, decision: Decision) {
    let rule = |op: RegisterOp| match register.rules.get(op.0 as usize) {
        Some(Some((found, origin))) if *found == decision => Some(origin),
        _ => None,
    };
    let mut elements: Vec<(&str, &RuleOrigin)> = Vec::new();
    let mut listed: Vec<RegisterOp> = Vec::new();
    for group in REGISTER_GROUPS {
        if let Some(first) = group.members.first().and_then(|&first| rule(first))
            && first.text == group.name
            && group.members.iter().all(|&member| rule(member) == Some(first))
        {
            elements.push((group.name, first));
            listed.extend(group.members);
        }
    }
    for &(op, name) in REGISTER_OPS.iter().filter(|(op, _)| !listed.contains(op)) {
        elements.extend(rule(op).map(|origin| (name, origin)));
    }
    if elements.is_empty() {
        return;
    }
    let _ = writeln!(listing.text, "{list} = [");
    for (name, origin) in elements {
        let written = if origin.text == name { String::new() } else { format!(", {}", origin.text) };
        listing.line(&format!("  \"{name}\","), &format!("{}{written}", place(origin)));
    }
    listing.text.push_str("]\n");
}

#[derive(Default)]
struct Listing {
    text: String,
}

impl Listing {
    /// `key = "value"` with where it is from. `written` is what the key is there, unless it is another.
    fn rule(&mut self, key: &str, written: &str, origin: &RuleOrigin) {
        // Neither allow nor deny nor a condition holds quotes.
        let value = origin.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let other = if origin.key == written { String::new() } else { format!(", {}", origin.key) };
        self.line(&format!("{key} = \"{value}\""), &format!("{}{other}", place(origin)));
    }

    fn line(&mut self, line: &str, comment: &str) {
        // The name of a file can hold anything.
        let comment: String = comment.chars().filter(|c| !c.is_control()).collect();
        let _ = writeln!(self.text, "{line:COMMENTS$} # {comment}");
    }
}

fn place(origin: &RuleOrigin) -> String {
    format!("{}:{}", origin.file, origin.line)
}
