//! The policy as a file, for people to review.

use crate::ruling::{Rule, Ruling};
use crate::sample;
use crate::verdict::{Verdict, decide};
use ringwarden_policy::layout::{self, Table, Value};
use ringwarden_policy::{Argument, Field, FieldValue, GROUPS};
use ringwarden_profile::{ARCHITECTURE, NATIVE, Profile, Setting};
use ringwarden_uapi::Opcode;
use std::collections::BTreeMap;
use std::fmt::Display;

/// Where comments are broken, in characters.
const WIDTH: usize = 98;

/// Without these calls there is no io_uring at all.
const IO_URING: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// What is in the file.
pub(crate) struct File<'i> {
    /// What the policy is called.
    pub(crate) name: &'i str,
    /// What comments call the profile.
    pub(crate) origin: &'i str,
    pub(crate) profile: &'i Profile,
    pub(crate) setting: Setting<'i>,
    /// Those of all operations, in numeric order.
    pub(crate) rulings: &'i [Ruling],
    pub(crate) warnings: &'i [String],
}

impl File<'_> {
    /// The text of the policy.
    pub(crate) fn text(&self) -> String {
        let Self { name, origin, profile, setting, rulings, warnings } = *self;
        let mut head = Comment(String::new());
        head.add(format_args!(
            "No wider than the seccomp profile {origin}: no request passes that the profile denies as a system \
             call. Imported by Ringwarden."
        ));
        head.add("");
        head.setting(setting);
        head.architectures(profile);
        head.io_uring(profile, setting);
        for warning in warnings {
            head.add_to("Note: ", warning);
        }
        let mut file = layout::File::new(&head.0);
        file.blank();
        file.key("version", Value::number(1));
        file.key("name", Value::text(name));
        file.key("default", Value::text("deny"));
        let mut ops = Table::new("ops");
        for group in GROUPS {
            let members: Vec<_> =
                group.members.iter().filter_map(|&member| rulings.get(usize::from(member.0))).collect();
            of_group(&mut ops, group.name, &members);
        }
        denied(&mut ops, rulings);
        file.table(ops);
        for ruling in rulings {
            tests(&mut file, ruling);
        }
        file.to_string()
    }
}

/// Paragraphs, broken into lines.
struct Comment(String);

impl Comment {
    fn add(&mut self, text: impl Display) {
        self.add_to("", text);
    }

