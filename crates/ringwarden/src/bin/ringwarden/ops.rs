//! `ringwarden ops`: what policies can speak of.

use crate::format::{self, Format};
use crate::style::BOLD;
use clap::Args;
use ringwarden::policy::{Field, GROUPS, Twin};
use ringwarden::uapi::{OPCODES, Opcode};
use serde::Serialize;
use std::process::ExitCode;

/// List the operations that policies name, by group, with the system calls that they stand for and the
/// fields that conditions can use.
#[derive(Args)]
pub(crate) struct Ops {
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// The keys and their order are part of the format.
#[derive(Serialize)]
struct Report {
    groups: Vec<Group>,
}

#[derive(Serialize)]
struct Group {
    name: &'static str,
    doc: &'static str,
    operations: Vec<Operation>,
}

#[derive(Serialize)]
struct Operation {
    name: &'static str,
    opcode: u8,
    /// The first Linux release that has it.
    since: &'static str,
    /// The system calls that it stands for.
    calls: &'static [&'static str],
    fields: Vec<Value>,
}

/// A field.
#[derive(Serialize)]
struct Value {
    name: &'static str,
    bits: u8,
    /// The first kernel whose filters see it.
    since: String,
    doc: &'static str,
}

impl Ops {
    pub(crate) fn execute(self) -> ExitCode {
        let report = Report { groups: GROUPS.iter().map(Group::new).collect() };
        if self.format == Format::Json {
            return format::json(&report, ExitCode::SUCCESS);
        }
        for Group { name, doc, operations } in report.groups {
            anstream::println!("{BOLD}{name}{BOLD:#}  {doc}");
            for operation in operations {
                let own: Vec<_> = operation
                    .fields
                    .iter()
                    .filter(|field| Field::of(Opcode::NOP, field.name).is_none())
                    .map(|field| field.name)
                    .collect();
                let calls = operation.calls.join(", ");
                let line =
                    format!("  {:<17} {:<5} {calls:<26} {}", operation.name, operation.since, own.join(", "));
                anstream::println!("{}", line.trim_end());
            }
        }
        let every: Vec<_> = Field::all_of(Opcode::NOP).map(|field| field.name).collect();
        anstream::println!("\nEach with the first kernel that has it, its system calls, and its own fields.");
        anstream::println!("Fields of every operation: {}", every.join(", "));
        ExitCode::SUCCESS
    }
}

impl Group {
    fn new(group: &ringwarden::policy::Group) -> Self {
        let infos = OPCODES.iter().filter(|info| group.members.contains(&info.opcode));
        let operations = infos.map(|info| Operation {
            name: info.name,
            opcode: info.opcode.0,
            since: info.since,
            calls: Twin::of(info.opcode).map_or(&[], Twin::calls),
            fields: Field::all_of(info.opcode)
                .map(|field| Value {
                    name: field.name,
                    bits: field.bits,
                    since: field.since.to_string(),
                    doc: field.doc,
                })
                .collect(),
        });
        Self { name: group.name, doc: group.doc, operations: operations.collect() }
    }
}
