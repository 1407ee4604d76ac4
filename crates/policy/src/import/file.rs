//! The policy as a file, for people to review.

use super::verdict::{Verdict, decide};
use super::{Import, Rule, Ruling, sample};
use crate::field::Field;
use crate::group::GROUPS;
use crate::request::FieldValue;
use crate::twin::Argument;
use ringwarden_profile::{ARCHITECTURE, NATIVE, Profile, Setting};
use ringwarden_uapi::Opcode;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// Where comments are broken, in characters.
const WIDTH: usize = 100;

/// Without these calls there is no io_uring at all.
const IO_URING: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// The text of the policy.
pub(super) fn write(
    import: &Import,
    profile: &Profile,
    setting: &Setting<'_>,
    rulings: &[Ruling],
    warnings: &[String],
) -> String {
    let mut file = File(String::new());
    file.comment(
        "",
        format_args!(
            "No wider than the seccomp profile {}: no request passes that the profile denies as a system \
             call. Imported by Ringwarden.",
            import.origin
        ),
    );
    file.line("#");
    file.setting(setting);
    file.architectures(profile);
    file.io_uring(profile, setting);
    for warning in warnings {
        file.comment("Note: ", warning);
    }
    file.line("");
    file.line("version = 1");
    file.line(format_args!("name = {}", toml::Value::String(import.name.clone())));
    file.line("default = \"deny\"");
    file.line("\n[ops]");
    for group in GROUPS {
        let members: Vec<_> =
            group.members.iter().filter_map(|&member| rulings.get(usize::from(member.0))).collect();
        file.group(group.name, &members);
    }
    file.denied(rulings);
    for ruling in rulings {
        file.tests(ruling);
    }
    file.0
}

struct File(String);

impl File {
    fn line(&mut self, line: impl Display) {
        writeln!(self.0, "{line}").expect("a String takes everything");
    }

    /// A paragraph of comment, with what follows its first line below the end of `lead`. Names that
    /// the profile gives cannot end it.
    fn comment(&mut self, lead: &str, text: impl Display) {
        let mut line = format!("# {lead}");
        let start = line.chars().count();
        for word in text.to_string().split(' ') {
            let length = line.chars().count();
            if length > start && length + word.chars().count() >= WIDTH {
                self.line(line.trim_end());
                line = format!("#{:1$}", "", start - 1);
            } else if length > start {
                line.push(' ');
            }
            for letter in word.chars() {
                match letter.is_control() {
                    true => line.extend(letter.escape_default()),
                    false => line.push(letter),
                }
            }
        }
        self.line(line.trim_end());
    }

    /// What the profile's `includes` and `excludes` were decided for.
    fn setting(&mut self, setting: &Setting<'_>) {
        let capabilities: Vec<_> = setting.capabilities.iter().map(ToString::to_string).collect();
        let with = match capabilities.is_empty() {
            true => "without capabilities".to_owned(),
            false => format!("with {}", capabilities.join(", ")),
        };
        let (major, minor) = setting.kernel;
        self.comment(
            "",
            format_args!("Its rules were taken for {ARCHITECTURE}, Linux {major}.{minor}, {with}."),
        );
    }

    /// Which of the profile's architectures were passed over.
    fn architectures(&mut self, profile: &Profile) {
        // Of a map, runtimes take the entry of the machine.
        let mapped = profile.arch_map.iter().find(|entry| entry.architecture == NATIVE);
        let mapped = mapped.map(|entry| entry.sub_architectures.iter()).into_iter().flatten();
        let others: Vec<_> =
            profile.architectures.iter().chain(mapped).filter(|name| *name != NATIVE).cloned().collect();
        if !others.is_empty() {
            self.comment(
                "",
                format_args!(
                    "It covers programs of {}, too: their requests are the same, and so is this policy.",
                    listed(&others)
                ),
            );
        }
        let mapped = profile.arch_map.iter().map(|entry| &entry.architecture);
        let mut named = profile.architectures.iter().chain(mapped).peekable();
        if named.peek().is_some() && named.all(|name| name != NATIVE) {
            self.comment(
                "",
                format_args!("It does not name {NATIVE}; runtimes apply it there all the same."),
            );
        }
    }

