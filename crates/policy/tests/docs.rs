//! `docs/policy.md` says what is so: its examples are read, its tables are the data's, and so is the one of
//! `docs/exposure.md`.
//!
//! `UPDATE_DOCS=1 cargo test -p ringwarden-policy --test docs` writes tables and error messages
//! anew.

use ringwarden_cbpf::Program;
use ringwarden_policy::{
    CONSTANTS, Code, Decision, FIELDS, GROUPS, Policy, REGISTER_GROUPS, SETUP_FLAGS, VULNERABILITIES, Way,
    compile,
};
use ringwarden_uapi::ring::SqeFlags;
use ringwarden_uapi::{KernelModel, Opcode, RegisterOp};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn path(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page)
}

fn document() -> String {
    fs::read_to_string(path("policy.md")).expect("docs/policy.md is there")
}

/// The fenced blocks: what follows the backticks, and the text.
fn blocks(document: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let text: String =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            blocks.push((info.to_owned(), text));
        }
    }
    blocks
}

fn fields() -> String {
    let mut table = "| field | of | bits | since kernel | |\n|---|---|---|---|---|\n".to_owned();
    for field in FIELDS.iter().filter(|field| !field.is_guards_own()) {
        let owners: Vec<_> = field.operations.iter().map(Opcode::to_string).collect();
        let owners = if owners.is_empty() { "every operation".to_owned() } else { owners.join(", ") };
        let since = if field.since == KernelModel::Posted { KernelModel::V7_0 } else { field.since };
        let constants = field.kind.constants().map(|names| format!(" ({names})")).unwrap_or_default();
        writeln!(
            table,
            "| `{}` | {owners} | {} | {since} | {}{constants} |",
            field.name, field.bits, field.doc
        )
        .expect("a String takes everything");
    }
    table
}

fn fields_of_the_guard() -> String {
    let mut table = "| field | of | bits | |\n|---|---|---|---|\n".to_owned();
    for field in FIELDS.iter().filter(|field| field.is_guards_own()) {
        let owners: Vec<_> = field.operations.iter().map(Opcode::to_string).collect();
        let owners = if owners.is_empty() { "every operation".to_owned() } else { owners.join(", ") };
        let constants = field.kind.constants().map(|names| format!(" ({names})")).unwrap_or_default();
        writeln!(table, "| `{}` | {owners} | {} | {}{constants} |", field.name, field.bits, field.doc)
            .expect("a String takes everything");
    }
    table
}

fn groups() -> String {
    let mut table = "| group | members | |\n|---|---|---|\n".to_owned();
    for group in GROUPS {
        let members: Vec<_> = group.members.iter().map(Opcode::to_string).collect();
        writeln!(table, "| `{}` | {} | {} |", group.name, members.join(", "), group.doc)
            .expect("a String takes everything");
    }
    table
}

fn constants() -> String {
    let mut table = "| constant | is | |\n|---|---|---|\n".to_owned();
    for constant in CONSTANTS {
        writeln!(table, "| `{}` | {} | {} |", constant.name, constant.kind.one(), constant.doc)
            .expect("a String takes everything");
    }
    table
}

fn setup_flags() -> String {
    let mut table = "| flag | a ring with it |\n|---|---|\n".to_owned();
    for flag in SETUP_FLAGS {
        writeln!(table, "| `{}` | {} |", flag.name, flag.doc).expect("a String takes everything");
    }
    table
}

fn register_groups() -> String {
    let mut table = "| group | members | |\n|---|---|---|\n".to_owned();
    for group in REGISTER_GROUPS {
        let members: Vec<_> = group.members.iter().map(RegisterOp::to_string).collect();
        writeln!(table, "| `{}` | {} | {} |", group.name, members.join(", "), group.doc)
            .expect("a String takes everything");
    }
    table
}

fn codes() -> String {
    let mut table = "| code | meaning |\n|---|---|\n".to_owned();
    for code in Code::ALL {
        writeln!(table, "| {code} | {} |", code.meaning()).expect("a String takes everything");
    }
    table
}

fn bugs() -> String {
    let mut table =
        "| bug | kind | through | and | since | fixed in | exploited |\n|---|---|---|---|---|---|---|\n"
            .to_owned();
    for bug in VULNERABILITIES {
        let through = ways(bug.through);
        let with = bug.with.iter().map(|with| ways(with)).collect::<Vec<_>>().join("; ");
        let exploited = bug.exploit.map(|url| format!("[shown]({url})")).unwrap_or_default();
        writeln!(
            table,
            "| [{}]({}) | {} | {through} | {with} | {} | [{}]({}) | {exploited} |",
            bug.cve,
            bug.record(),
            bug.flaw,
            bug.since.unwrap_or_default(),
            bug.fixed.join(" "),
            bug.patch()
        )
        .expect("a String takes everything");
    }
    table
}

