//! `ringwarden watch --record`: what the kernel takes and refuses of a real program, with the program that `RINGWARDEN` names.
//!
//! Needs root and fio, on this kernel.

mod program;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt8Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use program::ringwarden;
use ringwarden_records::Record;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Writes with an fsync for each 16 of them.
const FIO: &str = "fio --name=a --ioengine=io_uring --rw=write --bs=4k --size=1m --fsync=16 --filename=data --output=fio.txt";
/// What fio asks of a file of 1 MiB.
const WRITES: u64 = 256;

/// Who listens hears the whole machine, and loses something where others flood it.
static ALONE: Mutex<()> = Mutex::new(());

/// `watch` that listens to a shell, which runs what it is told, a line each.
struct Watched {
    shell: Child,
    output: Box<dyn BufRead>,
    watch: Child,
    told: BufReader<ChildStderr>,
}

impl Watched {
    /// `None` where the kernel cannot be listened to.
    fn start(folder: &Path) -> Option<Self> {
        let mut watch = ringwarden(folder)?;
        let mut shell = Command::new("sh")
            .current_dir(folder)
            .args(["-c", "while read line; do sh -c \"$line\"; echo $?; done"])
            .env("RINGWARDEN", watch.get_program())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let output = Box::new(BufReader::new(shell.stdout.take().expect("piped")));
        watch.args(["watch", "--pid", &shell.id().to_string(), "--record", "a.parquet", "--json"]);
        let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let mut told = BufReader::new(watch.stderr.take().expect("piped"));
        let mut line = String::new();
        told.read_line(&mut line).expect("a line");
        if !line.starts_with("ringwarden: listening") {
            eprintln!("skipped: {line}");
            drop(shell.stdin.take());
            shell.wait().expect("ended");
            assert_eq!(watch.wait().expect("ended").code(), Some(1), "{line}");
            assert!(!folder.join("a.parquet").exists());
            return None;
        }
        Some(Self { shell, output, watch, told })
    }

    /// The exit status of a command.
    fn run(&mut self, command: &str) -> String {
        writeln!(self.shell.stdin.as_mut().expect("piped"), "{command}").expect("written");
        let mut status = String::new();
        self.output.read_line(&mut status).expect("a line");
        status.trim().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.watch), signal).expect("sent");
    }

    /// Ends the shell; what `watch` says at last, with the lines of what was refused.
    fn end(mut self) -> (String, String) {
        drop(self.shell.stdin.take());
        self.shell.wait().expect("ended");
        let (mut lines, mut told) = (String::new(), String::new());
        self.watch.stdout.take().expect("piped").read_to_string(&mut lines).expect("text");
        self.told.read_to_string(&mut told).expect("text");
        assert!(self.watch.wait().expect("ended").success(), "{told}");
        (lines, told)
    }
}

/// How often a program asked for what, and what became of it.
fn counted(record: &Record) -> BTreeMap<(String, String, String), u64> {
    let mut all = BTreeMap::new();
    let columns = ["program", "op", "verdict", "rule", "complete", "pid", "flags", "user_data"];
    for group in 0..record.row_groups() {
        record
            .read(group, &columns, |_, batch| {
                let text = |name: &str, row: usize| {
                    let column = batch.column_by_name(name).expect("there").as_dictionary::<Int32Type>();
                    let texts = column.values().as_string::<i32>();
                    texts.value(column.keys().value(row) as usize).to_owned()
                };
                for row in 0..batch.num_rows() {
                    let key = (text("program", row), text("op", row), text("verdict", row));
                    *all.entry(key).or_default() += 1;
                }
                as_told(batch);
                Ok(())
            })
            .expect("read");
    }
    all
}

/// What the kernel's tracepoints tell, and no more.
fn as_told(batch: &RecordBatch) {
    let column = |name: &str| batch.column_by_name(name).expect("there");
    assert_eq!(column("complete").as_boolean().true_count(), 0);
    assert_eq!(column("rule").null_count(), batch.num_rows());
    assert!(column("pid").as_primitive::<Int32Type>().values().iter().all(|&pid| pid > 1));
    // fio has a pointer there.
    assert!(column("user_data").as_primitive::<UInt64Type>().values().iter().all(|&data| data != 0));
    assert!(column("flags").as_primitive::<UInt8Type>().values().iter().all(|&flags| flags & !0x10 == 0));
}

