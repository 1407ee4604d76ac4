//! What commands write for scripts is what `docs/schemas` says of it, and no more.
//!
//! `cargo build && UPDATE_DOCS=1 cargo test -p ringwarden-testoutput --test schemas` writes the schemas anew.

#[path = "../../cli/tests/launch/mod.rs"]
mod launch;

use boon::{Compiler, SchemaIndex, Schemas};
use launch::{Stage, built, finish};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The names of all schemas but that of policies, which is `docs/policy.schema.json`.
const NAMES: &[&str] =
    &["audit", "check", "compile", "diff", "apart", "doctor", "explain", "import-map", "ops", "test"];

fn ringwarden(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(built("ringwarden")).args(arguments).output().expect("it starts");
    assert!(!output.stdout.is_empty(), "{arguments:?}: {output:?}");
    output.stdout
}

fn schema_of(name: &str) -> String {
    String::from_utf8(ringwarden(&["schema", name])).expect("UTF-8")
}

/// A schema, compiled. To it, keys that it does not name are mistakes.
struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn new(name: &str) -> Self {
        let mut schema: Value = serde_json::from_str(&schema_of(name)).expect("JSON");
        close(&mut schema);
        for alternative in schema["anyOf"].as_array().cloned().unwrap_or_default() {
            if let Some(name) = alternative["$ref"].as_str() {
                let name = name.trim_start_matches("#/$defs/");
                schema["$defs"][name].as_object_mut().expect("an object").remove("unevaluatedProperties");
            }
        }
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("schema.json", schema).expect("a resource");
        let index = compiler.compile("schema.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, index }
    }

    fn check(&self, document: &[u8]) {
        let text = std::str::from_utf8(document).expect("UTF-8");
        let first = text.trim_start_matches('{').trim_start();
        assert!(first.starts_with("\"version\":"), "the version is the first key: {text}");
        let document: Value = serde_json::from_str(text).expect("JSON");
        let outcome = self.schemas.validate(&document, self.index);
        outcome.unwrap_or_else(|error| panic!("{error:#}\n{document:#}"));
    }
}

/// Forbids keys that are not named, in objects that are no alternatives for the rest of another one.
fn close(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    for key in ["properties", "$defs"] {
        let named = object.get_mut(key).and_then(Value::as_object_mut);
        named.into_iter().flat_map(|named| named.values_mut()).for_each(close);
    }
    object.get_mut("items").into_iter().for_each(close);
    if object.get("additionalProperties").is_none() && object.contains_key("properties") {
        object.insert("unevaluatedProperties".to_owned(), json!(false));
    }
}

/// Everything in a schema that has no description but is a property.
fn undescribed(schema: &Value, at: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                let at = format!("{at}/{key}");
                if let (true, Some(properties)) = (key == "properties", value.as_object()) {
                    // An alternative with one key is described as a whole.
                    let is_told = properties.len() == 1 && object.contains_key("description");
                    let lacking =
                        properties.iter().filter(|(_, value)| !is_told && value.get("description").is_none());
                    found.extend(lacking.map(|(name, _)| format!("{at}/{name}")));
                }
                undescribed(value, &at, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| undescribed(value, at, found)),
        _ => {}
    }
}

#[test]
fn the_published_schemas_are_those_of_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    for name in NAMES {
        let (published, schema) = (folder.join(format!("{name}.schema.json")), schema_of(name));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(published, &schema).expect("writable");
        } else {
            assert!(fs::read_to_string(published).is_ok_and(|text| text == schema), "run with UPDATE_DOCS=1");
        }
    }
    let count = fs::read_dir(folder).expect("the folder").count();
    assert_eq!(count, NAMES.len(), "each is one of a command");
    let help = String::from_utf8(ringwarden(&["schema", "--help"])).expect("UTF-8");
    assert!(NAMES.iter().all(|name| help.contains(&format!("- {name}:"))), "{help}");
    let arguments = help.split("\nOptions:").next().expect("text");
    assert_eq!(arguments.matches("\n          - ").count(), NAMES.len() + 1, "each is tested here: {help}");
}

#[test]
fn every_key_is_described() {
    for name in NAMES {
        let mut found = Vec::new();
        undescribed(&serde_json::from_str(&schema_of(name)).expect("JSON"), "", &mut found);
        assert_eq!(found, Vec::<String>::new(), "{name}");
    }
}

