//! `docs/import.md` says what is so. `UPDATE_DOCS=1 cargo test -p ringwarden-seccomp-import --test import`
//! writes its generated parts anew.

use crate::compare::import;
use crate::oracle::Place;
use ringwarden_policy::{Argument, Policy, SYSCALL_EQUIVALENTS, StandsFor};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const PLAIN: Place<'_> = Place { capabilities: &[], kernel: (6, 10) };

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/import.md")
}

fn map() -> String {
    let mut table = "| operation | stands for | |\n|---|---|---|\n".to_owned();
    for row in SYSCALL_EQUIVALENTS {
        let call = |call: &&str| {
            let seen = Argument::of(call).iter().flat_map(|argument| argument.fields).copied();
            match seen.collect::<Vec<_>>()[..] {
                [] => format!("`{call}`"),
                ref fields => format!("`{call}`; filters see {}", fields.join(", ")),
            }
        };
        let calls = match row.stands_for {
            StandsFor::Harmless => "none; allowed".to_owned(),
            StandsFor::Unlike => "none; denied".to_owned(),
            _ => row.calls().iter().map(call).collect::<Vec<_>>().join(", "),
        };
        writeln!(table, "| `{}` | {calls} | {} |", row.operation, row.reason)
            .expect("a String takes everything");
    }
    table
}

/// The first block of that language.
fn block<'d>(document: &'d str, language: &str) -> &'d str {
    let from = document.split(&format!("```{language}\n")).nth(1).expect("a block");
    from.split("```").next().expect("its end")
}

#[test]
fn the_example_and_the_map_are_up_to_date() {
    let document = fs::read_to_string(path()).expect("docs/import.md is there");
    let policy = import(block(&document, "json"), &PLAIN).replace("\"imported\"", "\"profile\"");
    let warnings = Policy::parse(&policy, "policy.toml").map(|policy| policy.warnings());
    assert!(matches!(warnings, Ok(None)), "{warnings:?}");
    let mut generated = document.clone();
    for (name, part) in [("policy", format!("\n```toml\n{policy}```\n\n")), ("map", map())] {
        let start = format!("<!-- {name} -->\n");
        let from = generated.find(&start).expect("a start") + start.len();
        let to = from + generated[from..].find("<!-- end -->").expect("an end");
        generated.replace_range(from..to, &part);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(), generated).expect("writable");
    } else {
        assert!(document == generated, "run with UPDATE_DOCS=1");
    }
}

/// "Imported again, the profile gives the same policy", but for the comment about io_uring.
#[test]
fn io_uring_itself_makes_no_difference() {
    let document = fs::read_to_string(path()).expect("docs/import.md is there");
    let profile = |rules: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rules}]}}"#);
    let rule = document.split("```json\n").nth(2).and_then(|rest| rest.split("```").next()).expect("a rule");
    let (before, after) = (import(&profile(""), &PLAIN), import(&profile(rule), &PLAIN));
    let without_comment = |text: &str| text.split_once("\n\n").map(|(_, rest)| rest.to_owned());
    assert_eq!(without_comment(&before), without_comment(&after));
    assert!(before.contains("denies io_uring_setup") && !after.contains("io_uring_setup"), "{after}");
}
