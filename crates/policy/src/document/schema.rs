//! The JSON Schema of policy files, for editors: keys and names with what they mean. Conditions are
//! strings to it; what is wrong within one, only [`Policy::parse`](crate::Policy::parse) can say.

use crate::data::field::{FIELDS, Field};
use crate::data::group::GROUPS;
use crate::data::preset::PRESETS;
use crate::data::register_group::REGISTER_GROUPS;
use crate::data::setup_flag::SETUP_FLAGS;
use ringwarden_uapi::register::REGISTER_OPS;
use ringwarden_uapi::ring::MAX_ENTRIES;
use ringwarden_uapi::{OPCODES, Opcode};
use serde_json::{Map, Value, json};

/// The schema (JSON Schema, draft 7) of a policy file in TOML, as JSON on several lines.
pub fn schema() -> String {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A policy of Ringwarden",
        "description": "What a program may ask of io_uring.",
        "type": "object",
        "required": ["version"],
        "anyOf": [{ "required": ["default"] }, { "required": ["extends"] }, { "required": ["define"] }],
        "additionalProperties": false,
        "properties": {
            "version": { "const": 1, "description": "The version of the policy language." },
            "name": { "type": "string", "description": "What reports call the policy." },
            "default": decision(
                "What becomes of operations that [ops] does not name, those of future kernels included.",
            ),
            "extends": extends("Policies that this one starts from: files, relative to this one, and presets."),
            "within": extends("Policies that allow whatever this one allows: files, relative to this one, and presets."),
            "loosens": {
                "description": "The keys of rules that are meant to allow what an extended policy refuses.",
                "type": "array",
                "items": { "enum": names().into_iter().chain(["default", "require", "setup", "register"]).collect::<Vec<_>>() },
            },
            "define": {
                "description": "Names for constants and sets, which conditions can use.",
                "type": "object",
                "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
                "additionalProperties": { "type": ["string", "integer"], "minLength": 1 },
            },
            "all": {
                "description": "What holds of every request.",
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "require": {
                        "description": "A condition that every request must meet besides its operation's rule.",
                        "type": "string",
                        "minLength": 1,
                        "not": { "enum": ["allow", "deny"] },
                    },
                },
            },
            "ops": {
                "description": "Operations and groups of operations, each with a rule.",
                "type": "object",
                "additionalProperties": false,
                "properties": operations(),
            },
            "setup": {
                "description": "The rings that the program may make.",
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "deny_flags": {
                        "description": "Rings with any of these flags are refused with EPERM.",
                        "type": "array",
                        "items": flags(),
                    },
                    "max_entries": {
                        "description": "The most requests that a ring has room for.",
                        "enum": powers_of_two(),
                    },
                },
            },
            "register": {
                "description": "The io_uring_register calls that the program may make.",
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "default": decision("What becomes of opcodes that neither list names."),
                    "allow": registers("Register opcodes, and groups of them, that pass."),
                    "deny": registers("Register opcodes, and groups of them, that are refused with EACCES."),
                },
            },
            "never": { "type": "array", "items": assertion("Requests of which none is allowed.") },
            "always": { "type": "array", "items": assertion("Requests all of which are allowed.") },
            "test": { "type": "array", "items": test() },
        },
    });
    // A `Value` prints whatever it holds.
    format!("{schema:#}\n")
}

fn decision(description: &str) -> Value {
    json!({ "description": description, "enum": ["allow", "deny"] })
}

fn extends(description: &str) -> Value {
    let presets = PRESETS.iter().map(|preset| (preset.name, preset.doc.to_owned()));
    json!({
        "description": description,
        "type": "array",
        "items": { "anyOf": [named(presets), { "type": "string", "pattern": "^[^@]" }] },
    })
}

