//! A policy as one file: what it says with all that it extends, and where each rule is from.

use crate::data::group::GROUPS;
use crate::data::register_group::REGISTER_GROUPS;
use crate::diagnostic::origin::RuleOrigin;
use crate::layout::{File, Table, Value};
use crate::policy::calls::Register;
use crate::policy::{Decision, Policy};
use ringwarden_uapi::register::REGISTER_OPS;
use ringwarden_uapi::{OPCODES, Opcode, RegisterOp};

impl Policy {
    /// The policy as one TOML file that means the same, without tests and assertions: each rule followed by a comment
    /// that names the file and line it is from, as [`RuleOrigin`] has them, and its key there where that is
    /// another.
    pub fn listing(&self) -> String {
        let mut file = File::new("");
        file.key("version", Value::number(1));
        if let Some(name) = self.name() {
            file.key("name", Value::text(name));
        }
        let default = &self.default_origin;
        file.key_with("default", Value::text(&default.text), &from("default", default));
        let mut define = Table::new("define");
        for (name, definition) in &self.names {
            let origin = &definition.origin;
            define.key_with(name, Value::definition(&origin.text), &from(name, origin));
        }
        let mut all = Table::new("all");
        if let Some(origin) = self.requirement() {
            all.key_with("require", Value::condition(&origin.text), &from("require", origin));
        }
        let calls = &self.calls;
        let mut setup = Table::new("setup");
        if let Some((flags, origin)) = &calls.denied {
            let names = flags.iter_names().map(|(name, _)| name);
            setup.key_with("deny_flags", Value::list(names), &place(origin));
        }
        if let Some((entries, origin)) = &calls.max_entries {
            setup.key_with("max_entries", Value::number(entries), &place(origin));
        }
        let register = calls.register.as_ref().map_or_else(|| Table::new("register"), registers);
        for table in [define, all, self.operations(), setup, register] {
            file.table(table);
        }
        file.to_string()
    }

    /// One key for a group whose members all have its rule, and else one for each operation.
    fn operations(&self) -> Table {
        let mut table = Table::new("ops");
        let mut list = |key: &str, origin: &RuleOrigin| {
            table.key_with(key, Value::condition(&origin.text), &from(key, origin));
        };
        let origin = |operation| self.operation(operation).map(|rule| &rule.origin);
        let mut listed: Vec<Opcode> = Vec::new();
        for group in GROUPS {
            if let Some(first) = group.members.first().and_then(|&first| origin(first))
                && first.key == group.name
                && group.members.iter().all(|&member| origin(member) == Some(first))
            {
                list(group.name, first);
                listed.extend(group.members);
            }
        }
        for info in OPCODES.iter().filter(|info| !listed.contains(&info.opcode)) {
            if let Some(origin) = origin(info.opcode) {
                list(info.name, origin);
            }
        }
        table
    }
}

/// `[register]`, an element of its lists a line.
fn registers(register: &Register) -> Table {
    let mut table = Table::new("register");
    let (_, default) = &register.default;
    table.key_with("default", Value::text(&default.text), &from("register.default", default));
    for (list, decision) in [("allow", Decision::Allow), ("deny", Decision::Deny)] {
        let elements = listed(register, decision);
        if !elements.is_empty() {
            table.key(list, Value::commented_list(elements));
        }
    }
    table
}

/// What a list of `[register]` names, and where that is from.
fn listed(register: &Register, decision: Decision) -> Vec<(String, String)> {
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
    let element = |(name, origin): (&str, &RuleOrigin)| {
        let written = if origin.text == name { String::new() } else { format!(", {}", origin.text) };
        (name.to_owned(), format!("{}{written}", place(origin)))
    };
    elements.into_iter().map(element).collect()
}

/// Where the rule of a key is from, and its key there where that is another.
fn from(key: &str, origin: &RuleOrigin) -> String {
    let other = if origin.key == key { String::new() } else { format!(", {}", origin.key) };
    format!("{}{other}", place(origin))
}

fn place(origin: &RuleOrigin) -> String {
    format!("{}:{}", origin.file, origin.line)
}
