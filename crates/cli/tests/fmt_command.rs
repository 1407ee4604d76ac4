//! `ringwarden fmt`: what it does to files, and the status that scripts see.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const WRITTEN: &str = "# for one port\ndefault='deny'\nversion = 1 # the first\n[ops]\n\
                       connect = \"((port == 0X1BB))\"\n\"@read-write\" = \"allow\"";
const LAID_OUT: &str = "# for one port\nversion = 1  # the first\ndefault = \"deny\"\n\n[ops]\n\
                        connect       = \"port == 0x1bb\"\n\"@read-write\" = \"allow\"\n";

fn fmt(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden"));
    command.arg("fmt").args(arguments).current_dir(folder).env("NO_COLOR", "1");
    command.stdin(Stdio::null()).output().expect("the binary starts")
}

fn of_stdin(arguments: &[&str], text: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads all");
    child.wait_with_output().expect("it ends")
}

/// Status, standard output and standard error.
fn told(output: &Output) -> (i32, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).expect("UTF-8");
    let status = output.status.code().unwrap_or_else(|| panic!("{output:?}"));
    (status, text(&output.stdout), text(&output.stderr))
}

/// A folder with a policy in it.
fn folder(name: &str, text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("writable");
    (folder, path)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("readable")
}

#[test]
fn files_are_replaced_once_and_keep_their_rights() {
    let (folder, path) = folder("policy.toml", WRITTEN);
    fs::set_permissions(&path, Permissions::from_mode(0o604)).expect("ours");
    symlink("policy.toml", folder.path().join("link.toml")).expect("a link");
    let before = fs::metadata(&path).expect("there").ino();
    assert_eq!(told(&fmt(&["link.toml"], folder.path())), (0, "link.toml\n", ""));
    assert_eq!(text(&path), LAID_OUT);
    assert!(fs::symlink_metadata(folder.path().join("link.toml")).expect("there").is_symlink());
    let found = fs::metadata(&path).expect("there");
    assert_eq!(found.permissions().mode() & 0o7777, 0o604);
    assert_ne!(found.ino(), before, "it is another file, which took the place of the old one");
    // Nothing is left beside it, and nothing written where nothing changes.
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 2);
    assert_eq!(told(&fmt(&["policy.toml", "link.toml"], folder.path())), (0, "", ""));
    assert_eq!(fs::metadata(&path).expect("there").ino(), found.ino());
}

#[test]
fn check_shows_what_would_change() {
    let (folder, path) = folder("policy.toml", WRITTEN);
    let expected = "--- policy.toml\n+++ policy.toml\n@@ -1,6 +1,7 @@\n # for one port\n-default='deny'\n\
                    -version = 1 # the first\n+version = 1  # the first\n+default = \"deny\"\n+\n [ops]\n\
                    -connect = \"((port == 0X1BB))\"\n-\"@read-write\" = \"allow\"\n\
                    \\ No newline at end of file\n+connect       = \"port == 0x1bb\"\n\
                    +\"@read-write\" = \"allow\"\n";
    assert_eq!(told(&fmt(&["--check", "policy.toml"], folder.path())), (1, expected, ""));
    assert_eq!(text(&path), WRITTEN);
    fs::write(&path, LAID_OUT).expect("writable");
    assert_eq!(told(&fmt(&["--check", "policy.toml", "@file-io"], folder.path())), (0, "", ""));
}

#[test]
fn standard_input_goes_to_standard_output() {
    assert_eq!(told(&of_stdin(&["fmt", "-"], WRITTEN)), (0, LAID_OUT, ""));
    assert_eq!(told(&of_stdin(&["fmt", "-"], LAID_OUT)), (0, LAID_OUT, ""));
    let output = of_stdin(&["fmt", "--check", "-"], WRITTEN);
    let (status, shown, _) = told(&output);
    assert_eq!((status, shown.lines().next()), (1, Some("--- -")));
}

#[test]
fn what_is_no_policy_stays_as_it_is() {
    let broken = "version = 1\ndefault = \"deny\"\n[ops]\nconnect = \"port ==\"\n";
    let (folder, path) = folder("broken.toml", broken);
    let other = folder.path().join("other.toml");
    fs::write(&other, WRITTEN).expect("writable");
    let output = fmt(&["broken.toml", "none.toml", "other.toml"], folder.path());
    let (status, shown, errors) = told(&output);
    assert_eq!((status, shown), (2, "other.toml\n"));
    assert!(errors.contains("error[P104]") && errors.contains("broken.toml:4:19"), "{errors}");
    assert!(errors.contains("cannot read policy `none.toml`"), "{errors}");
    assert_eq!((text(&path).as_str(), text(&other).as_str()), (broken, LAID_OUT));
}

/// What names mean is for `check` to say, and files that are named need not be there.
#[test]
fn other_files_do_not_matter() {
    let written =
        "version = 1\nextends = [ 'none.toml' ]\n[ops]\nconnect = 'addr  in internal'\nnew_op = 'x'\n";
    let laid_out =
        "version = 1\nextends = [\"none.toml\"]\n\n[ops]\nconnect = \"addr in internal\"\nnew_op  = \"x\"\n";
    assert_eq!(told(&of_stdin(&["fmt", "-"], written)), (0, laid_out, ""));
}

/// What other commands write needs no second thought.
#[test]
fn a_listing_is_laid_out() {
    let shown = of_stdin(&["check", "--show", "-"], WRITTEN);
    assert_eq!(told(&of_stdin(&["fmt", "--check", "-"], told(&shown).1)), (0, "", ""), "{shown:?}");
}