fn operations() -> Map<String, Value> {
    let groups = GROUPS.iter().map(|group| {
        let members: Vec<_> = group.members.iter().map(Opcode::to_string).collect();
        (group.name, format!("{}: {}", group.doc, members.join(", ")))
    });
    let operations = OPCODES.iter().map(|info| {
        let fields: Vec<_> = Field::all_of(info.opcode).map(|field| field.name).collect();
        (info.name, format!("Since Linux {}. Fields: {}", info.since, fields.join(", ")))
    });
    let rule = |(name, doc): (&str, String)| {
        let condition = "\"allow\", \"deny\", or the condition under which requests are allowed.";
        let doc = format!("{doc}\n\n{condition}");
        (name.to_owned(), json!({ "description": doc, "type": "string", "minLength": 1 }))
    };
    groups.chain(operations).map(rule).collect()
}

fn flags() -> Value {
    named(SETUP_FLAGS.iter().map(|flag| (flag.name, flag.doc.to_owned())))
}

fn registers(description: &str) -> Value {
    json!({ "description": description, "type": "array", "items": register_names() })
}

fn register_names() -> Value {
    let groups = REGISTER_GROUPS.iter().map(|group| (group.name, group.doc.to_owned()));
    let ops = REGISTER_OPS.iter().map(|&(op, name)| (name, format!("io_uring_register opcode {}", op.0)));
    named(groups.chain(ops))
}

fn assertion(description: &str) -> Value {
    json!({
        "description": description,
        "type": "object",
        "anyOf": [{ "required": ["op"] }, { "required": ["when"] }],
        "additionalProperties": false,
        "properties": {
            "name": { "type": "string", "description": "What reports call the assertion." },
            "op": some_of(&names(), "Operations, and groups: each member. Without it: every operation."),
            "when": {
                "description": "The condition for which it is said. Without it: of every request.",
                "type": "string",
                "minLength": 1,
                "not": { "enum": ["allow", "deny"] },
            },
        },
    })
}

/// The operations and their groups.
fn names() -> Vec<&'static str> {
    GROUPS.iter().map(|group| group.name).chain(OPCODES.iter().map(|info| info.name)).collect()
}

/// One of some names, or several in an array.
fn some_of(names: &[&str], description: &str) -> Value {
    json!({
        "description": description,
        "anyOf": [{ "enum": names }, { "type": "array", "minItems": 1, "items": { "enum": names } }],
    })
}

fn test() -> Value {
    let mut fields = Map::new();
    for field in FIELDS {
        fields.insert(
            field.name.to_owned(),
            json!({ "type": ["integer", "string"], "description": field.doc }),
        );
    }
    json!({
        "description": "A request or a call, and what is to become of it.",
        "type": "object",
        "required": ["expect"],
        "oneOf": [{ "required": ["op"] }, { "required": ["setup"] }, { "required": ["register"] }],
        "additionalProperties": false,
        "properties": {
            "name": { "type": "string", "description": "What reports call the test." },
            "op": some_of(&names(), "Operations, and groups: each member."),
            "with": {
                "description": "The fields of the request that are not 0.",
                "type": "object",
                "additionalProperties": false,
                "properties": fields,
            },
            "setup": {
                "description": "The ring that io_uring_setup is asked for.",
                "type": "object",
                "required": ["entries"],
                "additionalProperties": false,
                "properties": {
                    "entries": {
                        "description": "The size of its submission queue.",
                        "type": "integer",
                        "minimum": 1,
                    },
                    "cq_entries": {
                        "description": "The size of its completion queue, where the program chooses it.",
                        "type": "integer",
                        "minimum": 1,
                    },
                    "flags": {
                        "description": "IORING_SETUP_*, without the prefix.",
                        "type": "array",
                        "items": flags(),
                    },
                },
            },
            "register": {
                "description": "What io_uring_register is asked for: an opcode by name or number, or a group: each member.",
                "anyOf": [register_names(), { "type": "integer", "minimum": 0 }],
            },
            "expect": decision("What is to become of it."),
        },
    })
}

/// One of some names, each with what it stands for.
fn named<'n>(names: impl Iterator<Item = (&'n str, String)>) -> Value {
    let each = names.map(|(name, doc)| json!({ "const": name, "description": doc }));
    json!({ "anyOf": each.collect::<Vec<_>>() })
}

fn powers_of_two() -> Vec<u32> {
    (0..=MAX_ENTRIES.ilog2()).map(|exponent| 1 << exponent).collect()
}
