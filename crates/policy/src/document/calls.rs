//! `[setup]` and `[register]`: what may be asked of the calls themselves.

use super::{Document, word};
use crate::data::register_group::{REGISTER_GROUPS, RegisterGroup};
use crate::data::setup_flag::{SETUP_FLAGS, SetupFlag};
use crate::diagnostic::origin::RuleOrigin;
use crate::diagnostic::source::Span;
use crate::diagnostic::suggest;
use crate::diagnostic::{Code, Diagnostic};
use crate::policy::Decision;
use crate::policy::calls::{Calls, Register};
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::register::REGISTER_OPS;
use ringwarden_uapi::ring::{MAX_ENTRIES, SetupFlags};
use std::collections::HashMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const FLAGS: &str = "flags in an array: `deny_flags = [\"SQPOLL\", \"IOPOLL\"]`";
const ENTRIES: &str = "a power of two from 1 to 32768";
const OPS: &str = "register opcodes and groups in an array: `allow = [\"probe\", \"@buffers\"]`";

/// A register opcode in one of the lists.
struct Named {
    op: RegisterOp,
    /// By its own name, not its group's.
    own: bool,
    decision: Decision,
    span: Span,
    origin: RuleOrigin,
}

impl Document<'_> {
    /// Reads `[setup]` over what policies that this one extends say.
    pub(super) fn setup(&mut self, value: &Spanned<DeValue<'_>>, calls: &mut Calls) {
        const KEYS: &[&str] = &["deny_flags", "max_entries"];
        let Some(table) = self.call_table(value, "setup", KEYS) else { return };
        if let Some((key, list)) = table.get_key_value("deny_flags") {
            let mut denied = SetupFlags::empty();
            let mut names = Vec::new();
            for (name, span) in self.names(list, FLAGS) {
                names.push(name);
                match SetupFlag::named(name) {
                    Some(known) => denied |= known.flag,
                    None => {
                        let error = self.unknown_flag(name, span);
                        self.errors.push(error);
                    }
                }
            }
            let text = format!("[{}]", names.join(", "));
            calls.denied = Some((denied, self.origin_in("setup", key.get_ref(), key.span(), &text)));
        }
        if let Some((key, value)) = table.get_key_value("max_entries") {
            let DeValue::Integer(number) = value.get_ref() else {
                let error = self.wrong_type(value, "a number", ENTRIES);
                self.errors.push(error);
                return;
            };
            let entries = word(number).unwrap_or(u32::MAX);
            if !entries.is_power_of_two() || entries > MAX_ENTRIES {
                let message = format!("rings cannot have {} entries", number.as_str());
                let error = self.error(Code::Entries, value.span(), message).expected(ENTRIES);
                self.errors.push(match entries.checked_next_power_of_two() {
                    Some(next) if (2..=MAX_ENTRIES).contains(&next) => {
                        error.label("rounded up by the kernel").help(format!("write `{next}`"))
                    }
                    _ => error.label("not a size of rings"),
                });
                return;
            }
            let origin = self.origin_in("setup", key.get_ref(), key.span(), &entries.to_string());
            calls.max_entries = Some((entries, origin));
        }
    }

    /// Reads `[register]` over what policies that this one extends say.
    pub(super) fn register(&mut self, value: &Spanned<DeValue<'_>>, calls: &mut Calls) {
        const KEYS: &[&str] = &["default", "allow", "deny"];
        let Some(table) = self.call_table(value, "register", KEYS) else { return };
        let default = match (table.get("default"), &calls.register) {
            (Some(_), _) => self.default(table).map(|(decision, origin)| {
                (decision, RuleOrigin { key: "register.default".into(), ..origin })
            }),
            (None, Some(base)) => Some(base.default.clone()),
            (None, None) => {
                let error = self.error(Code::Default, value.span(), "`[register]` has no `default`");
                let error = error.label("in this table").expected("`default = \"allow\"` or `\"deny\"`");
                self.errors.push(error.note("it decides the opcodes that the table does not name"));
                None
            }
        };
        let mut named = Vec::new();
        for (list, decision) in [("allow", Decision::Allow), ("deny", Decision::Deny)] {
            let Some(value) = table.get(list) else { continue };
            for (name, span) in self.names(value, OPS) {
                let group = RegisterGroup::named(name);
                let own = RegisterOp::from_name(name);
                if group.is_none() && own.is_none() {
                    let error = self.unknown_register(name, span);
                    self.errors.push(error);
                    continue;
                }
                let origin = self.origin_in("register", list, span.clone(), name);
                for op in group.map_or(&[][..], |group| group.members).iter().copied().chain(own) {
                    let span = span.clone();
                    named.push(Named { op, own: own.is_some(), decision, span, origin: origin.clone() });
                }
            }
        }
        self.conflicts(&named);
        let Some(default) = default else { return };
        let register = match calls.register.take() {
            Some(base) => calls.register.insert(Register { default, ..base }),
            None => calls.register.insert(Register::new(default)),
        };
        // Groups first: an opcode's own name takes its group's place.
        named.sort_by_key(|named| named.own);
        for named in named {
            register.rules[named.op.0 as usize] = Some((named.decision, named.origin));
        }
    }

    /// Reports names that both lists have.
    fn conflicts(&mut self, named: &[Named]) {
        let mut firsts: HashMap<(RegisterOp, bool), &Named> = HashMap::new();
        let mut reported = None;
        for later in named {
            let first = *firsts.entry((later.op, later.own)).or_insert(later);
            // The members of a group are one mistake.
            if first.decision == later.decision || reported.as_ref() == Some(&later.span) {
                continue;
            }
            reported = Some(later.span.clone());
            let message = format!("`{}` is both allowed and denied", later.origin.text);
            let error = self.error(Code::Conflict, later.span.clone(), message).label("denied here");
            self.errors.push(error.also(first.span.clone(), "allowed here"));
        }
    }

    /// The table, after what does not belong there has been reported.
    fn call_table<'v>(
        &mut self,
        value: &'v Spanned<DeValue<'v>>,
        name: &str,
        keys: &[&str],
    ) -> Option<&'v DeTable<'v>> {
        let known: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
        let known = known.join(", ");
        let DeValue::Table(table) = value.get_ref() else {
            let error = self.wrong_type(value, "a table", &format!("`[{name}]`, with {known} below it"));
            self.errors.push(error);
            return None;
        };
        for key in table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref())) {
            let written = key.get_ref();
            let error = self.error(Code::UnknownKey, key.span(), format!("unknown key `{written}`"));
            let error = error.label(format!("not part of `[{name}]`"));
            self.errors.push(match suggest::closest(written, keys.iter().copied()) {
                Some(closest) => error.help(format!("did you mean `{closest}`?")),
                None => error.expected(known.clone()),
            });
        }
        Some(table)
    }

    /// The strings of an array with their places.
    pub(super) fn names<'v>(
        &mut self,
        value: &'v Spanned<DeValue<'v>>,
        expected: &str,
    ) -> Vec<(&'v str, Span)> {
        let DeValue::Array(names) = value.get_ref() else {
            let error = self.wrong_type(value, "an array", expected);
            self.errors.push(error);
            return Vec::new();
        };
        names.iter().filter_map(|name| Some((self.string(name, expected)?, name.span()))).collect()
    }

    pub(super) fn unknown_flag(&self, name: &str, span: Span) -> Diagnostic {
        let error = self.error(Code::UnknownSetupFlag, span, format!("rings have no flag `{name}`"));
        let error = error.label("no such flag");
        let plain = name.strip_prefix("IORING_SETUP_").unwrap_or(name);
        match suggest::closest(plain, SETUP_FLAGS.iter().map(|flag| flag.name)) {
            Some(closest) => error.help(format!("did you mean `{closest}`?")),
            None => error.expected("a flag of io_uring_setup(2), IORING_SETUP_* without the prefix"),
        }
    }

    pub(super) fn unknown_register(&self, name: &str, span: Span) -> Diagnostic {
        let error = self.error(Code::UnknownRegister, span, format!("unknown register opcode `{name}`"));
        let error = error.label("no such name");
        let plain = name.to_ascii_lowercase();
        let plain = plain.strip_prefix("ioring_").unwrap_or(&plain);
        let plain = plain.strip_prefix("register_").unwrap_or(plain);
        let groups = REGISTER_GROUPS.iter().map(|group| group.name);
        let ops = REGISTER_OPS.iter().map(|(_, name)| *name).filter(|_| !name.starts_with('@'));
        match suggest::closest(plain, ops.chain(groups)) {
            Some(closest) => error.help(format!("did you mean `{closest}`?")),
            None => error.expected(
                "IORING_REGISTER_* in lower case without the prefix (`unregister_` is kept), or a group that \
                 begins with `@`",
            ),
        }
    }

    fn origin_in(&self, table: &str, key: &str, place: Span, text: &str) -> RuleOrigin {
        let (line, column) = self.source.place(place.start);
        RuleOrigin {
            file: self.source.name.clone(),
            line,
            column,
            key: format!("{table}.{key}"),
            text: text.to_owned(),
        }
    }
}
