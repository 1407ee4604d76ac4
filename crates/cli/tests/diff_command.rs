//! `ringwarden diff`: what it prints, and the status that scripts see.

mod newest;

use newest::of_the_newest;
use ringwarden::uapi::KernelModel;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Files in a folder of their own, which goes with it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("writable");
        path
    }

    fn policy(&self, name: &str, text: &str) {
        self.file(name, format!("version = 1\n{text}"));
    }

    /// `ringwarden diff`, in the folder.
    fn diff(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden"));
        command.arg("diff").args(arguments).env("NO_COLOR", "1").current_dir(self.0.path());
        command.output().expect("the binary starts")
    }

    fn json(&self, arguments: &[&str], status: i32) -> Value {
        let output = self.diff(&[arguments, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

#[track_caller]
fn assert_output(output: &Output, status: i32, stdout: &str) {
    let stdout = stdout.replace("NEWEST", KernelModel::default().facts().name);
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{output:?}");
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[track_caller]
fn assert_unusable(output: &Output, reason: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr.contains(reason), "{stderr}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

const OLD: &str = "default = \"deny\"\n[ops]\n\"@timeouts\" = \"allow\"\n\
                   connect = \"addr in 10.0.0.0/8 && port in {443, 8000..=8099}\"\n\
                   socket = \"family == AF_INET\"\nopenat2 = \"flags & O_CREAT == 0\"\n";

#[test]
fn a_changed_policy_is_told_in_its_own_words() {
    let folder = Folder::new();
    folder.policy("old.toml", OLD);
    folder.policy(
        "new.toml",
        "default = \"deny\"\n[ops]\n\"@timeouts\" = \"deny\"\n\
         connect = \"addr in {10.0.0.0/8, fd00::/8} && port == 443\"\n\
         socket = \"family in {AF_INET, AF_INET6}\"\nopenat2 = \"flags & O_CREAT == 0 && mode == 0\"\n",
    );
    let expected = "\
timeout, timeout_remove, async_cancel, link_timeout: NEW tightens
  now refused  timeout
    old: allowed by @timeouts = allow at old.toml:4
    new: refused by @timeouts = deny at new.toml:4
connect: NEW does neither: it refuses some more and allows some more
  now refused  connect family=AF_INET port=8000 addr=10.0.0.0
    old: allowed by connect = addr in 10.0.0.0/8 && port in {443, 8000..=8099} at old.toml:5
    new: refused by connect = addr in {10.0.0.0/8, fd00::/8} && port == 443 at new.toml:5
  now allowed  connect family=AF_INET6 port=443 addr=fd00::
    old: refused by connect = addr in 10.0.0.0/8 && port in {443, 8000..=8099} at old.toml:5
    new: allowed by connect = addr in {10.0.0.0/8, fd00::/8} && port == 443 at new.toml:5
openat2: NEW tightens
  now refused  openat2 flags=O_RDONLY mode=0o1
    old: allowed by openat2 = flags & O_CREAT == 0 at old.toml:7
    new: refused by openat2 = flags & O_CREAT == 0 && mode == 0 at new.toml:7
socket: NEW loosens
  now allowed  socket family=AF_INET6 protocol=IPPROTO_IP
    old: refused by socket = family == AF_INET at old.toml:6
    new: allowed by socket = family in {AF_INET, AF_INET6} at new.toml:6
new.toml tightens 5 operations, loosens 1, neither 1; 58 equal, kernel NEWEST
";
    assert_output(&folder.diff(&["old.toml", "new.toml"]), 1, expected);
}

#[test]
fn the_same_written_differently_is_equal() {
    let folder = Folder::new();
    folder.policy("old.toml", OLD);
    folder.policy(
        "new.toml",
        "default = \"deny\"\n[ops]\ntimeout = \"allow\"\ntimeout_remove = \"allow\"\nlink_timeout = \"allow\"\n\
         async_cancel = \"allow\"\nread = \"deny\"\nsocket = \"!(family != AF_INET)\"\n\
         connect = \"family == AF_INET && (port == 443 || port >= 8000 && port < 8100) \
         && addr in {10.0.0.0/9, 10.128.0.0/9}\"\nopenat2 = \"!(flags & O_CREAT)\"\n",
    );
    let expected = "equal: old.toml and new.toml allow the same, kernel NEWEST\n";
    assert_output(&folder.diff(&["old.toml", "new.toml"]), 0, expected);
    let report = folder.json(&["old.toml", "new.toml"], 0);
    assert_eq!(report["summary"]["equal"], 65);
    assert_eq!(report["newer"], serde_json::json!({ "old": "deny", "new": "deny" }));
}

#[test]
fn layers_are_compared_as_one() {
    let folder = Folder::new();
    folder.policy("a.toml", "default = \"allow\"\n[ops]\nsocket = \"family == AF_INET\"\n");
    folder.policy("b.toml", "default = \"allow\"\n[ops]\nsocket = \"type == SOCK_STREAM\"\n");
    folder.policy(
        "both.toml",
        "default = \"allow\"\n[ops]\nsocket = \"family == AF_INET && type == SOCK_STREAM\"\n",
    );
    assert_eq!(folder.diff(&["a.toml,b.toml", "both.toml"]).status.code(), Some(0));
    let report = folder.json(&["a.toml", "a.toml,b.toml"], 1);
    let socket =
        report["operations"].as_array().expect("a list").iter().find(|one| one["operation"] == "socket");
    let example = &socket.expect("it is there")["tightened"];
    assert_eq!(example["fields"], serde_json::json!(["family=AF_INET", "protocol=IPPROTO_IP"]));
    assert_eq!(example["exact"], true);
    assert_eq!(example["context"].as_array().map(Vec::len), Some(10));
    assert_eq!(example["new"][0]["at"], "b.toml:4");
    assert_eq!(example["old"][0]["at"], "a.toml:4");
}

/// No filter can be written for them, so that they are compared apart.
#[test]
fn operations_of_later_kernels_count() {
    let folder = Folder::new();
    let all: String = (0..65)
        .map(|number| ringwarden::uapi::Opcode(number).to_string())
        .map(|name| format!("{name} = \"allow\"\n"))
        .collect();
    folder.policy("closed.toml", &format!("default = \"deny\"\n[ops]\n{all}"));
    folder.policy("open.toml", "default = \"allow\"\n");
    let expected = "operations of later kernels: OLD says deny, NEW says allow\n\
                    open.toml tightens 0 operations, loosens 0, neither 0; 65 equal, kernel NEWEST\n";
    assert_output(&folder.diff(&["closed.toml", "open.toml"]), 1, expected);
    // They are no part of the question here.
    assert_eq!(folder.diff(&["closed.toml", "open.toml", "--op", "read"]).status.code(), Some(0));
}

/// Rings and register calls are no requests, and yet policies that differ in them are not equal.
#[test]
fn rules_about_calls_count() {
    let folder = Folder::new();
    let old = "[setup]\nmax_entries = 64\ndeny_flags = [\"SQPOLL\"]\n[register]\ndefault = \"allow\"\n";
    folder.policy("old.toml", &format!("default = \"allow\"\n{old}"));
    for (tables, setup, register, said) in [
        (old, "equal", "equal", ""),
        (
            "[setup]\nmax_entries = 8\ndeny_flags = [\"SQPOLL\"]\n",
            "tightens",
            "equal",
            "[setup]: NEW tightens\n  now refused  rings of more than 8 entries\n",
        ),
        (
            "[setup]\nmax_entries = 128\ndeny_flags = [\"IOPOLL\"]\n[register]\ndefault = \"deny\"\n",
            "neither",
            "tightens",
            "[setup]: NEW does neither: it refuses some more and allows some more\n  now refused  rings with IOPOLL\n  \
             now allowed  rings with SQPOLL, rings of more than 64 entries\n[register]: NEW tightens\n",
        ),
        (
            "[setup]\nmax_entries = 64\ndeny_flags = [\"SQPOLL\"]\n[register]\ndefault = \"allow\"\ndeny = [\"probe\"]\n",
            "equal",
            "tightens",
            "[register]: NEW tightens\n  now refused  probe\n",
        ),
    ] {
        folder.policy("new.toml", &format!("default = \"allow\"\n{tables}"));
        let report = folder.json(&["old.toml", "new.toml"], i32::from(!said.is_empty()));
        assert_eq!(report["calls"]["setup"]["relation"], setup, "{report}");
        assert_eq!(report["calls"]["register"]["relation"], register, "{report}");
        let output = folder.diff(&["old.toml", "new.toml"]);
        assert_eq!(output.status.code(), Some(i32::from(!said.is_empty())), "{output:?}");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains(said), "{printed}");
    }
}

const NUMBERS: &str = "{ 0x20, 0, 0, 0x00000010 },\n{ 0x15, 0, 1, 0x00000002 },\n{ 0x06, 0, 0, 0x00000001 },\n\
                       { 0x06, 0, 0, 0x00000000 },\n";

#[test]
fn filters_are_compared_as_they_come() {
    let folder = Folder::new();
    folder.file("old.c", NUMBERS);
    folder.file("same.asm", "ld [16]\nsub #2\njeq #0, y\nret #0\ny: ret #9\n");
    folder.file("new.asm", "ld [16]\njeq #10, n\nret #1\nn: ret #0\n");
    folder.policy(
        "socket.toml",
        "default = \"deny\"\n[ops]\nsocket = \"family == AF_INET\"\nread = \"allow\"\n",
    );
    let equal = |old: &str, new: &str| {
        let expected = format!("equal: {old} and {new} allow the same, kernel NEWEST\n");
        assert_output(&folder.diff(&["--op", "socket", old, new]), 0, &expected);
    };
    equal("old.c", "same.asm");
    equal("same.asm", "socket.toml");
    let raw: Vec<u8> = [(0x20u16, 0, 0, 16u32), (0x15, 0, 1, 2), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]
        .into_iter()
        .flat_map(|(code, jt, jf, k)| [&code.to_ne_bytes()[..], &[jt, jf], &k.to_ne_bytes()].concat())
        .collect();
    folder.file("raw", &raw);
    equal("raw", "old.c");
    let expected = "socket: NEW loosens\n  now allowed  socket family=AF_UNSPEC protocol=IPPROTO_IP\n\
                    new.asm tightens 0 operations, loosens 1, neither 0; 0 equal, kernel NEWEST\n";
    assert_output(&folder.diff(&["--op", "socket", "raw", "new.asm"]), 1, expected);
    // Where there is no such payload, there is no such difference.
    let report = folder.json(&["--op", "nop", "raw", "same.asm"], 0);
    assert_eq!(report["operations"].as_array().map(Vec::len), Some(1));
    assert!(report.get("newer").is_none());
}

/// A word that has no name shows as it is.
#[test]
fn what_words_cannot_say_is_shown_raw() {
    let folder = Folder::new();
    // O_PATH | O_LARGEFILE: the second has no name here.
    folder.file("old.asm", "ld [16]\njeq #0x208000, y\nret #0\ny: ret #1\n");
    folder.file("new.asm", "ret #0\n");
    let expected = "openat2: NEW tightens\n  now refused  openat2 flags=O_RDONLY|O_PATH\n    \
                    context  0x0 0x0 0x18001c 0x0 0x208000 0x0 0x0 0x0 0x0 0x0\n\
                    new.asm tightens 1 operation, loosens 0, neither 0; 0 equal, kernel NEWEST\n";
    assert_output(&folder.diff(&["--op", "openat2", "old.asm", "new.asm"]), 1, expected);
}

#[test]
fn what_is_too_much_to_compute_is_not_called_equal() {
    let folder = Folder::new();
    // Quotients of quotients: more than fits in any memory.
    let program = format!("ld [24]\ntax\nld [16]\n{}ret a\n", "div x\nadd x\n".repeat(200));
    folder.file("old.asm", program);
    folder.file("new.asm", "ret #1\n");
    let expected = "socket: unknown: too much to compute\n\
                    new.asm tightens 0 operations, loosens 0, neither 0, unknown 1; 0 equal, kernel NEWEST\n";
    assert_output(&folder.diff(&["--op", "socket", "old.asm", "new.asm"]), 1, expected);
}

#[test]
fn the_kernel_decides_what_there_is_to_see() {
    let folder = Folder::new();
    folder.policy("old.toml", "default = \"deny\"\n[ops]\nsocket = \"family == AF_INET\"\n");
    folder.policy("new.toml", "default = \"deny\"\n[ops]\nsocket = \"protocol == 6\"\n");
    let report = folder.json(&["old.toml", "new.toml", "--kernel", "7.0"], 1);
    assert_eq!((&report["kernel"], &report["summary"]["neither"]), (&"7.0".into(), &1.into()));
    folder.policy("connect.toml", "default = \"deny\"\n[ops]\nconnect = \"port == 443\"\n");
    assert_unusable(&folder.diff(&["old.toml", "connect.toml", "--kernel", "7.0"]), "P301");
}

#[test]
fn bad_files_are_no_answer() {
    let folder = Folder::new();
    folder.policy("good.toml", OLD);
    folder.policy("bad.toml", "default = \"maybe\"\n[ops]\nsocket = \"family =\"\n");
    folder.file("good.asm", "ret #1\n");
    folder.file("bad.asm", "ret #1\nfrobnicate\n");
    folder.file("odd", [6, 0, 0, 0, 1]);
    folder.file("refused.asm", "ld [40]\nret a\n");
    assert_unusable(&folder.diff(&["good.toml", "missing.toml"]), "missing.toml");
    assert_unusable(&folder.diff(&["bad.toml", "good.toml"]), "P006");
    assert_unusable(&folder.diff(&["good.toml", "good.toml,bad.toml"]), "P101");
    assert_unusable(&folder.diff(&["good.asm", "good.asm"]), "--op");
    assert_unusable(&folder.diff(&["--op", "nop", "bad.asm", "good.asm"]), "line 2");
    assert_unusable(&folder.diff(&["--op", "nop", "good.asm", "odd"]), "5 bytes");
    assert_unusable(&folder.diff(&["--op", "nop", "good.asm", "refused.asm"]), "no word at byte 0x28");
    // Both are told of.
    let output = folder.diff(&["missing.toml", "bad.toml"]);
    assert_unusable(&output, "missing.toml");
    assert_unusable(&output, "P006");
}

/// `docs/diff.md` says what is so.
#[test]
fn the_example_in_the_documentation_is_true() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/diff.md");
    let document = fs::read_to_string(path).expect("docs/diff.md is there");
    let block = |info: &str| {
        let (_, rest) = document.split_once(&format!("```{info}\n")).unwrap_or_else(|| panic!("no {info}"));
        rest.split_once("```").expect("it ends").0
    };
    let folder = Folder::new();
    folder.file("old.toml", block("toml old.toml"));
    folder.file("new.toml", block("toml new.toml"));
    let (command, expected) = block("console").split_once('\n').expect("a command and its output");
    let arguments: Vec<_> =
        command.strip_prefix("$ ringwarden diff ").expect("the command").split(' ').collect();
    assert_output(&folder.diff(&arguments), 1, &of_the_newest(expected));
}

#[test]
fn policies_that_have_no_request_in_common_are_apart() {
    let folder = Folder::new();
    folder.policy(
        "front.toml",
        "default = \"deny\"\n[ops]\naccept = \"allow\"\nconnect = \"addr in 10.0.0.0/8\"\n",
    );
    folder.policy("back.toml", "default = \"deny\"\n[ops]\nconnect = \"addr in {10.0.0.0/7, fd00::/8}\"\n");
    folder.policy("not-ten.toml", "default = \"allow\"\n[ops]\nconnect = \"!(addr in 10.0.0.0/8)\"\n");
    folder.policy("open.toml", "default = \"allow\"\n");
    let expected = "\
connect: both allow some
  both allow  connect family=AF_INET addr=10.0.0.0
    old: allowed by connect = addr in 10.0.0.0/8 at front.toml:5
    new: allowed by connect = addr in {10.0.0.0/7, fd00::/8} at back.toml:4
not apart: front.toml and back.toml meet in 1 operation, kernel NEWEST
";
    assert_output(&folder.diff(&["--apart", "front.toml", "back.toml"]), 1, expected);
    let expected =
        "apart: there is no request that both front.toml and back.toml,not-ten.toml allow, kernel NEWEST\n";
    assert_output(&folder.diff(&["--apart", "front.toml", "back.toml,not-ten.toml"]), 0, expected);
    let report = folder.json(&["--apart", "front.toml", "open.toml"], 1);
    let operations = report["operations"].as_array().expect("a list").iter();
    let operations: Vec<_> = operations.map(|one| one["operation"].as_str().expect("a name")).collect();
    assert_eq!((operations, &report["newer"]), (vec!["accept", "connect"], &Value::Bool(false)));
    assert_eq!(folder.json(&["--apart", "not-ten.toml", "open.toml"], 1)["newer"], true);
    assert_eq!(folder.json(&["--apart", "--op", "nop", "front.toml", "open.toml"], 0)["apart"], true);
}
