//! `ringwarden ops`: what policies can speak of.

use crate::format::{self, Document, Format};
use crate::style::{self, BOLD, DIM, tell};
use crate::{UNUSABLE, compile};
use clap::Args;
use ringwarden::policy::{FIELDS, Field, GROUPS, SyscallEquivalent};
use ringwarden::uapi::{OPCODES, Opcode};
use schemars::JsonSchema;
use serde::Serialize;
use std::process::ExitCode;

/// List the operations that policies name, by group, with the system calls that they stand for and the
/// fields that conditions can use.
///
/// Of those that are named it says more: what each field is, how wide, and which kernel shows it to filters. Where none
/// does, only the guard sees it, and a rule that asks for it takes the split lane.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when it is done;
  2  there is no such operation or group

Examples:
  ringwarden ops
  ringwarden ops connect @commands")]
pub(crate) struct Ops {
    /// Operations, and groups such as @network [default: all]
    #[arg(value_name = "OPERATION")]
    names: Vec<String>,
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct Report {
    /// Each with its operations.
    groups: Vec<Group>,
}

impl Document for Report {}

#[derive(JsonSchema, Serialize)]
struct Group {
    /// Its name, with its `@`.
    name: &'static str,
    /// What its operations have in common.
    doc: &'static str,
    /// By opcode.
    operations: Vec<Operation>,
}

#[derive(JsonSchema, Serialize)]
struct Operation {
    /// Its name in policies.
    name: &'static str,
    /// Its number.
    opcode: u8,
    /// The first Linux release that has it.
    since: &'static str,
    /// The system calls that it stands for.
    calls: &'static [&'static str],
    /// What conditions can speak of.
    fields: Vec<Value>,
}

/// A field.
#[derive(JsonSchema, Serialize)]
struct Value {
    /// Its name in conditions.
    name: &'static str,
    /// How many bits its value has; 128 for an address.
    bits: u8,
    /// The first kernel whose filters see it, if some do.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// The only lane that holds rules which ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<&'static str>,
    /// What it is.
    doc: &'static str,
    #[serde(skip)]
    is_every_operations: bool,
}

impl Ops {
    pub(crate) fn execute(self) -> ExitCode {
        let wanted = match self.wanted() {
            Ok(wanted) => wanted,
            Err(unknown) => return style::fail(unknown, UNUSABLE),
        };
        let mut report = Report { groups: GROUPS.iter().map(Group::new).collect() };
        if !self.names.is_empty() {
            for group in &mut report.groups {
                group.operations.retain(|operation| wanted.contains(&Opcode(operation.opcode)));
            }
            report.groups.retain(|group| !group.operations.is_empty());
        }
        match self.format {
            Format::Json => return format::json(&report, ExitCode::SUCCESS),
            Format::Human if self.names.is_empty() => report.list(),
            Format::Human => report.describe(),
        }
        ExitCode::SUCCESS
    }

    /// What is named.
    fn wanted(&self) -> Result<Vec<Opcode>, String> {
        let mut wanted = Vec::new();
        for name in &self.names {
            if !name.starts_with('@') {
                wanted.push(compile::operation(name)?);
                continue;
            }
            let group = GROUPS.iter().find(|group| group.name == name).ok_or_else(|| {
                let groups: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
                format!("there is no group `{name}`; the groups are {}", groups.join(", "))
            })?;
            wanted.extend(group.members);
        }
        Ok(wanted)
    }
}

impl Report {
    /// A line for each operation.
    fn list(&self) {
        for Group { name, doc, operations } in &self.groups {
            tell!("{BOLD}{name}{BOLD:#}  {doc}");
            for operation in operations {
                let (shown, unshown): (Vec<_>, Vec<_>) =
                    operation.own_fields().partition(|field| field.since.is_some());
                let names = |fields: &[&Value]| {
                    let names: Vec<_> = fields.iter().map(|field| field.name).collect();
                    names.join(", ")
                };
                let (own, calls) = (names(&shown), operation.calls.join(", "));
                let line = format!("  {:<17} {:<5} {calls:<26} {own}", operation.name, operation.since);
                tell!("{}", line.trim_end());
                if !unshown.is_empty() {
                    tell!("  {:<23} {DIM}guard: {}{DIM:#}", "", names(&unshown));
                }
            }
        }
        let every = FIELDS.iter().filter(|field| field.operations.is_empty());
        let every: Vec<_> = every
            .map(
                |field| {
                    if field.is_guards_own() { format!("guard: {}", field.name) } else { field.name.into() }
                },
            )
            .collect();
        tell!("\nEach with the first kernel that has it, its system calls, and its own fields.");
        tell!("Fields of every operation: {}", every.join(", "));
        tell!("What stands behind `guard:` no kernel shows its filters: rules on that take the split lane.");
    }

    /// All that there is to say of each operation.
    fn describe(&self) {
        let operations =
            self.groups.iter().flat_map(|group| group.operations.iter().map(move |op| (group, op)));
        for (number, (group, operation)) in operations.enumerate() {
            if number > 0 {
                tell!("");
            }
            let Operation { name, opcode, since, calls, .. } = operation;
            tell!("{BOLD}{name}{BOLD:#}  opcode {opcode}, since Linux {since}, in {}", group.name);
            if !calls.is_empty() {
                tell!("  in place of {}", calls.join(", "));
            }
            for Value { name, bits, since, doc, .. } in &operation.fields {
                let seen = match since {
                    Some(since) => format!("kernel {since}"),
                    None => "split lane".to_owned(),
                };
                tell!("  {name:<15} {bits:>3} bits  {seen:<13}  {doc}");
            }
            if operation.own_fields().all(|field| field.since.is_none()) {
                tell!("  no kernel shows filters a field of its own");
            }
            if operation.own_fields().any(|field| field.since.is_none()) {
                tell!("  what takes the split lane only the guard sees");
            }
        }
    }
}

impl Operation {
    /// The fields that not every operation has.
    fn own_fields(&self) -> impl Iterator<Item = &Value> {
        self.fields.iter().filter(|field| !field.is_every_operations)
    }
}

impl Group {
    fn new(group: &ringwarden::policy::Group) -> Self {
        let infos = OPCODES.iter().filter(|info| group.members.contains(&info.opcode));
        let operations = infos.map(|info| Operation {
            name: info.name,
            opcode: info.opcode.0,
            since: info.since,
            calls: SyscallEquivalent::of(info.opcode).map_or(&[], SyscallEquivalent::calls),
            fields: Field::all_of(info.opcode)
                .map(|field| Value {
                    name: field.name,
                    bits: field.bits,
                    since: (!field.is_guards_own()).then(|| field.since.to_string()),
                    lane: field.is_guards_own().then_some("split"),
                    doc: field.doc,
                    is_every_operations: field.operations.is_empty(),
                })
                .collect(),
        });
        Self { name: group.name, doc: group.doc, operations: operations.collect() }
    }
}
