//! The commands that read policies and run nothing: what they print, and the status that scripts see.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn ringwarden(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden"));
    command.args(arguments).env("NO_COLOR", "1").output().expect("the binary starts")
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A policy in a file of its own, which goes with the folder.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.toml");
        fs::write(&path, text).expect("writable");
        Self { _folder: folder, path }
    }

    fn name(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }
}

/// The policies that come with the project.
fn examples() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut names: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.to_str().expect("UTF-8").to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 4, "{names:?}");
    names
}

mod test {
    use super::*;

    const CONNECT: &str = r#"
version = 1
default = "deny"
[ops]
socket = "family == AF_INET && type == SOCK_STREAM && type_flags & SOCK_CLOEXEC && protocol == IPPROTO_TCP"
openat = "flags & O_CREAT && mode == 0o600 && sqe_flags & IOSQE_ASYNC"
openat2 = "flags == O_WRONLY && resolve == RESOLVE_BENEATH && user_data == 0x1_0000_0002"
connect = "addr in {10.1.2.3, fd00::1:2} && port == 443"
"#;

    /// One request against [`CONNECT`]: whether it is allowed.
    fn allowed(op: &str, with: &str) -> bool {
        let file = File::new(&format!(
            "{CONNECT}\n[[test]]\nop = \"{op}\"\nwith = {{ {with} }}\nexpect = \"allow\"\n"
        ));
        let output = ringwarden(&["test", file.name(), "--format", "json"]);
        let report = json(&output);
        assert_eq!(report["tests"].as_array().map(Vec::len), Some(1), "{report}");
        assert_eq!(status(&output), if report["tests"][0]["passed"] == true { 0 } else { 1 });
        assert_eq!(report["tests"][0]["passed"], report["tests"][0]["decided"] == "allow");
        report["tests"][0]["passed"] == true
    }

    #[test]
    fn every_example_passes_its_own_tests() {
        for name in examples() {
            let output = ringwarden(&["test", &name, "--format", "json"]);
            let report = json(&output);
            assert_eq!(status(&output), 0, "{name}: {report:#}");
            assert!(report["passed"].as_u64() > Some(0), "{name} has no tests");
        }
    }

    /// Each field reaches the program as the kernel would show it.
    #[test]
    fn requests_are_made_of_their_fields() {
        let tcp = "family = 'AF_INET', type = 'SOCK_STREAM', type_flags = 'SOCK_CLOEXEC', protocol = 6";
        for (op, with, expected) in [
            ("socket", tcp, true),
            ("socket", "family = 'AF_INET', type = 'SOCK_STREAM', protocol = 6", false),
            (
                "socket",
                "family = 'AF_INET', type = 'SOCK_DGRAM', type_flags = 'SOCK_CLOEXEC', protocol = 6",
                false,
            ),
            ("socket", "family = 'AF_INET', type = 'SOCK_STREAM', type_flags = 'SOCK_CLOEXEC'", false),
            // Whoever creates a file is sent to a worker thread.
            ("openat", "flags = 'O_RDWR | O_CREAT', mode = 0o600", true),
            ("openat", "flags = 'O_RDWR | O_CREAT', mode = 0o644", false),
            ("openat2", "flags = 'O_WRONLY', resolve = 'RESOLVE_BENEATH', user_data = 0x1_0000_0002", true),
            ("openat2", "flags = 'O_WRONLY', resolve = 'RESOLVE_BENEATH', user_data = 2", false),
            ("openat2", "flags = 'O_WRONLY', user_data = 0x1_0000_0002", false),
            ("connect", "addr = '10.1.2.3', port = 443", true),
            ("connect", "addr = '10.1.2.3', port = 0xbb01", false),
            ("connect", "addr = '10.1.2.4', port = 443", false),
            ("connect", "addr = 'fd00::1:2', port = 443", true),
            ("connect", "family = 'AF_INET6', port = 443", false),
            ("connect", "family = 'AF_UNIX'", false),
            ("nop", "", false),
        ] {
            assert_eq!(allowed(op, with), expected, "{op} {with}");
        }
    }

    #[test]
    fn a_failure_names_the_rule_that_decided() {
        let file = File::new(
            "version = 1\ndefault = \"deny\"\n[ops]\nread = \"allow\"\n\
             [[test]]\nname = \"no reading\"\nop = \"read\"\nexpect = \"deny\"\n\
             [[test]]\nop = \"write\"\nexpect = \"deny\"\n",
        );
        let output = ringwarden(&["test", file.name()]);
        assert_eq!(status(&output), 1);
        let name = file.name();
        assert_eq!(
            stdout(&output),
            format!(
                "FAIL  no reading: read\n      expected deny at {name}:5, but allow: read = allow at {name}:4\n\
                 ok    write deny at {name}:2\n1 passed, 1 failed, kernel 7.3\n"
            )
        );
    }

    #[test]
    fn a_policy_that_the_kernel_cannot_hold_is_unusable() {
        let file = File::new("version = 1\ndefault = \"deny\"\n[ops]\nconnect = \"port == 443\"\n");
        let output = ringwarden(&["test", file.name(), "--kernel", "7.0"]);
        assert_eq!(status(&output), 2);
        assert!(stderr(&output).contains("error[P301]"), "{output:?}");
    }

