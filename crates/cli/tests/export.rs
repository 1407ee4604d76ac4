//! `ringwarden export` on the command line: what it writes, that its parts agree, and what it refuses.

use ringwarden::profile::{Action, Profile, Setting};
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const PLAIN: Setting<'_> = Setting { capabilities: &[], kernel: (6, 10) };

/// In the manner of Docker's, with a condition on `clone`.
const PROFILE: &str = r#"{
    "defaultAction": "SCMP_ACT_ERRNO",
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
    "syscalls": [
        {"names": ["read", "seccomp", "prctl", "io_uring_enter"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["kcmp", "ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_PTRACE"]}},
        {"names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_PTRACE"]}},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["io_uring_register"], "action": "SCMP_ACT_KILL"}
    ]
}"#;

const POLICY: &str = "version = 1\ndefault = \"deny\"\n[ops]\n\"@read-write\" = \"allow\"\n\
                      [register]\ndefault = \"deny\"\nallow = [\"probe\", \"enable_rings\", \"files\"]\n";

const CONDITIONAL: &str =
    "version = 1\ndefault = \"deny\"\n[ops]\nread = \"allow\"\nsocket = \"family == AF_UNIX\"\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        ("profile.json", PROFILE),
        ("web.toml", POLICY),
        ("conditional.toml", CONDITIONAL),
        ("a b%.toml", POLICY),
    ];
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("writable");
    }
    folder
}

fn ringwarden(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringwarden"))
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary starts")
}

