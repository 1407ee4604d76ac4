//! `docs/guide.md` does what it says: its commands are run, in order, in one folder, and print what stands
//! behind them.
//!
//! ```` ```sh ```` blocks are run by bash; `sh fails` must fail. The ```` ```text ```` block behind one is
//! what it prints, where `...` stands for any number of lines and `[..]` for any part of a line.
//! ```` ```toml FILE ```` blocks are files.

mod document;
mod launch;
mod newest;

use document::{blocks, matches};
use newest::of_the_newest;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    if Command::new("fio").arg("--version").stdout(Stdio::null()).status().is_err() {
        launch::skip("fio is not installed");
        return;
    }
    if !Path::new("/usr/share/containers/seccomp.json").exists() {
        launch::skip("golang-github-containers-common is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let binary = Path::new(env!("CARGO_BIN_EXE_ringwarden")).parent().expect("a folder");
    let path = std::env::join_paths(
        [binary.to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let path = path.expect("a PATH");
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide.md");
    let blocks = blocks(&fs::read_to_string(guide).expect("readable"));
    let mut commands = 0;
    let mut blocks = blocks.iter().peekable();
    while let Some(block) = blocks.next() {
        let place = format!("docs/guide.md:{}", block.line);
        if let Some(file) = block.info.strip_prefix("toml ") {
            fs::write(folder.path().join(file), &block.text).expect("writable");
        }
        let Some(kind) = block.info.strip_prefix("sh").map(str::trim) else { continue };
        let output = Command::new("bash")
            .args(["-c", &format!("set -eo pipefail; exec 2>&1\n{}", block.text)])
            .current_dir(folder.path())
            .env("PATH", &path)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .expect("bash");
        let printed = String::from_utf8_lossy(&output.stdout);
        let expected = if kind == "fails" { "a failure" } else { "success" };
        assert_eq!(output.status.success(), kind != "fails", "{place}: not {expected}:\n{printed}");
        if let Some(said) = blocks.next_if(|next| next.info == "text") {
            let said = of_the_newest(&said.text);
            let (pattern, lines): (Vec<_>, Vec<_>) = (said.lines().collect(), printed.lines().collect());
            assert!(matches(&pattern, &lines), "{place} prints:\n{printed}");
        }
        commands += 1;
    }
    assert!(commands >= 8, "{commands} commands");
}
