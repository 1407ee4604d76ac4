//! The commands that read policies and run nothing: what they print, and the status that scripts see.

use ringwarden::uapi::KernelModel;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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
    let folders = [folder.clone(), folder.join("presets")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("the folder is there"));
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
        let (name, newest) = (file.name(), KernelModel::default());
        assert_eq!(
            stdout(&output),
            format!(
                "FAIL  no reading: read\n      expected deny at {name}:5, but allow: read = allow at {name}:4\n\
                 ok    write deny at {name}:2\n1 passed, 1 failed, kernel {newest}\n"
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

    const HALF_TESTED: &str = r#"version = 1
default = "deny"

[ops]
connect = "addr in 10.0.0.0/8 && port == 443"

[[test]]
op     = "connect"
with   = { addr = "10.1.2.3", port = 443 }
expect = "allow"
"#;

    const CALLS: &str = r#"version = 1
default = "deny"

[setup]
deny_flags  = ["SQPOLL", "CQSIZE"]
max_entries = 64

[register]
default = "deny"
allow   = ["@buffers", "probe"]

[[test]]
op     = "nop"
expect = "deny"

[[test]]
name   = "small"
setup  = { entries = 64 }
expect = "allow"

[[test]]
setup  = { entries = 64, flags = ["SQPOLL"] }
expect = "allow"

[[test]]
register = "@queries"
expect   = "allow"
"#;

    #[test]
    fn rings_and_register_calls_are_tested_too() {
        let file = File::new(CALLS);
        let output = ringwarden(&["test", "--coverage", file.name()]);
        assert_eq!(status(&output), 1);
        let expected = format!(
            "ok    nop deny at {0}:2\n\
             ok    small: setup entries=64 allow\n\
             FAIL  setup entries=64 flags=SQPOLL\n      \
             expected allow at {0}:21, but deny: setup.deny_flags = [SQPOLL, CQSIZE] at {0}:5\n\
             ok    register probe allow at {0}:10\n\
             FAIL  register query\n      expected allow at {0}:25, but deny: register.default = deny at {0}:9\n\
             open  {0}:5 setup.deny_flags: flags & CQSIZE holds\n      \
             such as setup entries=1 cq_entries=1: deny\n\
             open  {0}:6 setup.max_entries: entries <= 64 does not hold\n      such as setup entries=128: deny\n\
             open  {0}:10 register.allow: @buffers\n      such as register buffers: allow\n\
             {0}: tests decide 7 of 10 branches, 70 %\n3 passed, 2 failed, kernel {1}\n",
            file.name(),
            KernelModel::default()
        );
        assert_eq!(stdout(&output), expected);
    }

    #[test]
    fn what_no_test_decides_is_named_with_a_request_that_would() {
        let file = File::new(HALF_TESTED);
        let output = ringwarden(&["test", "--coverage", file.name()]);
        assert_eq!(status(&output), 0);
        let expected = format!(
            "ok    connect addr=10.1.2.3 port=443 family=AF_INET allow at {0}:5\n\
             open  {0}:2 default\n      such as nop: deny\n\
             open  {0}:5 connect: addr in 10.0.0.0/8 does not hold\n      \
             such as connect family=AF_INET port=443: deny\n\
             open  {0}:5 connect: port == 443 does not hold\n      \
             such as connect family=AF_INET addr=10.0.0.0: deny\n\
             {0}: tests decide 2 of 5 branches, 40 %\n1 passed, 0 failed, kernel {1}\n",
            file.name(),
            KernelModel::default()
        );
        assert_eq!(stdout(&output), expected);
        let json = ringwarden(&["test", "--coverage", "--format", "json", file.name()]);
        let report: Value = serde_json::from_str(stdout(&json)).expect("JSON");
        let coverage = &report["coverage"][0];
        assert_eq!((&coverage["decided"], &coverage["branches"]), (&2.into(), &5.into()));
        assert_eq!(coverage["undecided"][2]["part"], "port == 443");
        assert_eq!(coverage["undecided"][2]["holds"], false);
    }

    #[test]
    fn so_much_may_be_asked_for() {
        let (half, none) = (File::new(HALF_TESTED), File::new("version = 1\ndefault = \"deny\"\n"));
        for (arguments, expected) in [
            (&["--min", "40", half.name()][..], 0),
            (&["--min", "41", half.name()], 1),
            (&["--min", "40", half.name(), none.name()], 1),
            (&["--require-tests", half.name()], 0),
            (&["--require-tests", half.name(), none.name()], 1),
            (&["--min", "101", half.name()], 2),
        ] {
            assert_eq!(status(&ringwarden(&[&["test"], arguments].concat())), expected, "{arguments:?}");
        }
    }

    #[test]
    fn what_is_generated_decides_all_that_was_left() {
        let calls = CALLS.split("[[test]]").next().expect("tables");
        for text in [HALF_TESTED, calls, include_str!("../../../policies/private-services.toml")] {
            let generated = ringwarden(&["test", "--generate", File::new(text).name()]);
            assert_eq!(status(&generated), 0);
            let whole = File::new(&format!("{}\n{}", text.trim_end(), stdout(&generated)));
            let output = ringwarden(&["test", "--min", "100", whole.name()]);
            assert_eq!(status(&output), 0, "{output:?}");
            let laid_out = ringwarden(&["fmt", "--check", whole.name()]);
            assert_eq!(status(&laid_out), 0, "{laid_out:?}");
        }
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

        for missing in ["nothing.toml", "@container"] {
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
        assert_eq!(stdout(&output).lines().filter(|line| line.starts_with("ok")).count(), names.len());
    }
}

mod compile {
    use super::*;
    use ringwarden::cbpf::{Insn, asm};
    use ringwarden::policy::{CompiledFilter, Policy, compile};
    use ringwarden::uapi::OPCODES;
    use std::io::Write;
    use std::process::Stdio;

    const POLICY: &str = "version = 1\ndefault = \"deny\"\n[ops]\nread = \"allow\"\n\
        socket = '''family == AF_INET\n  && type == SOCK_STREAM'''\nopenat2 = \"flags == O_WRONLY\"\n";

    fn policy() -> File {
        File::new(POLICY)
    }

    fn filters(file: &File) -> Vec<CompiledFilter> {
        let text = fs::read_to_string(&file.path).expect("readable");
        let policy = Policy::parse(&text, file.name()).unwrap_or_else(|errors| panic!("{errors}"));
        compile(&[policy], KernelModel::V7_3).expect("it compiles").filters
    }

    fn with_input(arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
        child.wait_with_output().expect("it ends")
    }

    #[test]
    fn every_form_holds_the_same_programs() {
        let file = policy();
        let expected = filters(&file);
        assert_eq!(expected.len(), 3);

        let output = ringwarden(&["compile", file.name()]);
        assert_eq!(status(&output), 0, "{output:?}");
        // A program follows each empty line.
        let programs =
            stdout(&output).split("\n\n").skip(1).map(|text| asm::assemble(text).expect("assembly"));
        assert_eq!(
            programs.collect::<Vec<_>>(),
            expected.iter().map(|f| f.insns.clone()).collect::<Vec<_>>()
        );
        assert!(
            stdout(&output).contains("; socket = family == AF_INET && type == SOCK_STREAM\n"),
            "{output:?}"
        );

        let report = json(&ringwarden(&["compile", file.name(), "--format", "json"]));
        for (filter, expected) in report["filters"].as_array().expect("a list").iter().zip(&expected) {
            assert_eq!(filter["opcode"], expected.opcode.0);
            assert_eq!(filter["pdu_size"], expected.pdu_size);
            let flags: Vec<_> =
                filter["flags"].as_array().expect("a list").iter().map(|f| f.as_str()).collect();
            assert_eq!(flags.contains(&Some("DENY_REST")), expected.deny_rest);
            assert_eq!(flags.contains(&Some("SZ_STRICT")), expected.strict_size);
            let insns: Vec<(u16, u8, u8, u32)> =
                serde_json::from_value(filter["insns"].clone()).expect("numbers");
            let insns: Vec<_> = insns.into_iter().map(|(code, jt, jf, k)| Insn { code, jt, jf, k }).collect();
            assert_eq!(insns, expected.insns);
        }

        for filter in &expected {
            let op = filter.opcode.to_string();
            let raw = ringwarden(&["compile", file.name(), "--op", &op, "--format", "raw"]);
            let bytes: Vec<u8> = filter.insns.iter().flat_map(|insn| insn.to_ne_bytes()).collect();
            assert_eq!(raw.stdout, bytes);
            let listing = with_input(&["disasm", "-"], &raw.stdout);
            assert_eq!(status(&listing), 0, "{listing:?}");
            assert_eq!(asm::assemble(stdout(&listing)).expect("assembly"), filter.insns);
        }
    }

    /// The C source compiles, and its arrays are the bytes of the programs.
    #[test]
    fn c_is_c() {
        let file = policy();
        let (source, object) = (file.path.with_extension("c"), file.path.with_extension("o"));
        let path = source.to_str().expect("UTF-8");
        let output = ringwarden(&["compile", file.name(), "--format", "c", "-o", path]);
        assert_eq!((status(&output), stdout(&output)), (0, ""));
        let mut cc = Command::new("cc");
        cc.args(["-Werror", "-Wall", "-Wno-unused", "-c"]).arg(&source).arg("-o").arg(&object);
        // What nothing uses is left out otherwise.
        cc.args(["-O0", "-fkeep-static-consts"]);
        let built = cc.output().expect("there is a C compiler, which Rust needs to link");
        assert!(built.status.success(), "{built:?}");
        let object = fs::read(object).expect("readable");
        for filter in filters(&file) {
            let bytes: Vec<u8> = filter.insns.iter().flat_map(|insn| insn.to_ne_bytes()).collect();
            assert!(object.windows(bytes.len()).any(|window| window == bytes), "{}", filter.opcode);
        }
    }

    #[test]
    fn what_cannot_be_written_is_unusable() {
        let file = policy();
        for (arguments, reason) in [
            (&["compile", file.name(), "--format", "raw"][..], "there are 3 filters"),
            (&["compile", file.name(), "--op", "write", "--format", "raw"], "there is no filter"),
            (&["compile", file.name(), "-o", "/nonexistent/file"], "cannot write"),
            (&["compile", "/nonexistent/policy.toml"], "cannot read"),
            (&["disasm", "/nonexistent/file"], "cannot read"),
        ] {
            let output = ringwarden(arguments);
            assert_eq!(status(&output), 2, "{output:?}");
            assert!(stderr(&output).contains(reason), "{output:?}");
        }
        let output = ringwarden(&["compile", File::new("version = 1\n").name()]);
        assert_eq!((status(&output), stderr(&output).contains("error[P006]")), (2, true), "{output:?}");
    }

    #[test]
    fn programs_from_elsewhere_are_judged() {
        for (input, expected, text) in [
            (&b"{ 0x20, 0, 0, 0x10 },\n{ 0x16, 0, 0, 0 },\n"[..], 0, "ld [16]"),
            (b"ld [16]\nret #1\n", 0, "ret #1"),
            // Half-words are not for filters of io_uring.
            (b"ldh [16]\nret #1\n", 1, "ldh [16]"),
            (b"ld [40]\nret #1\n", 1, "ld [40]"),
            (b"mov r0, 1\n", 2, ""),
            (b"\0\0\0", 2, ""),
        ] {
            let output = with_input(&["disasm", "-"], input);
            assert_eq!(status(&output), expected, "{output:?}");
            assert!(stdout(&output).contains(text), "{output:?}");
            assert_eq!(stderr(&output).is_empty(), expected == 0, "{output:?}");
        }
    }

    #[test]
    fn every_operation_is_listed() {
        let report = json(&ringwarden(&["ops", "--format", "json"]));
        let groups = report["groups"].as_array().expect("groups");
        let listed = groups.iter().flat_map(|group| group["operations"].as_array().expect("operations"));
        let mut names: Vec<_> = listed.map(|operation| operation["name"].as_str().expect("a name")).collect();
        let mut expected: Vec<_> = OPCODES.iter().map(|info| info.name).collect();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
        let output = ringwarden(&["ops"]);
        let socket = stdout(&output).lines().find(|line| line.trim_start().starts_with("socket "));
        assert!(
            socket.is_some_and(|line| line.ends_with("family, type, type_flags, protocol")),
            "{socket:?}"
        );
    }
}

#[test]
fn operations_and_groups_are_described_by_name() {
    let output = ringwarden(&["ops", "connect", "nop"]);
    let text = stdout(&output);
    assert!(text.starts_with("nop  opcode 0, since Linux 5.1, in @nop\n"), "{text}");
    assert!(
        text.contains("\nconnect  opcode 16, since Linux 5.5, in @sockets\n  in place of connect\n"),
        "{text}"
    );
    assert!(
        text.contains("\n  addr            128 bits  kernel 7.2 ") && !text.contains("socket "),
        "{text}"
    );
    let output = ringwarden(&["ops", "uring_cmd"]);
    assert!(stdout(&output).contains("\n  cmd_op           32 bits  split lane "), "{output:?}");
    let report = json(&ringwarden(&["ops", "poll_add", "--format", "json"]));
    let fields = report["groups"][0]["operations"][0]["fields"].as_array().expect("fields");
    for field in fields {
        let is_guards_own = !["user_data", "sqe_flags"].contains(&field["name"].as_str().expect("a name"));
        assert_eq!(field.get("since").is_none(), is_guards_own, "{field}");
        assert_eq!(field.get("lane").is_some_and(|lane| lane == "split"), is_guards_own, "{field}");
    }
    assert!(fields.iter().any(|field| field["name"] == "events"), "{fields:?}");
    let report = json(&ringwarden(&["ops", "@timeouts", "--format", "json"]));
    let [group] = &report["groups"].as_array().expect("groups")[..] else { panic!("{report:#}") };
    assert_eq!(group["name"], "@timeouts");
    for (name, message) in [
        ("conect", "did you mean `connect`?"),
        ("@conect", "there is no group `@conect`; the groups are @nop, "),
    ] {
        let output = ringwarden(&["ops", name]);
        assert_eq!((status(&output), stdout(&output)), (2, ""));
        assert!(stderr(&output).contains(message), "{output:?}");
    }
}

#[test]
fn colours_are_where_they_are_wanted() {
    let escapes = |text: &str| text.contains('\u{1b}');
    for (when, expected) in [("auto", false), ("always", true), ("never", false)] {
        assert_eq!(escapes(stdout(&ringwarden(&["--color", when, "ops", "nop"]))), expected, "{when}");
        assert_eq!(
            escapes(stderr(&ringwarden(&["check", "missing.toml", "--color", when]))),
            expected,
            "{when}"
        );
    }
}

mod explain {
    use super::*;

    const POLICY: &str = "version = 1\ndefault = \"deny\"\n[all]\nrequire = \"sqe_flags == 0\"\n[ops]\n\
        connect = \"family == AF_INET && port == 443\"\nread = \"allow\"\n";

    #[test]
    fn the_rule_that_decides_is_named() {
        let file = File::new(POLICY);
        for (question, expected, rule) in [
            (&["connect", "addr=10.1.2.3", "port=443"][..], 0, "connect = family == AF_INET && port == 443"),
            (&["connect", "addr=10.1.2.3", "port=0x1ba"], 1, "connect = family == AF_INET && port == 443"),
            (
                &["connect", "family=AF_INET", "port=443", "sqe_flags=IOSQE_IO_LINK"],
                1,
                "require = sqe_flags == 0",
            ),
            (&["read"], 0, "read = allow"),
            (&["write"], 1, "default = deny"),
        ] {
            let output = ringwarden(&[&["explain", file.name()], question].concat());
            assert_eq!(status(&output), expected, "{output:?}");
            let text = stdout(&output);
            assert!(text.starts_with(if expected == 0 { "allowed" } else { "refused" }), "{text}");
            assert!(text.contains(&format!("\nby {rule}\nat {}:", file.name())), "{text}");
        }
    }

    #[test]
    fn what_filters_see_is_shown() {
        let file = File::new("version = 1\ndefault = \"deny\"\n[ops]\nopenat = \"mode == 0\"\n");
        let output = ringwarden(&["explain", file.name(), "openat", "flags=O_WRONLY|O_TRUNC", "mode=0o644"]);
        let text = stdout(&output);
        // Nothing is created, so the kernel drops the mode; cutting a file is work for a thread.
        for line in ["sqe_flags  IOSQE_ASYNC", "flags      O_WRONLY|O_TRUNC", "mode       0o0", "ret #1"] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert_eq!(status(&output), 0);
    }

    #[test]
    fn the_program_is_stepped_through() {
        let file =
            File::new("version = 1\ndefault = \"deny\"\n[ops]\nsocket = \"family in {AF_UNIX, AF_INET6}\"\n");
        let site = File::new("version = 1\ndefault = \"allow\"\n[ops]\nsocket = \"type == SOCK_DGRAM\"\n");
        let question =
            ["explain", file.name(), "-p", site.name(), "socket", "family=AF_INET6", "type=SOCK_STREAM"];
        let output = ringwarden(&question);
        assert_eq!(status(&output), 1, "{output:?}");
        let text = stdout(&output);
        assert!(
            text.contains(&format!("by socket = type == SOCK_DGRAM\nat {}:4, layer 1\n", site.name())),
            "{text}"
        );
        let programs: Vec<_> = text.split("\nThe program").skip(1).collect();
        let [newest, oldest] = programs[..] else { panic!("{text}") };
        let steps = |program: &str| program.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            steps(newest),
            [
                "     0  ld [20]                    A = 0x1  type, type_flags",
                "     1  and #15                    A = 0x1",
                "     2  jeq #2, L3, L4             goes to 4",
                "     4  ret #0                     refuses",
                "  4 of 5 instructions",
            ],
            "{text}"
        );
        assert!(oldest.contains(" of layer 0") && oldest.contains("allows"), "{text}");
    }

    #[test]
    fn scripts_are_told_the_same() {
        let file = File::new(POLICY);
        let output =
            ringwarden(&["explain", file.name(), "connect", "addr=10.1.2.3", "port=22", "--format", "json"]);
        assert_eq!(status(&output), 1, "{output:?}");
        let report = json(&output);
        assert_eq!(
            (&report["allowed"], &report["kernel"]),
            (&false.into(), &KernelModel::default().facts().name.into())
        );
        let at = format!("{}:6", file.name());
        let rule =
            serde_json::json!({"layer": 0, "rule": "connect = family == AF_INET && port == 443", "at": at});
        assert_eq!(report["rules"], serde_json::json!([rule]));
        let seen = report["seen"].as_array().expect("fields");
        assert!(seen.contains(&serde_json::json!({"field": "port", "value": "22"})), "{report:#}");
        let steps = report["programs"][0]["steps"].as_array().expect("steps");
        let loads = steps.iter().filter(|step| step["a"]["fields"] == serde_json::json!(["port"])).count();
        assert_eq!((loads, &steps[steps.len() - 1]["allows"]), (1, &false.into()), "{report:#}");
        let output = ringwarden(&["explain", file.name(), "connect", "addr=10.1.2.3", "port=22"]);
        let text = stdout(&output);
        let shown = text.lines().filter(|line| line.contains("goes to") || line.contains("A = ")).count();
        assert_eq!(shown + 1, steps.len(), "{text}");
    }

    #[test]
    fn calls_are_explained_by_their_tables() {
        let file = File::new(
            "version = 1\ndefault = \"deny\"\n[setup]\ndeny_flags = [\"SQPOLL\"]\nmax_entries = 64\n\
             [register]\ndefault = \"deny\"\nallow = [\"@buffers\"]\n",
        );
        let open = File::new("version = 1\ndefault = \"allow\"\n");
        let (denied, allowed) = ("setup.deny_flags = [SQPOLL]", "register.allow = @buffers");
        for (question, expected, rule) in [
            (&["setup", "entries=64"][..], 0, None),
            (&["setup", "entries=64", "flags=SQPOLL|SQ_AFF"], 1, Some((denied, 4))),
            (&["setup", "entries=128"], 1, Some(("setup.max_entries = 64", 5))),
            (&["setup", "entries=32", "cq_entries=256"], 1, Some(("setup.max_entries = 64", 5))),
            (&["register", "buffers"], 0, Some((allowed, 8))),
            (&["register", "probe"], 1, Some(("register.default = deny", 7))),
            (&["register", "99"], 1, Some(("register.default = deny", 7))),
        ] {
            // The layer in front says nothing of calls.
            let output = ringwarden(&[&["explain", open.name(), "-p", file.name()], question].concat());
            assert_eq!(status(&output), expected, "{output:?}");
            let rules: Vec<_> = rule
                .iter()
                .map(|(rule, line)| {
                    serde_json::json!({"layer": 1, "rule": rule, "at": format!("{}:{line}", file.name())})
                })
                .collect();
            let text = stdout(&output);
            assert_eq!(text.contains("no rule is against it"), rules.is_empty(), "{text}");
            assert!(rule.is_none_or(|(rule, _)| text.contains(&format!("\nby {rule}\nat "))), "{text}");
            let scripts =
                [&["explain", open.name(), "-p", file.name()], question, &["--format", "json"]].concat();
            let report = json(&ringwarden(&scripts));
            assert_eq!(report["request"], question.join(" "));
            assert_eq!(report["rules"], Value::from(rules), "{report:#}");
        }
    }

    #[test]
    fn questions_that_make_no_sense_are_refused() {
        let file = File::new(POLICY);
        for (question, code) in [
            (&["connect", "prt=443"][..], "P201"),
            (&["connect", "port"], "P104"),
            (&["connect", "family=AF_INET", "port=70000"], "P207"),
            (&["connect", "port=443"], "P009"),
            (&["connect", "family=AF_INET", "port=443", "port=22"], "P009"),
            (&["setup"], "P008"),
            (&["setup", "entries=0"], "P009"),
            (&["setup", "entries=64", "flags=SQPOLLL"], "P011"),
            (&["register"], "P013"),
            (&["register", "@buffers"], "P013"),
        ] {
            let output = ringwarden(&[&["explain", file.name()], question].concat());
            assert_eq!(status(&output), 2, "{output:?}");
            assert!(stderr(&output).contains(&format!("error[{code}]")), "{output:?}");
        }
    }
}

#[test]
fn check_shows_a_policy_as_one_file() {
    let base = File::new(
        "version = 1\ndefault = \"deny\"\n[ops]\n\"@timeouts\" = \"allow\"\n\"@poll\" = \"allow\"\n\
         [register]\ndefault = \"deny\"\nallow = [\"@files\"]\n",
    );
    let top = base.path.with_file_name("top.toml");
    let text = "version = 1\nname = \"top\"\nextends = [\"policy.toml\"]\n[all]\nrequire = \"\"\"!(sqe_flags &\n\
                IOSQE_ASYNC)\"\"\"\n[ops]\npoll_add = \"deny\"\n[setup]\nmax_entries = 64\n\
                [register]\ndeny = [\"files\"]\n";
    fs::write(&top, text).expect("writable");
    let output = ringwarden(&["check", "--show", top.to_str().expect("UTF-8")]);
    assert_eq!(status(&output), 0, "{output:?}");
    let folder = format!("{}/", base.path.parent().expect("a folder").display());
    let listing = stdout(&output).replace(&folder, "");
    let expected = r#"version = 1
name    = "top"
default = "deny"  # policy.toml:2

[all]
require = "!(sqe_flags & IOSQE_ASYNC)"  # top.toml:5

[ops]
"@timeouts" = "allow"  # policy.toml:4
poll_add    = "deny"   # top.toml:8
poll_remove = "allow"  # policy.toml:5, @poll
epoll_ctl   = "allow"  # policy.toml:5, @poll
epoll_wait  = "allow"  # policy.toml:5, @poll

[setup]
max_entries = 64  # top.toml:10

[register]
default = "deny"  # policy.toml:7
allow   = [
  "unregister_files",  # policy.toml:8, @files
  "files_update",      # policy.toml:8, @files
  "files2",            # policy.toml:8, @files
  "files_update2",     # policy.toml:8, @files
  "file_alloc_range",  # policy.toml:8, @files
]
deny    = [
  "files",  # top.toml:12
]
"#;
    assert_eq!(listing, expected);
    let listed = File::new(&listing);
    let again = ringwarden(&["check", "--show", listed.name()]);
    assert_eq!(stdout(&again).lines().count(), expected.lines().count(), "{again:?}");
}

#[test]
fn presets_stand_where_policies_do() {
    let listed = ringwarden(&["presets"]);
    assert_eq!(status(&listed), 0);
    let names: Vec<_> = stdout(&listed).lines().filter_map(|line| line.split(' ').next()).collect();
    let expected = [
        "@container-default",
        "@file-io",
        "@libuv",
        "@mariadb",
        "@net-client",
        "@net-server",
        "@nothing",
        "@postgres",
        "@qemu",
    ];
    assert_eq!(names, expected);
    for name in names {
        let printed = ringwarden(&["presets", name]);
        let file = File::new(stdout(&printed));
        for arguments in [["check", "--deny-warnings", name], ["check", "--deny-warnings", file.name()]] {
            let output = ringwarden(&arguments);
            assert_eq!(status(&output), 0, "{output:?}");
        }
        let [report, human] =
            ["json", "human"].map(|format| ringwarden(&["check", "--format", format, name]));
        let report: serde_json::Value = serde_json::from_str(stdout(&report)).expect("JSON");
        let human = stdout(&human);
        // Conditions are the purpose of one.
        if name == "@net-client" {
            assert_eq!(report["policies"][0]["lane"], "split", "{report}");
            assert_eq!(report["policies"][0]["filters"], "7.2", "{report}");
            assert!(human.contains("split lane before Linux 7.2: whether `connect` is allowed"), "{human}");
        } else {
            assert_eq!(report["policies"][0]["lane"], "restricted", "{report}");
            assert!(human.contains("restricted lane: requests cost nothing"), "{human}");
        }
        for policy in [name, file.name()] {
            let output = ringwarden(&["test", policy]);
            assert_eq!(status(&output), 0, "{output:?}");
        }
        let on_top =
            File::new(&format!("version = 1\nextends = [\"{name}\"]\n[ops]\nnop = \"user_data == 7\"\n"));
        let allowed = ringwarden(&["explain", on_top.name(), "nop", "user_data=7"]);
        assert_eq!(status(&allowed), 0, "{allowed:?}");
    }
    for (arguments, said) in [
        (["presets", "@file-oi"], "there is no such preset"),
        (["check", "@file-oi"], "there is no such preset"),
    ] {
        let output = ringwarden(&arguments);
        assert_eq!(status(&output), 2, "{output:?}");
        assert!(stderr(&output).contains(said), "{output:?}");
    }
    let on_top = File::new("version = 1\nextends = [\"@file-oi\"]\n");
    let output = ringwarden(&["check", on_top.name()]);
    assert_eq!(status(&output), 1, "{output:?}");
    assert!(stderr(&output).contains("did you mean `@file-io`?"), "{output:?}");
}

/// What prints in ways of its own, or by all of them.
const PRINTING: [&[&str]; 6] = [
    &["--help"],
    &["ops"],
    &["schema"],
    &["check", "--format", "json", "@container-default"],
    &["compile", "--format", "raw", "--op", "connect", "@net-client"],
    &["test", "--generate", "@net-client"],
];

fn printing(arguments: &[&str], to: impl Into<Stdio>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden"));
    command.args(arguments).env("NO_COLOR", "1").stdout(to).output().expect("the binary starts")
}

/// As of programs that SIGPIPE ends, which `set -o pipefail` and those who read it know.
#[test]
fn nobody_reads_what_is_printed() {
    for arguments in PRINTING {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = printing(arguments, writer);
        assert_eq!((status(&output), stderr(&output)), (141, ""), "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_told_of() {
    let full = || fs::File::options().write(true).open("/dev/full").expect("a device");
    for arguments in PRINTING {
        let output = printing(arguments, full());
        let error = "error: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!((status(&output), stderr(&output)), (125, error), "{arguments:?}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden"));
    let output = command.args(["check", "not there"]).stderr(full()).output().expect("the binary starts");
    assert_eq!(status(&output), 2);
}
