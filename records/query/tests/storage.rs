//! Records on object storage: the same answers as of files, and the same care.
//!
//! The server is a small one of this process, which speaks as much of HTTP and S3 as it takes, and knows nothing that
//! would change what it has.

#![cfg(feature = "object-storage")]

#[path = "../../tests/made/mod.rs"]
mod made;

use made::{contexts, request};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

const SQL: &str = "SELECT op, verdict('new.toml', context) AS would, count(*) AS n, max(user_data) AS most, min(fd) AS least \
                   FROM requests GROUP BY 1, 2 ORDER BY 1, 2";

/// What is on the server, by path, and what it was asked for.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (files, asked) = (Arc::new(files), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, heard) = (Arc::clone(&files), Arc::clone(&heard));
                thread::spawn(move || serve(&stream, &files, &heard));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

/// Answers one request after the other.
fn serve(
    mut stream: &TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    asked: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let first = lines.next()?.ok()?;
        let headers: Vec<String> =
            lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        asked.lock().expect("no panic").push(first.clone());
        let mut words = first.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let range = headers
            .iter()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
        let (status, extra, body) = match files.get(path) {
            _ if query.contains("list-type=2") => ("200 OK", String::new(), list(path, query, files)),
            None => ("404 Not Found", String::new(), Vec::new()),
            Some(bytes) => match range.as_deref().and_then(|range| range.split_once('-')) {
                Some((from, to)) => {
                    let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
                    let to = to.min(bytes.len() - 1);
                    let extra = format!("Content-Range: bytes {from}-{to}/{}\r\n", bytes.len());
                    ("206 Partial Content", extra, bytes[from..=to].to_vec())
                }
                None => ("200 OK", String::new(), bytes.clone()),
            },
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"1\"\r\n\
             Last-Modified: Sun, 01 Mar 2026 12:00:00 GMT\r\n{extra}\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        if method != "HEAD" {
            stream.write_all(&body).ok()?;
        }
    }
}

/// What a bucket has, as S3 lists it.
fn list(bucket: &str, query: &str, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let prefix = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("prefix="))
        .unwrap_or_default()
        .replace("%2F", "/");
    let bucket = format!("{}/", bucket.trim_end_matches('/'));
    let entries = files.iter().filter_map(|(path, bytes)| {
        let key = path.strip_prefix(&bucket).filter(|key| key.starts_with(&prefix))?;
        Some(format!(
            "<Contents><Key>{key}</Key><LastModified>2026-03-01T12:00:00.000Z</LastModified><ETag>\"1\"</ETag>\
             <Size>{}</Size></Contents>",
            bytes.len()
        ))
    });
    let entries: String = entries.collect();
    format!("<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>").into()
}