#[test]
fn every_request_of_those_who_are_watched_is_recorded_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let text = "version = 1\ndefault = \"allow\"\n[ops]\nfsync = \"deny\"\n";
    fs::write(folder.join("old.toml"), text).expect("written");
    let text = "version = 1\ndefault = \"allow\"\n[all]\nrequire = \"!(sqe_flags & IOSQE_FIXED_FILE)\"\n[ops]\n\
         fsync = \"user_data == 0\"\nwrite = \"off < 524288\"\n";
    fs::write(folder.join("new.toml"), text).expect("written");
    let Some(mut watched) = Watched::start(folder) else { return };
    // Nobody else counts.
    let other = Command::new("sh").current_dir(folder).args(["-c", &FIO.replace("data", "others")]).status();
    assert!(other.expect("fio").success());
    assert_eq!(watched.run(FIO), "0");
    // It goes on where an fsync is refused.
    let restricted = format!("\"$RINGWARDEN\" run -p old.toml --lane restricted --quiet -- {FIO}");
    assert_eq!(watched.run(&restricted), "0");
    let (lines, told) = watched.end();

    let record = Record::open(&folder.join("a.parquet")).expect("a record");
    let all = counted(&record);
    let of = |op: &str, verdict: &str| {
        all.get(&("fio".into(), op.into(), verdict.into())).copied().unwrap_or_default()
    };
    let total: u64 = all.values().sum();
    let (written, synced, denied) = (of("write", "allow"), of("fsync", "allow"), of("fsync", "deny"));
    assert_eq!((written, record.metadata().lost), (2 * WRITES, 0), "{all:?}");
    assert!((15..=17).contains(&synced) && (15..=17).contains(&denied), "{all:?}");
    assert_eq!(total, written + synced + denied, "{all:?}");
    assert_eq!(lines.lines().count() as u64, denied, "{lines}");
    let said = format!("ringwarden: {total} requests recorded\n");
    assert!(told.starts_with(&said) && told.contains(&format!("fsync ({denied})")), "{told}");

    // What depends on the operation, user_data and flags is decided, and nothing else.
    let report = |policy: &str| -> serde_json::Value {
        let mut replay = Command::new(env!("CARGO_BIN_EXE_ringwarden-records"));
        replay.current_dir(folder).args(["replay", "a.parquet", "--format", "json", "-p", policy]);
        serde_json::from_slice(&replay.output().expect("executed").stdout).expect("JSON")
    };
    let old = report("old.toml");
    assert_eq!((&old["newly_refused"], &old["newly_allowed"]), (&synced.into(), &0.into()), "{old}");
    assert_eq!((&old["undecided"], &old["lost"]), (&0.into(), &0.into()), "{old}");
    let new = report("new.toml");
    assert_eq!((&new["newly_refused"], &new["undecided"]), (&synced.into(), &written.into()), "{new}");
}

/// What finds no place in the buffers is told of at last, in the file, and whenever it is judged.
#[test]
fn what_comes_too_fast_is_counted() {
    /// More than the buffers of two processors have room for.
    const READS: u64 = 400_000;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("any.toml"), "version = 1\ndefault = \"allow\"\n").expect("written");
    let Some(mut watched) = Watched::start(folder) else { return };
    watched.signal(Signal::STOP);
    let fio = "fio --name=a --ioengine=io_uring --rw=read --bs=512 --filename=/dev/zero --output=fio.txt --cpus_allowed=0";
    assert_eq!(watched.run(&format!("{fio} --size={}", READS * 512)), "0");
    watched.signal(Signal::CONT);
    let (_, told) = watched.end();

    let record = Record::open(&folder.join("a.parquet")).expect("a record");
    let lost = record.metadata().lost;
    // What is lost may be others'.
    assert!(record.requests() > 0 && lost > 0, "{told}");
    assert!(record.requests() + lost >= READS, "{} and {lost}: {told}", record.requests());
    let said =
        format!("{} requests recorded; {lost} more came too fast, and are missing\n", record.requests());
    assert!(told.starts_with(&format!("ringwarden: {said}")), "{told}");

    let mut replay = Command::new(env!("CARGO_BIN_EXE_ringwarden-records"));
    replay.current_dir(folder).args(["replay", "a.parquet", "-p", "any.toml"]);
    let output = replay.output().expect("executed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("{lost} more came too fast to be recorded")), "{text}");
    assert_eq!(output.status.code(), Some(1), "nobody knows whether nothing would change");
}
