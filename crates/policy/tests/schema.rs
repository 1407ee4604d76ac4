//! The JSON Schema: `docs/policy.schema.json` is what the code says, takes what is a policy, and finds
//! the mistakes that a schema can see.
//!
//! `UPDATE_DOCS=1 cargo test -p ringwarden-policy --test schema` writes it anew.

use boon::{Compiler, SchemaIndex, Schemas};
use ringwarden_policy::{Code, PRESETS, Policy, schema};
use std::fs;
use std::path::{Path, PathBuf};

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The schema, compiled.
struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    /// Fails where the schema itself is none.
    fn new() -> Self {
        let schema = serde_json::from_str(&schema()).expect("JSON");
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("policy.json", schema).expect("a resource");
        let index = compiler.compile("policy.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, index }
    }

    fn error(&self, text: &str) -> Option<String> {
        self.schemas.validate(&json(text), self.index).err().map(|error| format!("{error:#}"))
    }
}

fn json(text: &str) -> serde_json::Value {
    let table: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    serde_json::to_value(table).expect("TOML without dates is JSON")
}

fn policies(folder: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(path(folder)).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let policies = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let policies =
        policies.map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("text")));
    policies.collect()
}

#[test]
fn the_published_schema_is_that_of_the_code() {
    let published = path("../../docs/policy.schema.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(published, schema()).expect("writable");
    } else {
        assert!(fs::read_to_string(published).expect("readable") == schema(), "run with UPDATE_DOCS=1");
    }
}

#[test]
fn policies_are_valid() {
    let validator = Validator::new();
    let presets = PRESETS.iter().map(|preset| (preset.name.to_owned(), preset.text.to_owned()));
    for (name, text) in policies("../../policies").into_iter().chain(presets) {
        assert_eq!(validator.error(&text), None, "{name}");
    }
}

/// What is wrong within conditions, and of files that others name, is beyond a schema.
#[test]
fn mistakes_of_structure_are_found() {
    const SEEN: &[Code] = &[
        Code::Version,
        Code::UnknownKey,
        Code::WrongType,
        Code::UnknownOperation,
        Code::UnknownSetupFlag,
        Code::Entries,
        Code::UnknownRegister,
    ];
    let validator = Validator::new();
    let mut found = 0;
    for (name, text) in policies("tests/diagnostics") {
        let Err(errors) = Policy::parse(&text, "policy.toml") else { continue };
        if !errors.iter().any(|error| SEEN.contains(&error.code())) {
            continue;
        }
        assert!(validator.error(&text).is_some(), "{name}");
        found += 1;
    }
    assert!(found >= 20, "{found}");
}
