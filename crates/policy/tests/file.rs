//! Policies in files: what names lead to, and what is said of those that lead nowhere.

use ringwarden_policy::file::{self, FileError, Unreadable};
use ringwarden_policy::{Policy, Rule};
use ringwarden_uapi::Opcode;
use rustix::fs::{CWD, Mode, mkfifoat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tempfile::TempDir;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("writable");
    }
    folder
}

fn extending(base: &str, ops: &str) -> String {
    format!("version = 1\nextends = [\"{base}\"]\n[ops]\n{ops}\n")
}

/// Why a file cannot be read.
fn unreadable(path: &Path) -> Unreadable {
    match Policy::from_file(path).expect_err("it is no policy") {
        FileError::Unreadable { name, reason } => {
            assert_eq!(name, path.display().to_string());
            reason
        }
        other => panic!("{other}"),
    }
}

#[test]
fn names_are_relative_to_the_file_that_names_them() {
    let folder = folder(&[
        ("top.toml", &extending("shared/middle.toml", "nop = \"deny\"")),
        ("shared/middle.toml", &extending("base.toml", "read = \"allow\"")),
        ("shared/base.toml", "version = 1\ndefault = \"deny\"\n[ops]\nwrite = \"allow\"\n"),
        // Who took the wrong folder would find this one.
        ("base.toml", "version = 1\ndefault = \"allow\"\n"),
    ]);
    let path = folder.path().join("top.toml");
    let policy = Policy::from_file(&path).expect("a policy");
    assert_eq!(policy.file(), path.to_str().expect("UTF-8"));
    let file =
        |operation| policy.rule(operation).origin().file.strip_prefix(folder.path().to_str().expect("UTF-8"));
    assert_eq!(file(Opcode::NOP), Some("/top.toml"));
    assert_eq!(file(Opcode::READ), Some("/shared/middle.toml"));
    assert_eq!(file(Opcode::WRITE), Some("/shared/base.toml"));
    assert!(matches!(policy.rule(Opcode::SOCKET), Rule::Deny(_)));
}

#[test]
fn an_at_sign_names_a_preset() {
    let preset = Policy::from_file("@net-server").expect("a preset");
    assert_eq!((preset.name(), preset.file()), (Some("net-server"), "@net-server"));
    let folder = folder(&[("own.toml", &extending("@net-server", "nop = \"deny\""))]);
    let own = Policy::from_file(folder.path().join("own.toml")).expect("a policy");
    assert_eq!(own.rule(Opcode::ACCEPT), preset.rule(Opcode::ACCEPT));
    let error = Policy::from_file("@net-sever").expect_err("there is none").to_string();
    assert_eq!(
        error,
        "cannot read policy `@net-sever`: there is no such preset; did you mean `@net-server`?"
    );
    let error = Policy::from_file("net-server").expect_err("there is no such file").to_string();
    assert!(error.ends_with("; there is a preset `@net-server`"), "{error}");
}

#[test]
fn what_cannot_be_read_is_told_with_its_name() {
    let folder = folder(&[("utf-16.toml", ""), ("long.toml", ""), ("latin.toml", "")]);
    let path = |name: &str| folder.path().join(name);
    fs::write(path("utf-16.toml"), b"\xff\xfev\0").expect("writable");
    fs::write(path("latin.toml"), b"version = 1\nname = \"\xe9\"\n").expect("writable");
    File::create(path("long.toml")).and_then(|file| file.set_len(file::LONGEST + 1)).expect("writable");

    assert!(matches!(unreadable(&path("nowhere.toml")), Unreadable::Io { preset: None, .. }));
    assert!(matches!(unreadable(folder.path()), Unreadable::Io { .. }));
    assert!(matches!(unreadable(&path("long.toml")), Unreadable::TooLong));
    assert!(matches!(unreadable(&folder.path().join(OsStr::from_bytes(b"\xff.toml"))), Unreadable::Name));
    let utf_16 = unreadable(&path("utf-16.toml")).to_string();
    assert_eq!(utf_16, "it is not UTF-8: byte 0 (line 1) is 0xff; it looks like UTF-16");
    let latin = unreadable(&path("latin.toml")).to_string();
    assert_eq!(latin, "it is not UTF-8: byte 20 (line 2) is 0xe9");
}

/// Nobody who reads a policy waits for a pipe to which nothing is written.
#[test]
fn what_others_extend_has_to_be_a_file() {
    for base in ["/dev/null", "folder"] {
        let folder = folder(&[("top.toml", &extending(base, "")), ("folder/other.toml", "")]);
        match Policy::from_file(folder.path().join("top.toml")).expect_err("it is no policy") {
            FileError::Wrong(errors) => {
                let said = errors.to_string();
                assert!(said.contains(&format!("cannot extend `{base}`: it is not a file")), "{said}");
            }
            other => panic!("{other}"),
        }
    }
    let folder = folder(&[]);
    let pipe = folder.path().join("pipe");
    mkfifoat(CWD, &pipe, Mode::RWXU).expect("a pipe");
    assert!(matches!(file::lasting(&pipe), Err(Unreadable::NotAFile)));
    assert!(file::lasting(&folder.path().join("nowhere")).is_ok());
}
