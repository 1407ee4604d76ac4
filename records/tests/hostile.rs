//! Files that are broken, cut off or made to do harm: an error with the place, and no part of a report.

mod made;

use made::{contexts, write_contexts};
use parquet::arrow::ArrowWriter;
use ringwarden::policy::Policy;
use ringwarden_records::replay::{Progress, Report, replay};
use ringwarden_records::{Error, Judge, Record};
use rustix::fs::{FileType, Mode};
use std::fs;
use std::path::Path;
use std::sync::Arc;

const POLICY: &str = "version = 1\ndefault = \"deny\"\n[ops]\nread = \"fd < 6 && off > 3 && user_data != 4\"\nsocket = \"family == AF_UNIX\"\n\
                      write = \"len > 1 && rw_flags == 0 && personality == 0 && ioprio == 3\"\n";

fn judge() -> Judge {
    Judge::new(&[Policy::parse(POLICY, "new.toml").expect("a policy")]).expect("enforceable")
}

fn replayed(path: &Path, judge: &Judge) -> Result<Report, Error> {
    replay(&[Record::open(path)?], judge, 1, &Progress::default())
}

/// A record of some requests.
fn honest(folder: &Path) -> Vec<u8> {
    let path = folder.join("honest.parquet");
    let contexts = contexts(4, 500);
    write_contexts(&path, &contexts);
    fs::read(path).expect("read")
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<_> = (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "{}", String::from_utf8_lossy(from));
    places.iter().for_each(|&at| bytes[at..at + to.len()].copy_from_slice(to));
    bytes
}

#[test]
fn what_is_no_record_is_told_with_the_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = honest(folder.path());
    let judge = judge();
    let end = bytes.len();
    let footer = u32::from_le_bytes(bytes[end - 8..end - 4].try_into().expect("4 bytes")) as usize;
    let cases: [(&str, Vec<u8>, &str); 10] = [
        ("empty", Vec::new(), ": it is too short for a Parquet file"),
        ("text", b"version = 1, and some more".to_vec(), ": it is no Parquet file"),
        ("cut", bytes[..end - 1].to_vec(), ", footer: it is missing: the file was cut off"),
        ("half", bytes[..end / 2].to_vec(), ", footer: it is missing: the file was cut off"),
        (
            "key",
            replaced(&bytes, b"ringwarden.record", b"ringwarden.wrong!"),
            ", footer: it is no record of requests",
        ),
        (
            "version",
            replaced(&bytes, b"\"version\":1", b"\"version\":2"),
            ", footer: it has version 2, and this program reads",
        ),
        (
            "model",
            replaced(&bytes, b"\"model\":\"guard\"", b"\"model\":\"7.2\"\t\t"),
            ", footer: it shows requests as the model `7.2`",
        ),
        (
            "rows",
            replaced(&bytes, b"\"requests\":500", b"\"requests\":501"),
            ", footer: it claims to have 500 rows and 501 requests",
        ),
        ("json", replaced(&bytes, b"\"rings\":{", b"\"rings\":["), ", footer: its metadata is wrong"),
        (
            "footer",
            [&bytes[..end - 8], &(u32::MAX - 1).to_le_bytes(), b"PAR1"].concat(),
            ", footer: it claims to have 4294967294 bytes",
        ),
    ];
    for (name, bytes, expected) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        let error = replayed(&path, &judge).expect_err(name).to_string();
        assert!(error.starts_with(&format!("{}{expected}", path.display())), "{error}");
    }
    // The first page, which is of the first column that is read.
    let column = 4 + (end - footer) / 2;
    let mut broken = bytes.clone();
    broken[4..column].fill(0xff);
    let path = folder.path().join("pages");
    fs::write(&path, broken).expect("written");
    let error = replayed(&path, &judge).expect_err("broken pages").to_string();
    assert!(error.contains(", row group 0, column `") && error.contains("` at byte "), "{error}");
}

/// Whoever opens one waits for somebody to write.
#[test]
fn a_fifo_is_no_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fifo.parquet");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
    let error = Record::open(&path).expect_err("no record").to_string();
    assert!(error.ends_with("fifo.parquet: it is no file"), "{error}");
}

#[test]
fn another_schema_is_refused() {
    use arrow_array::{ArrayRef, RecordBatch, StringArray};
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.parquet");
    let column: ArrayRef = Arc::new(StringArray::from(vec!["read", "write"]));
    let batch = RecordBatch::try_from_iter([("op", column)]).expect("a batch");
    let file = fs::File::create(&path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("written");
    let error = Record::open(&path).expect_err("another schema").to_string();
    assert!(error.starts_with(&format!("{}, footer: ", path.display())), "{error}");
}

/// Whatever bytes are changed or cut off: a report of all rows, or an error that names the file. Nothing else, no panic,
/// and no memory to speak of.
#[test]
fn no_change_of_some_bytes_does_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = honest(folder.path());
    let (judge, path) = (judge(), folder.path().join("changed.parquet"));
    std::panic::set_hook(Box::new(|_| {}));
    let mut random = fastrand::Rng::with_seed(5);
    let footer = bytes.len() / 2..bytes.len();
    let (mut reports, mut errors) = (0, 0);
    for round in 0..3000 {
        let mut changed = bytes.clone();
        match round % 5 {
            0 => changed.truncate(random.usize(..bytes.len())),
            1 => {
                // A part twice, or another in its place.
                let (from, length) = (random.usize(..bytes.len() - 64), random.usize(1..64));
                let to = random.usize(..bytes.len() - 64);
                changed.copy_within(from..from + length, to);
            }
            _ => {
                for _ in 0..random.usize(1..4) {
                    let at = if random.bool() {
                        random.usize(footer.clone())
                    } else {
                        random.usize(..bytes.len())
                    };
                    changed[at] =
                        if random.bool() { changed[at] ^ 1 << random.u32(..8) } else { random.u8(..) };
                }
            }
        }
        fs::write(&path, changed).expect("written");
        match replayed(&path, &judge) {
            Ok(report) => {
                assert_eq!(report.requests, 500, "round {round}");
                reports += 1;
            }
            Err(error) => {
                assert_eq!(error.file, path, "round {round}");
                errors += 1;
            }
        }
    }
    assert!(reports > 100 && errors > 1000, "{reports} {errors}");
    assert!(peak_of_memory() < 1 << 20, "{} KiB", peak_of_memory());
}

/// The most memory that this process has had, in KiB.
fn peak_of_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).expect("VmHWM")
}
