//! `ringwarden-query` answers questions, and nothing else.

#[path = "../../tests/made/mod.rs"]
mod made;

use made::{contexts, request};
use ringwarden::Enforcement;
use ringwarden::filter::Verdict;
use ringwarden::policy::Policy;
use ringwarden::uapi::KernelModel;
use ringwarden_records::Recording;
use ringwarden_trace::{Item, Preamble};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const POLICY: &str = "version = 1\ndefault = \"allow\"\n[ops]\nsocket = \"family == AF_UNIX\"\nread = \"fd < 6\"\nnop = \"deny\"\n";

fn query(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden-query"));
    command.current_dir(folder).arg("query").args(arguments).output().expect("executed")
}

fn rows(folder: &Path, sql: &str) -> Vec<Value> {
    let output = query(folder, &[sql, "a.parquet", "b.parquet", "--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).expect("JSON").as_array().expect("rows").clone()
}

fn reason(output: &Output) -> String {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_verdict_under_a_policy_is_a_function() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let contexts = contexts(7, 20_000);
    for (name, part) in [("a.parquet", &contexts[..12_000]), ("b.parquet", &contexts[12_000..])] {
        made::write_contexts(&folder.join(name), part);
    }
    fs::write(folder.join("new.toml"), POLICY).expect("written");
    let policy = Policy::parse(POLICY, "new.toml").expect("a policy");
    let enforcement = Enforcement::new(&[policy], KernelModel::Guard).expect("enforceable");
    let mut expected = BTreeMap::<(String, bool, Option<String>), u64>::new();
    for context in &contexts {
        let rule = match enforcement.filters().verdict(context) {
            Verdict::Allow => None,
            Verdict::Deny(denial) => enforcement.origin(&denial, context).map(|origin| origin.rule),
        };
        let refused = enforcement.filters().verdict(context) != Verdict::Allow;
        let rule = rule.map(|rule| format!("{} at {}:{}", rule.key, rule.file, rule.line));
        *expected.entry((context.opcode().to_string(), refused, rule)).or_default() += 1;
    }
    let found: BTreeMap<_, _> = rows(
        folder,
        "SELECT op, verdict('new.toml', context) AS would, rule('new.toml', context) AS rule, count(*) AS n FROM requests \
         GROUP BY 1, 2, 3",
    )
    .iter()
    .map(|row| {
        let text = |name: &str| row[name].as_str().map(str::to_owned);
        let key = (text("op").expect("a name"), row["would"] == "deny", text("rule"));
        (key, row["n"].as_u64().expect("a number"))
    })
    .collect();
    assert_eq!(found, expected);
    // Where, and not only what; and the columns are those of the SQE.
    // `fd < 6` is about numbers without a sign.
    let reads = rows(
        folder,
        "SELECT count(*) AS n FROM requests WHERE op = 'read' AND (fd BETWEEN 0 AND 5) = (verdict('new.toml', context) = 'deny')",
    );
    assert_eq!(reads[0]["n"], 0);
    let total = rows(
        folder,
        "SELECT count(*) AS n FROM requests WHERE program = 'some' AND verdict = 'allow' AND rule IS NULL",
    );
    assert_eq!(total[0]["n"], 10_000);
}

#[test]
fn what_records_lack_is_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for lost in [0, 17] {
        let path = folder.join("a.parquet");
        let preamble = Preamble { model: "guard".into(), ..Preamble::default() };
        let mut recording = Recording::create(&path, &preamble).expect("a new file");
        recording.add(Item::Lost(lost)).expect("written");
        recording.finish().expect("written");
        let output = query(folder, &["SELECT count(*) AS n FROM requests", "a.parquet", "--format", "json"]);
        let note = if lost > 0 { "note: 17 more requests came too fast to be recorded\n" } else { "" };
        assert_eq!(String::from_utf8_lossy(&output.stderr), note);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"[{\"n\":0}]\n"[..]));
        fs::remove_file(path).expect("removed");
    }
}

/// Arrow leaves a description of its own beside Parquet's, which may say anything.
#[test]
fn what_arrow_says_of_columns_is_not_believed() {
    const KEY: &[u8] = b"ARROW:schema";
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    made::write_contexts(&folder.join("a.parquet"), &contexts(9, 500));
    let honest = fs::read(folder.join("a.parquet")).expect("read");
    let key = honest.windows(KEY.len()).position(|bytes| bytes == KEY).expect("a description");
    // Behind the key is the length.
    for at in [8, 20, 50, 101, 200, 333].map(|behind| key + KEY.len() + behind) {
        let mut bytes = honest.clone();
        bytes[at..at + 4].copy_from_slice(b"zzzz");
        fs::write(folder.join("b.parquet"), bytes).expect("written");
        let question =
            "SELECT program, op, max(time), sum(fd), count(*) FROM requests GROUP BY 1, 2 ORDER BY 1, 2";
        let [there, here] = ["a.parquet", "b.parquet"].map(|name| query(folder, &[question, name]));
        assert_eq!(String::from_utf8_lossy(&here.stderr), "");
        assert!(here.status.success() && here.stdout == there.stdout, "{here:?}");
    }
}

#[test]
fn a_question_may_have_many_parts() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    made::write_contexts(&folder.join("a.parquet"), &contexts(5, 100));
    let parts: Vec<_> = (0..1000).map(|fd| format!("fd = {fd}")).collect();
    let question = format!("SELECT count(*) FROM requests WHERE {}", parts.join(" OR "));
    assert!(query(folder, &[&question, "a.parquet"]).status.success());
}

#[test]
fn what_is_no_question_about_records_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    made::write(&folder.join("a.parquet"), contexts(8, 100).iter().map(|context| request(context, 0)));
    fs::write(folder.join("broken.parquet"), "PAR1 and more than that").expect("written");
    fs::write(folder.join("broken.toml"), "version = 1\n[ops]\nrea = \"allow\"\n").expect("written");
    for (sql, file, expected) in [
        ("SELECT 1", "broken.parquet", "error: broken.parquet, footer: it is missing"),
        ("SELECT 1", "none.parquet", "error: none.parquet: No such file"),
        ("SELEC 1", "a.parquet", "error: "),
        ("CREATE TABLE b AS SELECT 1", "a.parquet", "error: "),
        ("COPY requests TO 'b.csv'", "a.parquet", "error: "),
        ("SELECT verdict('none.toml', context) FROM requests", "a.parquet", "none.toml"),
        ("SELECT verdict('broken.toml', context) FROM requests", "a.parquet", "unknown operation `rea`"),
        ("SELECT verdict(op, context) FROM requests", "a.parquet", "must be the same for all rows"),
        (
            "SELECT verdict('new.toml', op) FROM requests",
            "a.parquet",
            "verdict takes a policy and the context",
        ),
    ] {
        let reason = reason(&query(folder, &[sql, file]));
        assert!(reason.contains(expected), "{sql}: {reason}");
    }
    assert_eq!(fs::read_dir(folder).expect("a folder").count(), 3, "nothing is written");
}
