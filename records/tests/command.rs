//! The program: a trace through a socket becomes a record, and the status says what came of it.

mod made;

use made::{contexts, request};
use ringwarden_trace::{Item, Policy, Preamble, push};
use std::fs;
use std::io::{Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn records(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden-records"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().expect("executed")
}

/// Starts the writer, gives it the trace, and gives its answer; or what it said where it did not begin.
fn write(folder: &Path, trace: &[u8]) -> Result<String, String> {
    let (socket, theirs) = UnixStream::pair().expect("a pair");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden-records"));
    // A pipe would stay open as long as the process that is left.
    let mut said = tempfile::tempfile().expect("a file");
    command
        .current_dir(folder)
        .args(["write", "a.parquet"])
        .stdin(OwnedFd::from(theirs))
        .stderr(said.try_clone().expect("a copy"));
    let mut child = command.spawn().expect("executed");
    // Its end of the socket is to be nobody else's.
    drop(command);
    let preamble = Preamble { model: "guard".into(), policies: vec![Policy::default()] }.to_bytes();
    (&socket).write_all(&preamble).expect("sent");
    if !child.wait().expect("waited for").success() {
        let mut reason = String::new();
        said.rewind().and_then(|()| said.read_to_string(&mut reason)).expect("read");
        return Err(reason);
    }
    (&socket).write_all(trace).expect("sent");
    socket.shutdown(Shutdown::Write).expect("shut down");
    let mut answer = String::new();
    (&socket).read_to_string(&mut answer).expect("answered");
    Ok(answer)
}

fn trace() -> Vec<u8> {
    let mut trace = Vec::new();
    for (row, context) in contexts(6, 1000).iter().enumerate() {
        push(&mut trace, &Item::Request(request(context, row)));
    }
    trace
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_trace_becomes_a_record_that_is_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    assert_eq!(write(folder, &trace()), Ok("\n".into()));
    fs::write(folder.join("all.toml"), "version = 1\ndefault = \"allow\"\n").expect("written");
    fs::write(folder.join("read.toml"), "version = 1\ndefault = \"allow\"\n[ops]\nread = \"deny\"\n")
        .expect("written");
    let reads = contexts(6, 1000).iter().filter(|context| context.opcode().0 == 22).count();
    let read = records(&["replay", "a.parquet", "-p", "read.toml", "--format", "json"], folder);
    assert_eq!(read.status.code(), Some(1), "{}", text(&read.stderr));
    let report: serde_json::Value = serde_json::from_slice(&read.stdout).expect("JSON");
    let refused: Vec<_> = report["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .filter(|change| change["op"] == "read")
        .collect();
    assert_eq!((&report["version"], &report["requests"]), (&1.into(), &1000.into()));
    assert_eq!(
        refused.iter().map(|change| change["requests"].as_u64().expect("a number")).sum::<u64>(),
        reads as u64
    );
    assert!(
        refused.iter().all(|change| change["rule"] == "read at read.toml:4" && change["effect"] == "refused")
    );
    // Beside it, as the same run.
    let human = records(&["replay", "a.parquet", "-p", "read.toml"], folder);
    assert!(
        text(&human.stdout).contains("read at read.toml:4  (first: a.parquet, row "),
        "{}",
        text(&human.stdout)
    );
    // All that nobody knows is refused by every policy.
    let unknown = contexts(6, 1000).iter().filter(|context| context.opcode().name().is_none()).count();
    let all = records(&["replay", "a.parquet", "-p", "all.toml"], folder);
    assert_eq!(all.status.code(), Some(i32::from(unknown > 0)), "{}", text(&all.stdout));
}

#[test]
fn a_trace_that_is_cut_off_is_kept_until_there_and_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = trace();
    let answer = write(folder.path(), &trace[..trace.len() - 5]).expect("begun");
    assert!(answer.contains("the trace of its last requests was cut off"), "{answer}");
    let record = ringwarden_records::Record::open(&folder.path().join("a.parquet")).expect("a record");
    assert_eq!(record.requests(), 999);
}

#[test]
fn what_cannot_be_written_or_used_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("a.parquet"), "mine").expect("written");
    assert_eq!(write(folder, &[]), Err("error: a.parquet: it is there already\n".into()));
    fs::write(folder.join("all.toml"), "version = 1\ndefault = \"allow\"\n").expect("written");
    let broken = records(&["replay", "a.parquet", "-p", "all.toml"], folder);
    assert_eq!((broken.status.code(), text(&broken.stdout)), (Some(2), String::new()));
    assert_eq!(text(&broken.stderr), "error: a.parquet: it is too short for a Parquet file\n");
    let missing = records(&["replay", "a.parquet", "-p", "none.toml"], folder);
    assert_eq!((missing.status.code(), text(&missing.stdout)), (Some(2), String::new()));
    assert_eq!(fs::read_dir(folder).expect("a folder").count(), 2);
}