    /// Adds a paragraph, with what follows its first line below the end of `lead`. Names that the profile gives
    /// cannot end it.
    fn add_to(&mut self, lead: &str, text: impl Display) {
        let text: String = text.to_string().chars().fold(String::new(), |mut text, letter| {
            match letter.is_control() {
                true => text.extend(letter.escape_default()),
                false => text.push(letter),
            }
            text
        });
        let mut line = lead.to_owned();
        let start = line.chars().count();
        for word in text.split(' ') {
            let length = line.chars().count();
            if length > start && length + word.chars().count() >= WIDTH {
                self.line(&line);
                line = " ".repeat(start);
            } else if length > start {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&line);
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    /// What the profile's `includes` and `excludes` were decided for.
    fn setting(&mut self, setting: Setting<'_>) {
        let capabilities: Vec<_> = setting.capabilities.iter().map(ToString::to_string).collect();
        let with = match capabilities.is_empty() {
            true => "without capabilities".to_owned(),
            false => format!("with {}", capabilities.join(", ")),
        };
        let (major, minor) = setting.kernel;
        self.add(format_args!("Its rules were taken for {ARCHITECTURE}, Linux {major}.{minor}, {with}."));
    }

    /// Which of the profile's architectures were passed over.
    fn architectures(&mut self, profile: &Profile) {
        // Of a map, runtimes take the entry of the machine.
        let mapped = profile.arch_map.iter().find(|entry| entry.architecture == NATIVE);
        let mapped = mapped.map(|entry| entry.sub_architectures.iter()).into_iter().flatten();
        let others: Vec<_> =
            profile.architectures.iter().chain(mapped).filter(|name| *name != NATIVE).cloned().collect();
        if !others.is_empty() {
            self.add(format_args!(
                "It covers programs of {}, too: their requests are the same, and so is this policy.",
                listed(&others)
            ));
        }
        let mapped = profile.arch_map.iter().map(|entry| &entry.architecture);
        let mut named = profile.architectures.iter().chain(mapped).peekable();
        if named.peek().is_some() && named.all(|name| name != NATIVE) {
            self.add(format_args!("It does not name {NATIVE}; runtimes apply it there all the same."));
        }
    }

    /// Whether the profile lets programs use io_uring at all.
    fn io_uring(&mut self, profile: &Profile, setting: Setting<'_>) {
        let is_denied =
            |call: &&str| !matches!(decide(profile, setting, Opcode::NOP, call).verdict, Verdict::Allowed);
        let denied: Vec<_> = IO_URING.into_iter().filter(is_denied).collect();
        if !denied.is_empty() {
            self.add(format_args!(
                "It denies {}. A program that is to use io_uring under this policy needs a profile that \
                     allows {} and is otherwise the same.",
                listed(&denied),
                if denied.len() == 1 { "it" } else { "them" }
            ));
        }
    }
}

/// The rules of a group's members: one, where all are allowed.
fn of_group(ops: &mut Table, name: &str, members: &[&Ruling]) {
    if members.len() > 1 && members.iter().all(|member| matches!(member.rule, Rule::Allow)) {
        let mut calls: Vec<_> = members.iter().flat_map(|member| member.row.calls()).copied().collect();
        calls.sort_unstable();
        calls.dedup();
        comment(
            ops,
            match calls[..] {
                [] => "no system call; requests that touch nothing but the program's own requests".to_owned(),
                _ => calls.join(", "),
            },
        );
        return ops.key(name, Value::text("allow"));
    }
    for member in members {
        let operation = member.row.operation.to_string();
        match &member.rule {
            Rule::Allow => {
                match member.row.calls() {
                    [] => comment(ops, format_args!("no system call; {}", member.row.reason)),
                    [call] if *call == operation => {}
                    calls => comment(ops, calls.join(", ")),
                }
                ops.key(&operation, Value::text("allow"));
            }
            Rule::When(call, _, expression) => {
                comment(ops, format_args!("{call}, under the profile's conditions"));
                member.notes.iter().for_each(|note| comment(ops, note));
                ops.key(&operation, Value::condition(expression));
            }
            Rule::Deny(..) | Rule::Unasked => {}
        }
    }
}

fn comment(table: &mut Table, text: impl Display) {
    let mut comment = Comment(String::new());
    comment.add(text);
    table.comment(&comment.0);
}

/// Which operations are denied, and why.
fn denied(ops: &mut Table, rulings: &[Ruling]) {
    let width = rulings.iter().map(|ruling| ruling.row.operation.to_string().len()).max().unwrap_or(0);
    let mut list = |heading: &str, reason: &dyn Fn(&Ruling) -> Option<String>| {
        let mut comment = Comment(String::new());
        for ruling in rulings {
            let operation = ruling.row.operation.to_string();
            if let Some(reason) = reason(ruling) {
                comment.add_to(&format!("  {operation:width$}  "), reason);
            }
        }
        if !comment.0.is_empty() {
            ops.blank();
            ops.comment(&format!("{heading}\n{}", comment.0));
        }
    };
    list("Denied, because the profile denies the system call:", &|ruling| match &ruling.rule {
        Rule::Deny(call, why) => Some(format!("{call}: {why}")),
        _ => None,
    });
    list(
        "Denied, because no system call does the same; `--allow OP` allows one:",
        &|ruling| match ruling.rule {
            Rule::Unasked => Some(ruling.row.reason.to_owned()),
            _ => None,
        },
    );
}

/// Requests on both sides of a condition. Those that open files are left out: what a filter sees
/// of their arguments is the kernel's to say.
fn tests(file: &mut layout::File, ruling: &Ruling) {
    let operation = ruling.row.operation;
    let Rule::When(call, formula, _) = &ruling.rule else { return };
    if operation != Opcode::SOCKET {
        return;
    }
    const USUAL: [u64; 3] = [2, 1, 0]; // AF_INET, SOCK_STREAM
    for (arguments, allowed) in sample::of(formula, |index| USUAL[usize::from(index)]) {
        let mut test = Table::one_of("test");
        test.key("op", Value::text(&operation.to_string()));
        test.key("with", with(&arguments, operation, call));
        test.key("expect", Value::text(if allowed { "allow" } else { "deny" }));
        file.table(test);
    }
}

/// `a, b and c`.
fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    match names[..] {
        [ref before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => names.concat(),
    }
}

/// The fields of a request that has these arguments.
fn with(arguments: &BTreeMap<u8, u64>, operation: Opcode, call: &str) -> Value {
    let fields = Argument::of(call).iter().flat_map(|argument| {
        let number = arguments.get(&argument.index);
        argument.fields.iter().filter_map(move |name| Field::of(operation, name).zip(number))
    });
    let values = fields.map(|(field, number)| (field, FieldValue::Number(number & field.mask)));
    Value::with(&values.collect::<Vec<_>>())
}