fn query(folder: &Path, server: &Server, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden-query"));
    // Nobody's own credentials.
    for (name, _) in std::env::vars_os() {
        if ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env("AWS_ENDPOINT_URL", format!("http://{}", server.address)).env("AWS_ALLOW_HTTP", "true");
    command.env("AWS_ACCESS_KEY_ID", "some").env("AWS_SECRET_ACCESS_KEY", "other");
    command.current_dir(folder).arg("query").args(arguments).output().expect("executed")
}

fn answer(folder: &Path, server: &Server, places: &[&str]) -> String {
    let output = query(folder, server, &[&[SQL], places].concat());
    assert!(output.status.success(), "{places:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn records_on_object_storage_are_answered_as_files_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let contexts = contexts(9, 30_000);
    let mut files = BTreeMap::new();
    for (name, part) in [("a.parquet", &contexts[..20_000]), ("b.parquet", &contexts[20_000..])] {
        made::write_contexts(&folder.join(name), part);
        files.insert(format!("/fleet/2026/{name}"), fs::read(folder.join(name)).expect("read"));
    }
    files.insert("/fleet/2026/readme.txt".into(), b"no record".to_vec());
    files.insert("/fleet/2025/broken.parquet".into(), b"no record".to_vec());
    fs::write(folder.join("new.toml"), "version = 1\ndefault = \"allow\"\n[ops]\nread = \"fd < 6\"\n")
        .expect("written");
    let server = Server::start(files);
    let local = answer(folder, &server, &["a.parquet", "b.parquet"]);
    assert_eq!(answer(folder, &server, &["."]), local);
    assert_eq!(server.asked(), [""; 0]);
    let http = |name: &str| format!("http://{}/fleet/2026/{name}", server.address);
    for places in [
        &[&*http("a.parquet"), &http("b.parquet")][..],
        &["s3://fleet/2026/a.parquet", "s3://fleet/2026/b.parquet"],
        &["s3://fleet/2026/"],
        &["s3://fleet/2026"],
        &["s3://fleet/*6/*.parquet"],
        &["s3://fleet/2026/[ab].parquet"],
        // Of several stores, and one of them twice.
        &["a.parquet", "s3://fleet/2026/b.parquet", "a.parquet"],
    ] {
        assert_eq!(answer(folder, &server, places), local, "{places:?}");
        let asked = server.asked();
        assert!(asked.iter().all(|line| line.starts_with("GET ") || line.starts_with("HEAD ")), "{asked:?}");
    }
    // What a question does not need is not fetched.
    let sum = |sql: &str| {
        let output = query(folder, &server, &[sql, "s3://fleet/2026/"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        server.asked().len()
    };
    assert!(sum("SELECT count(*) FROM requests") < sum("SELECT sum(user_data) FROM requests"));
}

#[test]
fn objects_that_are_no_records_and_names_that_lead_nowhere_are_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    made::write(&folder.join("a.parquet"), contexts(8, 500).iter().map(|context| request(context, 0)));
    let bytes = fs::read(folder.join("a.parquet")).expect("read");
    let end = bytes.len();
    // The header of the first page, which is of the first column.
    let mut page = bytes.clone();
    page[4..16].copy_from_slice(&[0x15, 0, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 0xc8, 0x01, 0]);
    let footer = [&bytes[..end - 8], &(u32::MAX - 1).to_le_bytes(), b"PAR1"].concat();
    let files = [
        ("page.parquet", page),
        ("footer.parquet", footer),
        ("cut.parquet", bytes[..end - 1].to_vec()),
        ("short.parquet", b"PAR1".to_vec()),
        ("empty.parquet", Vec::new()),
    ];
    let files = files.into_iter().map(|(name, bytes)| (format!("/fleet/{name}"), bytes)).collect();
    let server = Server::start(files);
    let page = "SELECT max(time) FROM requests";
    let http = format!("http://{}/fleet/cut.parquet", server.address);
    let secret = format!("http://some:secret@{}/fleet/cut.parquet?token=secret", server.address);
    for (sql, place, expected) in [
        (
            page,
            "s3://fleet/page.parquet",
            ", row group 0, column `time` at byte 4: a page claims 2147483647 bytes",
        ),
        ("SELECT 1", "s3://fleet/footer.parquet", ", footer: it claims to have 4294967294 bytes"),
        ("SELECT 1", "s3://fleet/cut.parquet", ", footer: it is missing: the file was cut off"),
        ("SELECT 1", "s3://fleet/short.parquet", ": it is too short for a Parquet file"),
        ("SELECT 1", "s3://fleet/empty.parquet", ": it is too short for a Parquet file"),
        ("SELECT 1", "s3://fleet/none.parquet", ": there is no such file, or no such bucket"),
        ("SELECT 1", "s3://fleet/none*.parquet", ": no name of a record (*.parquet) is there"),
        ("SELECT 1", &http, ", footer: it is missing"),
        ("SELECT 1", "s3:///a.parquet", ": the bucket or the server is missing"),
        ("SELECT 1", "ftp://fleet/a.parquet", ": URLs begin with s3://, gs://, az://, http:// or https://"),
        ("SELECT 1", "az://fleet/a.parquet", "the account is AZURE_STORAGE_ACCOUNT_NAME"),
        ("SELECT 1", &secret, ": neither a user nor"),
    ] {
        let output = query(folder, &server, &[sql, place]);
        let reason = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{place}: {reason}");
        let named = if place == secret {
            format!("error: http://{}", server.address)
        } else {
            format!("error: {place}")
        };
        assert!(reason.starts_with(&named) && reason.contains(expected), "{place}: {reason}");
        assert!(!reason.contains("secret") && reason.lines().count() == 1, "{reason}");
    }
}

/// Whatever bytes are changed: an answer, or an error that names the file.
#[test]
fn no_change_of_some_bytes_does_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    made::write(&folder.join("a.parquet"), contexts(8, 500).iter().map(|context| request(context, 0)));
    let bytes = fs::read(folder.join("a.parquet")).expect("read");
    let server = Server::start(BTreeMap::new());
    let mut random = fastrand::Rng::with_seed(1);
    let mut wrong = 0;
    for _ in 0..60 {
        let mut changed = bytes.clone();
        for _ in 0..random.usize(1..4) {
            // Half of them in what describes the rest.
            let from = if random.bool() { changed.len() * 3 / 4 } else { 0 };
            let at = random.usize(from..changed.len());
            changed[at] = random.u8(..);
        }
        fs::write(folder.join("b.parquet"), changed).expect("written");
        let sql = "SELECT op, program, max(time), sum(user_data), sum(fd), max(rule) FROM requests WHERE pid > 3 GROUP BY 1, 2";
        let output = query(folder, &server, &[sql, "b.parquet"]);
        let reason = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {}
            Some(2) => wrong += 1,
            other => panic!("{other:?}: {reason}"),
        }
    }
    assert!(wrong > 0);
}