/// A policy with something of everything.
const POLICY: &str = r#"version = 1
name = "everything"
default = "deny"
within = ["@container-default"]

[all]
require = "!(sqe_flags & IOSQE_IO_LINK)"

[ops]
"@poll" = "allow"
connect = "addr in {10.0.0.0/8, fd00::/8} && port == 443"

[setup]
deny_flags = ["SQPOLL"]
max_entries = 64

[register]
default = "deny"
allow = ["@buffers"]

[[never]]
name = "no SSH"
op   = "connect"
when = "port == 22"

[[always]]
op = "nop"

[[test]]
name = "HTTPS"
op = "connect"
with = { addr = "10.1.2.3", port = 443 }
expect = "allow"

[[test]]
register = "@buffers"
expect = "deny"
"#;

fn policy(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("policy.toml");
    fs::write(&path, text).expect("writable");
    let name = path.to_str().expect("UTF-8").to_owned();
    (folder, name)
}

#[test]
fn what_is_written_is_what_is_said() {
    let (_folder, everything) = policy(POLICY);
    let (_other, wrong) =
        policy("version = 1\ndefault = \"deny\"\n[ops]\nraed = \"allow\"\nread = \"user_data < 0\"\n");
    let (_guard, guards_own) =
        policy("version = 1\ndefault = \"deny\"\n[ops]\nuring_cmd = \"cmd_op == 3\"\n");
    let layers = format!("@container-default,{everything}");
    let commands: &[(&str, &[&[&str]])] = &[
        (
            "explain",
            &[
                &["explain", &everything, "-p", "@file-io", "connect", "addr=10.1.2.3", "port=443"],
                &["explain", &everything, "connect", "addr=fd00::1", "port=22"],
                &["explain", &everything, "openat2", "flags=O_RDONLY"],
                &["explain", "@container-default", "uring_cmd"],
                &["explain", &guards_own, "uring_cmd", "cmd_op=3", "level=SOL_TCP"],
                &["explain", &everything, "setup", "entries=64", "flags=SQPOLL"],
                &["explain", &everything, "-p", "@file-io", "register", "buffers"],
            ],
        ),
        (
            "check",
            &[
                &["check", &everything],
                &["check", &guards_own],
                &["check", "--audit", &everything, "@container-default"],
                &["check", "--audit", "--release", "6.1.0", &layers],
                &["check", &wrong],
            ],
        ),
        ("test", &[&["test", &everything], &["test", "--coverage", &everything, "@container-default"]]),
        ("compile", &[&["compile", &everything], &["compile", "@file-io", &everything]]),
        (
            "diff",
            &[
                &["diff", &everything, "@container-default"],
                &["diff", "@container-default", "@nothing"],
                &["diff", &guards_own, "@container-default"],
                &["diff", "--op", "connect", &everything, "@net-client"],
            ],
        ),
        (
            "apart",
            &[&["diff", "--apart", &everything, "@file-io"], &["diff", "--apart", "@nothing", "@file-io"]],
        ),
        ("doctor", &[&["doctor"], &["doctor", "-p", &everything, "--rings", "10", "--entries", "4"]]),
        ("import-map", &[&["import", "seccomp", "--map"]]),
        ("ops", &[&["ops"], &["ops", "connect", "@poll"], &["ops", "bind"]]),
    ];
    for (name, all) in commands {
        let validator = Validator::new(name);
        for arguments in *all {
            validator.check(&ringwarden(&[arguments, &["--format", "json"][..]].concat()));
        }
    }
}

#[test]
fn lines_of_audits_are_what_is_said() {
    let stage = Stage::new();
    let audit = stage.empty_folder().join("audit.jsonl");
    let policy = "version = 1\ndefault = \"allow\"\n[ops]\nnop = \"deny\"\n";
    let mut command = stage.audited(policy, &audit, stage.example("nops"));
    command.arg("3");
    let output = finish(command);
    let text = fs::read_to_string(&audit).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let validator = Validator::new("audit");
    assert!(text.lines().count() >= 3, "{text}");
    text.lines().for_each(|line| validator.check(line.as_bytes()));
    validator.check(
        br#"{"version":1,"container":"web","policy":"web.toml","time":"2026-03-01T12:00:00.123456Z","lost":17}"#,
    );
}