/// Ways of which one is enough.
fn ways(ways: &[Way]) -> String {
    let flags =
        |flags: SqeFlags| flags.iter_names().map(|(name, _)| format!("`IOSQE_{name}`")).collect::<String>();
    let each = ways.iter().map(|way| match way {
        Way::Request(operation, none) if none.is_empty() => format!("`{operation}`"),
        Way::Request(operation, some) => format!("`{operation}` with {}", flags(*some)),
        Way::When(operation, condition) => format!("`{operation}` with `{condition}`"),
        Way::Flags(some) => flags(*some),
        Way::Register(op) => format!("register `{op}`"),
        Way::Setup(flag) => flag.iter_names().map(|(name, _)| format!("rings with `{name}`")).collect(),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// A page with tables in place of those between its marks.
fn with_tables(document: &str, tables: &[(&str, String)]) -> String {
    let mut document = document.to_owned();
    for (name, table) in tables {
        let start = format!("<!-- {name} -->\n");
        let from = document.find(&start).unwrap_or_else(|| panic!("no {start}")) + start.len();
        let to = from + document[from..].find("<!-- end -->").expect("an end");
        document.replace_range(from..to, table);
    }
    document
}

/// The document with its generated parts as they should be.
fn generated(document: &str) -> String {
    let tables = [
        ("fields", fields()),
        ("fields of the guard", fields_of_the_guard()),
        ("groups", groups()),
        ("constants", constants()),
        ("setup flags", setup_flags()),
        ("register groups", register_groups()),
        ("codes", codes()),
    ];
    let mut document = with_tables(document, &tables);
    let blocks = blocks(&document);
    for pair in blocks.windows(2) {
        let [(info, policy), (text, shown)] = pair else { continue };
        if text == "text" {
            let errors = match Policy::parse(policy, "policy.toml") {
                _ if !info.starts_with("toml") => continue,
                Err(errors) => errors.render(false),
                Ok(policy) => policy.warnings().expect("something to show").render(false),
            };
            document = document.replace(&format!("```text\n{shown}```"), &format!("```text\n{errors}```"));
        }
    }
    document
}

/// Holds a page against what it should be, or writes that.
fn settle(page: &str, document: &str, generated: String) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(page), generated).expect("writable");
    } else {
        assert!(document == generated, "{page}: run with UPDATE_DOCS=1");
    }
}

#[test]
fn tables_and_messages_are_up_to_date() {
    let document = document();
    settle("policy.md", &document, generated(&document));
}

#[test]
fn the_bugs_are_up_to_date() {
    let document = fs::read_to_string(path("exposure.md")).expect("docs/exposure.md is there");
    settle("exposure.md", &document, with_tables(&document, &[("bugs", bugs())]));
}

#[test]
fn every_example_is_what_it_is_called() {
    let mut count = 0;
    for (info, text) in blocks(&document()) {
        let Some(codes) = info.strip_prefix("toml") else { continue };
        let expected: BTreeSet<_> =
            codes.trim_start().trim_start_matches("warns").split_whitespace().collect();
        let found: BTreeSet<&str> = match Policy::parse(&text, "policy.toml")
            .and_then(|policy| compile(std::slice::from_ref(&policy), policy.needs()).map(|_| policy))
        {
            Ok(policy) => {
                let warnings = policy.warnings();
                warnings.iter().flatten().map(|warning| warning.code().as_str()).collect()
            }
            Err(errors) => errors.iter().map(|error| error.code().as_str()).collect(),
        };
        assert_eq!(found, expected, "{text}");
        count += 1;
    }
    assert!(count >= 3, "{count} examples");
}

/// The table of rules and addresses.
#[test]
fn absent_fields_are_as_described() {
    let v4 = [2, u32::from_ne_bytes([1, 0xbb, 0, 0]), u32::from_ne_bytes([10, 0, 0, 1]), 0, 0, 0];
    let mapped = [10, v4[1], 0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), v4[2]];
    let requests = [[1, 0, 0, 0, 0, 0], v4, mapped];

    let document = document();
    let table = document.split("| rule of `connect` |").nth(1).expect("the table is there");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut count = 0;
    for row in rows {
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<_> =
            row.split('|').map(|cell| cell.trim().trim_matches('`').replace('\u{1}', "|")).collect();
        let text = format!("version = 1\ndefault = \"deny\"\n[ops]\nconnect = '{}'\n", cells[1]);
        let policy = Policy::parse(&text, "policy.toml").unwrap_or_else(|errors| panic!("{errors}"));
        let compiled = compile(std::slice::from_ref(&policy), policy.needs()).expect("it compiles");
        let program = Program::new(&compiled.filters[0].insns, 40).expect("an acceptable program");
        for (payload, said) in requests.iter().zip(&cells[2..5]) {
            let mut words = [0; 10];
            words[2] = Opcode::CONNECT.0.into();
            words[4..].copy_from_slice(payload);
            let allowed = policy.evaluate(&words) == Decision::Allow;
            assert_eq!(if allowed { "allowed" } else { "refused" }, said, "{} on {payload:x?}", cells[1]);
            assert_eq!(program.run(&words) != 0, allowed, "{} on {payload:x?}", cells[1]);
        }
        count += 1;
    }
    assert!(count >= 6, "{count} rows");
}

/// "Some 3000 numbers in a set."
#[test]
fn the_size_of_sets_is_as_described() {
    let compiles = |count: usize| {
        let numbers: Vec<_> = (0..count).map(|n| (n * 2).to_string()).collect();
        let text = format!(
            "version = 1\ndefault = \"deny\"\n[ops]\nsocket = 'protocol in {{{}}}'\n",
            numbers.join(",")
        );
        compile(&[Policy::parse(&text, "policy.toml").expect("a policy")], KernelModel::V7_3).is_ok()
    };
    let document = document();
    let said = document.split("instructions, some ").nth(1).and_then(|rest| rest.split(' ').next());
    let said: usize = said.and_then(|number| number.parse().ok()).expect("the number is there");
    let most = (1000..4000).collect::<Vec<_>>().partition_point(|&count| compiles(count)) + 999;
    assert!(most.abs_diff(said) < 50, "{most}");
}

/// The first policy that people see.
#[test]
fn the_policy_of_the_readme_is_good() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).expect("README.md is there");
    let policies: Vec<_> = blocks(&readme).into_iter().filter(|(info, _)| info == "toml").collect();
    assert_eq!(policies.len(), 1);
    for (_, text) in policies {
        let policy = Policy::parse(&text, "README.md").unwrap_or_else(|errors| panic!("{errors}"));
        assert!(policy.warnings().is_none(), "{}", policy.warnings().expect("some"));
    }
}