    #[test]
    fn what_is_no_policy_is_unusable() {
        let output = ringwarden(&["test", File::new("version = 1\n").name()]);
        assert_eq!(status(&output), 2);
        assert!(stderr(&output).contains("error[P006]"), "{output:?}");
        let output = ringwarden(&["test", "/nonexistent/policy.toml"]);
        assert_eq!(status(&output), 2);
        assert!(stderr(&output).contains("cannot read policy"), "{output:?}");
        let output = ringwarden(&["test", File::new("version = 1\ndefault = \"deny\"\n").name()]);
        assert_eq!(status(&output), 0);
        assert!(stderr(&output).contains("has no tests"), "{output:?}");
    }
}

mod check {
    use super::*;

    const GOOD: &str = "version = 1\ndefault = \"deny\"\n[ops]\nread = \"allow\"\n";
    const DOUBTFUL: &str = "version = 1\ndefault = \"allow\"\n[ops]\nopenat = \"deny\"\n";
    const WRONG: &str = "version = 1\ndefault = \"deny\"\n[ops]\nraed = \"allow\"\nwrite = \"flags == 1\"\n";

    #[test]
    fn the_status_is_for_scripts() {
        for (text, arguments, expected) in [
            (GOOD, &[][..], 0),
            (GOOD, &["--deny-warnings"], 0),
            (DOUBTFUL, &[], 0),
            (DOUBTFUL, &["--deny-warnings"], 1),
            (WRONG, &[], 1),
            ("version = 1\ndefault = \"deny\"\n[ops]\nconnect = \"port == 1\"\n", &["--kernel", "7.0"], 1),
            ("version = 1\ndefault = \"deny\"\n[ops]\nconnect = \"port == 1\"\n", &["--kernel", "7.2"], 0),
        ] {
            let file = File::new(text);
            for format in ["human", "json"] {
                let output = ringwarden(&[&["check", file.name(), "--format", format], arguments].concat());
                assert_eq!(status(&output), expected, "{text} {output:?}");
            }
        }
        assert_eq!(status(&ringwarden(&["check", "/nonexistent/policy.toml"])), 2);
    }

    #[test]
    fn every_finding_of_every_file_is_reported() {
        let (doubtful, wrong) = (File::new(DOUBTFUL), File::new(WRONG));
        let output = ringwarden(&["check", doubtful.name(), wrong.name(), "--format", "json"]);
        let report = json(&output);
        assert_eq!((&report["errors"], &report["warnings"]), (&2.into(), &1.into()));
        let found: Vec<_> = report["diagnostics"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| {
                [&entry["file"], &entry["line"], &entry["column"], &entry["severity"], &entry["code"]]
            })
            .map(|parts| {
                parts.map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).join(" ")
            })
            .collect();
        let expected = [
            format!("{} 4 1 warning P404", doubtful.name()),
            format!("{} 4 1 error P007", wrong.name()),
            format!("{} 5 10 error P202", wrong.name()),
        ];
        assert_eq!(found, expected);
        assert_eq!(report["diagnostics"][1]["suggestion"], "did you mean `read`?");

        let output = ringwarden(&["check", doubtful.name(), wrong.name()]);
        for code in ["warning[P404]", "error[P007]", "error[P202]", "2 errors", "1 warning"] {
            assert!(stderr(&output).contains(code), "{output:?}");
        }
    }

    #[test]
    fn bases_are_looked_for_beside_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("makeable");
            fs::write(&path, text).expect("writable");
            path.to_str().expect("UTF-8").to_owned()
        };
        write("bases/site.toml", "version = 1\nextends = [\"../deny.toml\"]\n[ops]\nread = \"allow\"\n");
        write("deny.toml", "version = 1\ndefault = \"deny\"\n");
        let name = write(
            "app/policy.toml",
            "version = 1\nextends = [\"../bases/site.toml\"]\n[[test]]\nop = \"read\"\nexpect = \"allow\"\n\
             [[test]]\nop = \"write\"\nexpect = \"deny\"\n",
        );
        let output = ringwarden(&["test", &name]);
        assert_eq!(status(&output), 0, "{output:?}");
        assert!(stdout(&output).contains("app/../bases/site.toml:4"), "{output:?}");

        write("deny.toml", "version = 1\ndefault = \"denied\"\n");
        let output = ringwarden(&["check", &name]);
        assert_eq!(status(&output), 1);
        assert!(stderr(&output).contains("bases/../deny.toml:2:11"), "{output:?}");

        for missing in ["nothing.toml", "@container-default"] {
            let name = write("policy.toml", &format!("version = 1\nextends = [\"{missing}\"]\n"));
            let output = ringwarden(&["check", &name]);
            assert_eq!(status(&output), 1);
            assert!(stderr(&output).contains("error[P010]"), "{output:?}");
        }
    }

    #[test]
    fn the_examples_are_good() {
        let examples = examples();
        let names: Vec<_> = examples.iter().map(String::as_str).collect();
        let output = ringwarden(&[&["check", "--deny-warnings"][..], &names].concat());
        assert_eq!(status(&output), 0, "{output:?}");
        assert_eq!(stdout(&output).lines().count(), names.len());
    }
}
