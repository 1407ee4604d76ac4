//! The same question on one machine and on two executors of Ballista: one answer.

#[path = "../../tests/made/mod.rs"]
mod made;

use made::contexts;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A part of the cluster, which ends with the test.
struct Part {
    child: Child,
    said: String,
}

impl Part {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(cluster())
            .current_dir(folder)
            .args(arguments)
            // Executors keep there what they send each other.
            .env("TMPDIR", folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("executed");
        let mut said = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut said).expect("read");
        assert!(said.ends_with('\n'), "it has ended");
        Self { child, said: said.trim().to_owned() }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cluster() -> PathBuf {
    env!("CARGO_BIN_EXE_ringwarden-ballista").into()
}

/// On one machine: a program of another package, which lies beside.
fn query() -> PathBuf {
    let query = cluster().with_file_name("ringwarden-query");
    assert!(query.exists(), "`cargo test --workspace` builds it, or `cargo build -p ringwarden-query`");
    query
}

fn answer(program: impl AsRef<Path>, folder: &Path, arguments: &[&str]) -> String {
    let output =
        Command::new(program.as_ref()).current_dir(folder).args(arguments).output().expect("executed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

#[test]
fn two_executors_answer_as_one_machine_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut files = Vec::new();
    for seed in 1..=8 {
        let name = format!("{seed}.parquet");
        made::write_contexts(&folder.join(&name), &contexts(seed, 2000));
        files.push(name);
    }
    // Only who asks has the policy.
    let policies = tempfile::tempdir().expect("a folder");
    let policy = policies.path().join("new.toml");
    std::fs::write(
        &policy,
        "version = 1\ndefault = \"allow\"\n[ops]\nsocket = \"family == AF_UNIX\"\nread = \"deny\"\n",
    )
    .expect("written");
    let policy = policy.to_str().expect("ASCII");
    let question = format!(
        "SELECT op, verdict('{policy}', context) AS would, rule('{policy}', context) AS rule, count(*) AS requests \
         FROM requests GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    );
    let of = |head: &[&str], question: &str| {
        let mut arguments: Vec<_> = head.to_vec();
        arguments.push(question);
        arguments.extend(files.iter().map(String::as_str));
        arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let strs =
        |arguments: &[String]| arguments.iter().map(String::as_str).map(str::to_owned).collect::<Vec<_>>();
    let ask = |program: &Path, arguments: Vec<String>| {
        let arguments = strs(&arguments);
        answer(program, folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let here = ask(&query(), of(&["query"], &question));
    assert!(here.contains("read at") && here.contains("| deny "), "{here}");
    let scheduler = Part::start(folder, &["scheduler"]);
    let executors = [(); 2].map(|()| Part::start(folder, &["executor", &scheduler.said]));
    let there = ask(&cluster(), of(&["query", &scheduler.said], &question));
    assert_eq!(there, here);
    let who = ask(
        &cluster(),
        of(
            &["query", &scheduler.said],
            "SELECT executor(opcode) AS executor, count(*) AS requests FROM requests GROUP BY 1",
        ),
    );
    // What is not there is not empty, and nothing is written.
    let refused = |arguments: &[&str]| {
        let output = Command::new(cluster()).current_dir(folder).args(arguments).output().expect("executed");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let missing =
        refused(&["query", &scheduler.said, "SELECT count(*) FROM requests", "1.parquet", "none.parquet"]);
    assert!(missing.contains("none.parquet"), "{missing}");
    let copy = "COPY (SELECT op FROM requests) TO '2.parquet'";
    assert!(refused(&["query", &scheduler.said, copy, "1.parquet"]).contains("DML not supported"));
    let took_part = executors.iter().filter(|executor| who.contains(&executor.said)).count();
    assert!(took_part > 0, "{who}");
    println!("{who}");
}