fn stdout(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

fn exported(folder: &Path, arguments: &[&str]) -> (Profile, String) {
    let output = ringwarden(folder, &[&["export", "seccomp", "--from", "profile.json"], arguments].concat());
    let profile = Profile::read(stdout(&output), None).expect("a profile");
    (profile, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn answer(profile: &Profile, call: &str, arguments: [u64; 6]) -> (Action, u32) {
    profile.decide(call, &arguments, PLAIN).expect("rules that agree")
}

#[test]
fn an_agent_s_profile_names_the_policy_and_holds_its_register_calls() {
    let folder = folder();
    let (profile, told) = exported(folder.path(), &["web.toml"]);
    assert_eq!(told, "");
    assert_eq!(profile.listener_path.as_deref(), Some("/run/ringwarden/agent.sock"));
    assert_eq!(profile.listener_metadata.as_deref(), Some("web"));
    assert_eq!(answer(&profile, "io_uring_setup", [0; 6]), (Action::Notify, 0));
    let register = |op| answer(&profile, "io_uring_register", [3, op, 0, 0, 0, 0]);
    let expected = [
        (0, (Action::Errno, 13)),
        (2, (Action::Allow, 0)),
        (8, (Action::Notify, 0)),
        (12, (Action::Notify, 0)),
    ];
    for (op, expected) in expected {
        assert_eq!(register(op), expected, "{op}");
        assert_eq!(register(op | 1 << 31), expected, "{op}, by index");
        assert_eq!(register(op | 1 << 32), expected, "{op}, and more");
    }
    assert_eq!(register(38), (Action::Errno, 1));
    assert_eq!(answer(&profile, "seccomp", [1, 8, 0, 0, 0, 0]), (Action::Errno, 16));
    assert_eq!(answer(&profile, "seccomp", [1, 1, 0, 0, 0, 0]), (Action::Allow, 0));
    // What else the profile says stays, in its own terms.
    let old = Profile::read(PROFILE, None).expect("a profile");
    assert_eq!(profile.arch_map, old.arch_map);
    assert!(old.syscalls[1..4].iter().all(|rule| profile.syscalls.contains(rule)));

    let options = [
        "--name",
        "other",
        "--socket",
        "/run/a.sock",
        "--wait-killable",
        "--resolved",
        "--cap",
        "CAP_SYS_PTRACE",
    ];
    let (profile, _) = exported(folder.path(), &[&options[..], &["web.toml"]].concat());
    assert_eq!(profile.listener_path.as_deref(), Some("/run/a.sock"));
    assert_eq!(profile.listener_metadata.as_deref(), Some("other"));
    assert_eq!(profile.flags, ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    assert_eq!(profile.architectures.len(), 2);
    assert!(profile.arch_map.is_empty());
    assert!(profile.syscalls.iter().all(|rule| rule.includes.is_empty() && rule.excludes.is_empty()));
    assert_eq!(answer(&profile, "ptrace", [0; 6]), (Action::Allow, 0));
    let (profile, _) = exported(folder.path(), &["@container-default"]);
    assert_eq!(profile.listener_metadata.as_deref(), Some("@container-default"));
    // A fitted profile can be fitted again.
    fs::write(folder.path().join("once.json"), serde_json::to_string(&profile).expect("JSON"))
        .expect("writable");
    let again =
        ringwarden(folder.path(), &["export", "seccomp", "--from", "once.json", "@container-default"]);
    let rules = |profile: &Profile| {
        let mut rules: Vec<_> = profile.syscalls.iter().map(|rule| format!("{rule:?}")).collect();
        rules.sort_unstable();
        rules
    };
    assert_eq!(rules(&Profile::read(stdout(&again), None).expect("a profile")), rules(&profile));
}

#[test]
fn inside_of_a_container_a_lane_gets_the_calls_that_it_needs() {
    let folder = folder();
    let (profile, told) = exported(folder.path(), &["--lane", "restricted", "web.toml"]);
    assert_eq!(told, "");
    for call in [
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "process_vm_readv",
        "pidfd_getfd",
        "seccomp",
    ] {
        assert_eq!(answer(&profile, call, [1, 8, 0, 0, 0, 0]), (Action::Allow, 0), "{call}");
    }
    assert_eq!(answer(&profile, "kcmp", [0; 6]), (Action::Errno, 1));
    // Its conditions stay.
    assert_eq!(answer(&profile, "clone", [0x1000_0000, 0, 0, 0, 0, 0]), (Action::Errno, 1));
    assert_eq!((profile.listener_path, profile.listener_metadata), (None, None));
    if cfg!(target_arch = "x86_64") {
        let (profile, told) = exported(folder.path(), &["--lane", "split", "@net-client"]);
        assert!(told.contains("libseccomp before 2.6 does not know `mseal`"), "{told}");
        for call in ["kcmp", "ptrace", "mseal"] {
            assert_eq!(answer(&profile, call, [0; 6]), (Action::Allow, 0), "{call}");
        }
    }
}

#[test]
fn what_a_lane_cannot_hold_or_a_profile_cannot_say_is_refused() {
    let folder = folder();
    let notifying =
        PROFILE.replace(r#"["read", "#, r#"["mount"], "action": "SCMP_ACT_NOTIFY"}, {"names": ["read", "#);
    fs::write(folder.path().join("notifying.json"), notifying).expect("writable");
    let wrong = PROFILE.replace("MASKED_EQ", "MASKED");
    fs::write(folder.path().join("wrong.json"), wrong).expect("writable");
    for (arguments, status, expected) in [
        (
            &["--from", "profile.json", "conditional.toml"][..],
            1,
            "`socket = family == AF_UNIX` at conditional.toml:5; if no kernel is older than that, say so by `--kernel 7.0`",
        ),
        // Which kernels before 7.2 show no filter.
        (&["--from", "profile.json", "@net-client"], 1, "say so by `--kernel 7.2`"),
        (&["--from", "profile.json", "--lane", "restricted", "conditional.toml"], 1, "at conditional.toml:5"),
        (&["--from", "profile.json", "--kernel", "7.0", "@net-client"], 2, "connect"),
        (
            &["--from", "profile.json", "--kernel", "posted", "web.toml"],
            2,
            "no kernel has the filters of `posted`",
        ),
        (&["--from", "profile.json", "web.toml", "web.toml"], 2, "one policy"),
        (&["--from", "profile.json", "--name", "../web", "web.toml"], 2, "`../web` is no name for the agent"),
        (&["--from", "profile.json", "a b%.toml"], 2, "`a b%` is no name for the agent"),
        (&["--from", "no-such.json", "web.toml"], 2, "cannot read `no-such.json`"),
        (&["--from", "wrong.json", "web.toml"], 2, "wrong.json:10:"),
        (&["--from", "notifying.json", "web.toml"], 2, "another program decide about `mount`"),
        (&["--from", "profile.json", "web.toml", "-o", "none/x.json"], 2, "cannot write none/x.json"),
        (&["--from", "profile.json", "no-such.toml"], 2, "no-such.toml"),
    ] {
        let output = ringwarden(folder.path(), &[&["export", "seccomp"], arguments].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {told}");
        assert!(told.contains(expected) && output.stdout.is_empty(), "{arguments:?}: {told}");
    }
    let newer = ["export", "seccomp", "--from", "profile.json", "--kernel", "7.0", "conditional.toml"];
    assert_eq!(ringwarden(folder.path(), &newer).status.code(), Some(0));
}

/// What the documentation shows is there.
#[test]
fn the_documentation_shows_options_that_there_are() {
    let docs = include_str!("../../../docs/export.md");
    let folder = folder();
    let commands = [
        &["export", "seccomp"][..],
        &["export", "kubernetes"],
        &["export", "systemd"],
        &["export", "oci"],
        &["import", "oci"],
    ];
    let mut help = String::new();
    for command in commands {
        help += stdout(&ringwarden(folder.path(), &[command, &["--help"]].concat()));
    }
    let words = docs.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '-'));
    let options: Vec<_> =
        words.filter(|word| word.starts_with("--") && word.len() > 2 && !word.starts_with("---")).collect();
    assert!(options.len() > 15, "{options:?}");
    for option in options.iter().filter(|option| **option != "--security-opt" && **option != "--now") {
        assert!(help.contains(option), "{option}");
    }
    let shape = docs.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a shape");
    fs::write(folder.path().join("shape.json"), shape).expect("writable");
    let policy = ringwarden(folder.path(), &["import", "oci", "shape.json"]);
    fs::write(folder.path().join("shape.toml"), stdout(&policy)).expect("writable");
    let back = ringwarden(folder.path(), &["export", "oci", "shape.toml"]);
    let [shown, back] = [shape, stdout(&back)].map(|json| serde_json::from_str::<Value>(json).expect("JSON"));
    // But for a flag that none of these operations can have.
    assert_eq!((&shown["ops"], &shown["socketFamilies"]), (&back["ops"], &back["socketFamilies"]));
}

/// The documents of a YAML text; numbers and truth values are left text.
fn documents(text: &str) -> Vec<Value> {
    enum Open {
        Sequence(Vec<Value>),
        Mapping(Map<String, Value>, Option<String>),
    }
    let (mut documents, mut open): (Vec<Value>, Vec<Open>) = (Vec::new(), Vec::new());
    for event in Parser::new_from_str(text) {
        let (event, at) = event.unwrap_or_else(|error| panic!("{error}\n{text}"));
        let value = match event {
            Event::SequenceStart(..) => {
                open.push(Open::Sequence(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Mapping(Map::new(), None));
                continue;
            }
            Event::Scalar(text, style, ..) => match (style, &*text) {
                (ScalarStyle::Plain, "true") => Value::Bool(true),
                _ => Value::String(text.into_owned()),
            },
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::Sequence(items)) => Value::Array(items),
                Some(Open::Mapping(entries, None)) => Value::Object(entries),
                _ => panic!("{at:?}"),
            },
            _ => continue,
        };
        match open.last_mut() {
            None => documents.push(value),
            Some(Open::Sequence(items)) => items.push(value),
            Some(Open::Mapping(entries, key)) => match key.take() {
                None => *key = Some(value.as_str().expect("a key").to_owned()),
                Some(key) => assert!(entries.insert(key, value).is_none(), "{at:?}"),
            },
        }
    }
    documents
}

#[test]
fn kubernetes_objects_agree_with_each_other() {
    let folder = folder();
    let arguments = ["export", "kubernetes", "--from", "profile.json", "--image", "example/rw:1"];
    for policy in ["web.toml", "@container-default"] {
        let output = ringwarden(folder.path(), &[&arguments[..], &[policy]].concat());
        let objects = documents(stdout(&output));
        let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().expect("a kind")).collect();
        assert_eq!(kinds, ["Namespace", "ConfigMap", "ConfigMap", "DaemonSet", "Pod"]);
        let [namespace, policies, profiles, daemon, pod] = &objects[..] else { unreachable!() };
        for object in [policies, profiles, daemon] {
            assert_eq!(object["metadata"]["namespace"], namespace["metadata"]["name"]);
        }
        let bare = policy.trim_start_matches('@').trim_end_matches(".toml");
        // The files are those of the other commands, to the letter.
        let profile = profiles["data"][format!("{bare}.json")].as_str().expect("a profile");
        let same = ["export", "seccomp", "--from", "profile.json", "--resolved", policy];
        assert_eq!(profile.trim_end(), stdout(&ringwarden(folder.path(), &same)).trim_end());
        let profile = Profile::read(profile, None).expect("a profile");
        match policy {
            "web.toml" => assert_eq!(policies["data"]["web.toml"], POLICY),
            _ => assert_eq!(policies["data"], Value::Object(Map::new())),
        }

        let spec = &daemon["spec"]["template"]["spec"];
        assert_eq!(
            daemon["spec"]["selector"]["matchLabels"],
            daemon["spec"]["template"]["metadata"]["labels"]
        );
        assert_eq!(spec["hostPID"], true);
        let [agent, installer] = [&spec["containers"][0], &spec["initContainers"][0]];
        let command: Vec<_> =
            agent["command"].as_array().expect("words").iter().filter_map(Value::as_str).collect();
        let socket = profile.listener_path.as_deref().expect("a socket");
        assert_eq!(
            command,
            ["ringwarden", "agent", "--listen", socket, "--policies", "/etc/ringwarden/policies"]
        );
        assert_eq!(agent["image"], installer["image"]);
        let volume = |container: &Value, inside: &str| {
            let mounts = container["volumeMounts"].as_array().expect("mounts").iter();
            let mount = mounts.rev().find(|mount| mount["mountPath"] == inside).expect(inside);
            let mut volumes = spec["volumes"].as_array().expect("volumes").iter();
            volumes.find(|volume| volume["name"] == mount["name"]).expect("a volume").clone()
        };
        assert_eq!(
            volume(agent, "/etc/ringwarden/policies")["configMap"]["name"],
            policies["metadata"]["name"]
        );
        let of_socket = Path::new(socket).parent().expect("a folder").to_str().expect("UTF-8");
        // Runtimes connect outside of the container.
        assert_eq!(volume(agent, of_socket)["hostPath"]["path"], of_socket);
        assert_eq!(volume(installer, "/profiles")["configMap"]["name"], profiles["metadata"]["name"]);
        let installed = installer["command"][2].as_str().expect("a path");
        assert_eq!(installer["command"][1], format!("/profiles/{bare}.json"));
        let host = volume(installer, "/seccomp")["hostPath"]["path"].as_str().expect("a path").to_owned();
        let host = installed.replace("/seccomp", &host);
        let wanted = &pod["spec"]["securityContext"]["seccompProfile"];
        assert_eq!(wanted["type"], "Localhost");
        let wanted = wanted["localhostProfile"].as_str().expect("a path");
        assert_eq!(host, format!("/var/lib/kubelet/seccomp/{wanted}"));
    }
    for (arguments, expected) in [
        (&["--image", "a\nb", "web.toml"][..], "other characters"),
        (&["--namespace", "A", "web.toml"], "lower-case"),
        (&["--socket", "/run", "web.toml"], "is not the absolute path of a socket"),
        (&["--socket", "agent.sock", "web.toml"], "is not the absolute path of a socket"),
        (&["conditional.toml"], "at conditional.toml:5"),
    ] {
        let output = ringwarden(
            folder.path(),
            &[&["export", "kubernetes", "--from", "profile.json"], arguments].concat(),
        );
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{output:?}");
    }
}

/// Has systemd say what is wrong with units.
fn verify(units: &[&Path]) {
    if !Command::new("systemd-analyze").arg("--version").output().is_ok_and(|output| output.status.success())
    {
        assert!(std::env::var_os("RINGWARDEN_REQUIRE_ALL").is_none(), "systemd-analyze is not installed");
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    }
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    // Units of the machine are loaded, too.
    let ours: Vec<_> =
        told.lines().filter(|line| line.contains("ringwarden") || line.contains("victim")).collect();
    assert!(output.status.success() && ours.is_empty(), "{told}");
}

#[test]
fn units_are_such_as_systemd_takes() {
    let folder = folder();
    let binary = env!("CARGO_BIN_EXE_ringwarden");
    let arguments = ["export", "systemd", "--binary", binary, "--ceiling", "a b%.toml"];
    let into = folder.path().to_str().expect("UTF-8");
    let output = ringwarden(folder.path(), &[&arguments[..], &["--output-dir", into]].concat());
    assert_eq!(stdout(&output), "");
    let [service, socket] =
        ["ringwarden-agent.service", "ringwarden-agent.socket"].map(|name| folder.path().join(name));
    verify(&[&service, &socket]);
    let text = fs::read_to_string(&service).expect("it is there");
    let command = format!(
        "ExecStart={binary} agent --policies /etc/ringwarden/policies --ceiling \"{into}/a b%%.toml\"\n"
    );
    assert!(text.contains(&command) && text.contains("\nKillMode=process\n"), "{text}");
    assert!(text.contains("\nRequires=ringwarden-agent.socket\n"), "{text}");
    let text = fs::read_to_string(&socket).expect("it is there");
    assert!(
        text.contains("\nListenStream=/run/ringwarden/agent.sock\n") && text.contains("SocketMode=0600"),
        "{text}"
    );

    let unit = "[Service]\nType=notify\nExecStart=/bin/sleep 1\n";
    fs::write(folder.path().join("victim.service"), unit).expect("writable");
    fs::create_dir(folder.path().join("victim.service.d")).expect("writable");
    let drop_in = folder.path().join("victim.service.d/ringwarden.conf");
    let arguments = [
        "export",
        "systemd",
        "--binary",
        binary,
        "--service",
        "-/bin/sleep $SECONDS 10%%",
        "web.toml",
        "@file-io",
    ];
    let output =
        ringwarden(folder.path(), &[&arguments[..], &["-o", drop_in.to_str().expect("UTF-8")]].concat());
    assert_eq!(stdout(&output), "");
    let text = fs::read_to_string(&drop_in).expect("it is there");
    let command = format!(
        "ExecStart=\nExecStart=-{binary} run -p {into}/web.toml -p @file-io -- /bin/sleep $SECONDS 10%%\n"
    );
    assert!(text.contains(&command), "{text}");
    verify(&[&folder.path().join("victim.service")]);
    for (arguments, expected) in [
        (&["--service", "sleep 1", "web.toml"][..], "is not a command of a service"),
        (&["--service", "/bin/sleep 1\nExecStart=/bin/sh", "web.toml"], "is not a command of a service"),
        (&["--service", "@/bin/sleep x", "web.toml"], "another name"),
        (&["--service", "/bin/sleep 1", "-"], "write it to a file"),
        (&["--service", "/bin/sleep 1", "none.toml"], "none.toml"),
        (&["--service", "/bin/sleep 1"], "required"),
        (&["web.toml"], "--service"),
        (&["--output-dir", "none"], "none is not a folder"),
    ] {
        let output = ringwarden(folder.path(), &[&["export", "systemd"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{output:?}");
    }
}

#[test]
fn restrictions_of_a_container_go_to_a_policy_and_back() {
    let folder = folder();
    let restrictions = ringwarden(folder.path(), &["export", "oci", "conditional.toml"]);
    let expected = serde_json::json!({"defaultAction": "deny", "ops": ["IORING_OP_READ", "IORING_OP_SOCKET"],
        "socketFamilies": ["AF_UNIX"]});
    let found: Value = serde_json::from_str(stdout(&restrictions)).expect("JSON");
    assert_eq!(found, expected);
    let annotation = ringwarden(folder.path(), &["export", "oci", "conditional.toml", "--annotation"]);
    let annotation: Value = serde_json::from_str(stdout(&annotation)).expect("JSON");
    let config = serde_json::json!({"ociVersion": "1.2.0", "annotations": annotation, "linux": {}});
    fs::write(folder.path().join("config.json"), config.to_string()).expect("writable");
    let back = ringwarden(folder.path(), &["import", "oci", "config.json", "-o", "back.toml"]);
    assert_eq!(stdout(&back), "");
    let diff = ringwarden(folder.path(), &["diff", "conditional.toml", "back.toml"]);
    assert_eq!(diff.status.code(), Some(0), "{diff:?}");
    for (arguments, status, expected) in [
        (&["export", "oci", "web.toml"][..], 1, "`register.default = deny` at web.toml:6"),
        (&["export", "oci", "none.toml"], 2, "none.toml"),
        (&["import", "oci", "profile.json"], 2, "profile.json:2:"),
        (&["import", "oci", "none.json"], 2, "cannot read `none.json`"),
        (&["import", "oci", "config.json", "-o", "none/x.toml"], 2, "cannot write none/x.toml"),
        (&["import", "seccomp", "profile.json", "-o", "none/x.toml"], 2, "cannot write none/x.toml"),
    ] {
        let output = ringwarden(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{output:?}");
    }
}