    /// Whether the profile lets programs use io_uring at all.
    fn io_uring(&mut self, profile: &Profile, setting: &Setting<'_>) {
        let is_denied =
            |call: &&str| !matches!(decide(profile, *setting, Opcode::NOP, call).verdict, Verdict::Allowed);
        let denied: Vec<_> = IO_URING.into_iter().filter(is_denied).collect();
        if !denied.is_empty() {
            self.comment(
                "",
                format_args!(
                    "It denies {}. A program that is to use io_uring under this policy needs a profile that \
                     allows {} and is otherwise the same.",
                    listed(&denied),
                    if denied.len() == 1 { "it" } else { "them" }
                ),
            );
        }
    }

    /// The rules of a group's members: one, where all are allowed.
    fn group(&mut self, name: &str, members: &[&Ruling]) {
        if members.len() > 1 && members.iter().all(|member| matches!(member.rule, Rule::Allow)) {
            let mut calls: Vec<_> = members.iter().flat_map(|member| member.twin.calls()).copied().collect();
            calls.sort_unstable();
            calls.dedup();
            match calls[..] {
                [] => self.comment(
                    "",
                    "no system call; requests that touch nothing but the program's own requests",
                ),
                _ => self.comment("", calls.join(", ")),
            }
            return self.line(format_args!("\"{name}\" = \"allow\""));
        }
        for member in members {
            let operation = member.twin.operation;
            match &member.rule {
                Rule::Allow => {
                    match member.twin.calls() {
                        [] => self.comment("", format_args!("no system call; {}", member.twin.reason)),
                        [call] if *call == operation.to_string() => {}
                        calls => self.comment("", calls.join(", ")),
                    }
                    self.line(format_args!("{operation} = \"allow\""));
                }
                Rule::When(call, _, expression) => {
                    self.comment("", format_args!("{call}, under the profile's conditions"));
                    for note in &member.notes {
                        self.comment("", note);
                    }
                    self.line(format_args!("{operation} = \"{expression}\""));
                }
                Rule::Deny(..) | Rule::Unasked => {}
            }
        }
    }

    /// Which operations are denied, and why.
    fn denied(&mut self, rulings: &[Ruling]) {
        let width = rulings.iter().map(|ruling| ruling.twin.operation.to_string().len()).max().unwrap_or(0);
        let mut heading = Some("Denied, because the profile denies the system call:");
        for ruling in rulings {
            let Rule::Deny(call, why) = &ruling.rule else { continue };
            if let Some(heading) = heading.take() {
                self.line("");
                self.comment("", heading);
            }
            let operation = ruling.twin.operation.to_string();
            self.comment(&format!("  {operation:width$}  "), format_args!("{call}: {why}"));
        }
        let mut heading = Some("Denied, because no system call does the same; `--allow OP` allows one:");
        for ruling in rulings.iter().filter(|ruling| matches!(ruling.rule, Rule::Unasked)) {
            if let Some(heading) = heading.take() {
                self.line("");
                self.comment("", heading);
            }
            let operation = ruling.twin.operation.to_string();
            self.comment(&format!("  {operation:width$}  "), ruling.twin.reason);
        }
    }

    /// Requests on both sides of a condition. Those that open files are left out: what a filter sees
    /// of their arguments is the kernel's to say.
    fn tests(&mut self, ruling: &Ruling) {
        let operation = ruling.twin.operation;
        let Rule::When(call, formula, _) = &ruling.rule else { return };
        if operation != Opcode::SOCKET {
            return;
        }
        const USUAL: [u64; 3] = [2, 1, 0]; // AF_INET, SOCK_STREAM
        for (arguments, allowed) in sample::of(formula, |index| USUAL[usize::from(index)]) {
            self.line("\n[[test]]");
            self.line(format_args!("op = \"{operation}\""));
            self.line(format_args!("with = {{ {} }}", with(&arguments, operation, call)));
            self.line(format_args!("expect = \"{}\"", if allowed { "allow" } else { "deny" }));
        }
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
fn with(arguments: &BTreeMap<u8, u64>, operation: Opcode, call: &str) -> String {
    let fields = Argument::of(call).iter().flat_map(|argument| {
        let number = arguments.get(&argument.index);
        argument.fields.iter().filter_map(move |name| Field::of(operation, name).zip(number))
    });
    let values = fields.map(|(field, number)| {
        let text = field.write(FieldValue::Number(number & field.mask));
        match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => format!("{} = {text}", field.name),
            false => format!("{} = \"{text}\"", field.name),
        }
    });
    values.collect::<Vec<_>>().join(", ")
}
