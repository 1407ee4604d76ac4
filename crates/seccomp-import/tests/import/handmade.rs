//! Profiles made to tell one thing: what becomes of an operation under them.

use crate::compare::{hold_against, import};
use crate::oracle::Place;
use ringwarden_policy::Policy;
use ringwarden_seccomp_import::{Import, ImportError};
use ringwarden_uapi::Opcode;

const PLAIN: Place<'_> = Place { capabilities: &[], kernel: (6, 10) };
const ADMIN: Place<'_> = Place { capabilities: &["CAP_SYS_ADMIN"], kernel: (6, 10) };
const OLD: Place<'_> = Place { capabilities: &[], kernel: (4, 4) };

/// The rule of an operation: `allow`, `deny`, or the expression. What follows from a group counts.
fn rule(json: &str, place: &Place<'_>, operation: Opcode) -> String {
    let text = import(json, place);
    let policy = Policy::parse(&text, "imported.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    policy.rule(operation).origin().text.clone()
}

/// A profile that denies all but what its rules say.
fn listing(rules: &str) -> String {
    format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rules}]}}"#)
}

/// A profile that allows all but what its rules say.
fn refusing(rules: &str) -> String {
    format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rules}]}}"#)
}

fn socket(action: &str, args: &str) -> String {
    format!(r#"{{"names": ["socket"], "action": "SCMP_ACT_{action}", "args": [{args}]}}"#)
}

fn arg(index: u8, op: &str, value: u64, second: u64) -> String {
    format!(r#"{{"index": {index}, "op": "SCMP_CMP_{op}", "value": {value}, "valueTwo": {second}}}"#)
}

/// Every operator, on each of the forms that an argument has in a request.
#[test]
fn conditions_are_expressions() {
    for (condition, expected) in [
        (arg(0, "EQ", 2, 0), "family == AF_INET"),
        (arg(0, "NE", 40, 0), "family != AF_VSOCK"),
        (arg(0, "LT", 16, 0), "family <= 15"),
        (arg(0, "LE", 16, 0), "family <= 16"),
        (arg(0, "LT", 1, 0), "family == AF_UNSPEC"),
        (arg(0, "GE", 17, 0), "family >= 17"),
        (arg(0, "GT", 17, 0), "family >= 18"),
        (arg(0, "MASKED_EQ", 0xf8, 0x08), "family & 0xf8 == 0x8"),
        (arg(1, "EQ", 1, 0), "type == SOCK_STREAM && type_flags == 0"),
        (arg(1, "EQ", 0x80001, 0), "type == SOCK_STREAM && type_flags == SOCK_CLOEXEC"),
        (arg(1, "NE", 3, 0), "!(type == SOCK_RAW && type_flags == 0)"),
        (arg(1, "LE", 2, 0), "type <= 2 && type_flags == 0"),
        (arg(1, "LT", 0x20, 0), "type_flags <= 16"),
        (arg(1, "MASKED_EQ", 0xf, 1), "type == SOCK_STREAM"),
        (
            arg(1, "MASKED_EQ", 0x8000f, 0x80001),
            "type == SOCK_STREAM && type_flags & SOCK_CLOEXEC == SOCK_CLOEXEC",
        ),
        (arg(2, "EQ", 6, 0), "protocol == IPPROTO_TCP"),
        // What a mask does not have is not compared.
        (arg(2, "MASKED_EQ", 0xff, 0x106), "protocol & 0xff == 0x6"),
        // All 64 bits count: no request has an upper half, unless it is a sign's.
        (arg(0, "EQ", 1 << 32, 0), "deny"),
        (arg(0, "EQ", u64::MAX, 0), "deny"),
        (arg(0, "NE", u64::MAX, 0), "family != 4294967295"),
        (arg(0, "LE", u64::from(u32::MAX), 0), "family <= 2147483647"),
        (arg(0, "GE", 1 << 31, 0), "family >= 2147483648"),
        (arg(0, "MASKED_EQ", u64::MAX, 2), "family == AF_INET"),
        (arg(0, "MASKED_EQ", 0xffff_ffff_0000_000f, 2), "family & 0x8000000f == 0x2"),
        // Conditions without content.
        (arg(0, "GE", 0, 0), "allow"),
        (arg(0, "MASKED_EQ", 0, 0), "allow"),
        (arg(0, "LT", 0, 0), "deny"),
        // What no filter sees is taken not to hold.
        (arg(3, "EQ", 0, 0), "deny"),
        (format!("{}, {}", arg(0, "EQ", 2, 0), arg(5, "EQ", 0, 0)), "deny"),
        // Several conditions hold all; two on one argument are two rules to runc and crun.
        (
            format!("{}, {}", arg(0, "EQ", 2, 0), arg(2, "EQ", 6, 0)),
            "family == AF_INET && protocol == IPPROTO_TCP",
        ),
        (format!("{}, {}", arg(0, "GE", 2, 0), arg(0, "LE", 1, 0)), "allow"),
        (format!("{}, {}", arg(0, "EQ", 1, 0), arg(0, "EQ", 2, 0)), "family in 1..=2"),
    ] {
        let json = listing(&socket("ALLOW", &condition));
        assert_eq!(rule(&json, &PLAIN, Opcode::SOCKET), expected, "{condition}");
        hold_against(&json, &PLAIN);
        hold_against(&refusing(&socket("ERRNO", &condition)), &PLAIN);
    }
}

/// How rules about one call come together.
#[test]
fn rules_are_united() {
    let allow = |args: &str| socket("ALLOW", args);
    let kill = |args: &str| socket("KILL", args);
    let (unix, inet, high) = (arg(0, "EQ", 1, 0), arg(0, "EQ", 2, 0), arg(0, "GT", 1, 0));
    let tcp = format!("{inet}, {}", arg(2, "EQ", 6, 0));
    let (odd, even) = (arg(0, "MASKED_EQ", 1, 1), arg(0, "MASKED_EQ", 1, 0));
    for (json, expected) in [
        (listing(&[allow(&unix), allow(&inet)].join(",")), "family in 1..=2"),
        (listing(&[allow(&unix), allow(&arg(0, "EQ", 10, 0))].join(",")), "family in {AF_UNIX, AF_INET6}"),
        (
            listing(&[allow(&unix), allow(&tcp)].join(",")),
            "family == AF_UNIX || family == AF_INET && protocol == IPPROTO_TCP",
        ),
        (listing(&[allow(&inet), allow(&tcp)].join(",")), "family == AF_INET"),
        (listing(&[allow(&high), allow(&tcp)].join(",")), "family >= 2"),
        (
            listing(&[allow(&inet), allow(&format!("{high}, {}", arg(2, "EQ", 6, 0)))].join(",")),
            "family == AF_INET || family >= 2 && protocol == IPPROTO_TCP",
        ),
        (listing(&[allow(&unix), allow("")].join(",")), "allow"),
        // Bits that may be set or not are no condition.
        (listing(&[allow(&odd), allow(&even), kill(&arg(0, "NE", 2, 0))].join(",")), "family == AF_INET"),
        (
            listing(&[0, 1, 2, 3].map(|bits| allow(&arg(0, "MASKED_EQ", 7, bits))).join(",")),
            "family & 0x4 == 0x0",
        ),
        (refusing(&kill(&unix)), "family != AF_UNIX"),
        (refusing(&[kill(&unix), kill(&inet)].join(",")), "!(family in 1..=2)"),
        (refusing(&kill(&tcp)), "!(family == AF_INET && protocol == IPPROTO_TCP)"),
        (refusing(&kill("")), "deny"),
        // One that denies counts, wherever it stands.
        (listing(&[allow(""), kill(&unix)].join(",")), "family != AF_UNIX"),
        (listing(&[kill(&unix), allow("")].join(",")), "family != AF_UNIX"),
        (listing(&[allow(&high), kill(&inet)].join(",")), "family >= 3"),
        (listing(&[allow(&high), kill("")].join(",")), "deny"),
        (listing(&[allow(&high), kill(&unix)].join(",")), "family >= 2"),
        // What a denying rule looks at besides is taken to hold.
        (refusing(&kill(&format!("{unix}, {}", arg(4, "NE", 0, 0)))), "family != AF_UNIX"),
        // Every action but two denies.
        (listing(&socket("LOG", &unix)), "family == AF_UNIX"),
        (listing(&socket("NOTIFY", &unix)), "deny"),
        (listing(&socket("TRACE", &unix)), "deny"),
        (refusing(&socket("TRAP", &unix)), "family != AF_UNIX"),
    ] {
        assert_eq!(rule(&json, &PLAIN, Opcode::SOCKET), expected, "{json}");
        hold_against(&json, &PLAIN);
    }
}

/// A rule that does what happens anyway is none: what allows beside it counts. With another error
/// number it is one.
#[test]
fn error_numbers_tell_rules_from_the_default() {
    for (default, own, expected) in [
        ("", "", "allow"),
        ("", r#","errnoRet": 1"#, "allow"),
        (r#","defaultErrnoRet": 38"#, r#","errnoRet": 38"#, "allow"),
        (r#","defaultErrnoRet": 38"#, "", "deny"),
        ("", r#","errnoRet": 38"#, "deny"),
    ] {
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO" {default}, "syscalls": [
                {{"names": ["connect"], "action": "SCMP_ACT_ERRNO" {own}}},
                {{"names": ["connect"], "action": "SCMP_ACT_ALLOW"}}]}}"#
        );
        assert_eq!(rule(&json, &PLAIN, Opcode::CONNECT), expected, "{json}");
        hold_against(&json, &PLAIN);
    }
}

/// Where rules apply.
#[test]
fn circumstances_decide() {
    for (circumstances, place, expected) in [
        (r#""includes": {"caps": ["CAP_SYS_ADMIN"]}"#, PLAIN, "deny"),
        (r#""includes": {"caps": ["CAP_SYS_ADMIN"]}"#, ADMIN, "allow"),
        (r#""includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}"#, ADMIN, "deny"),
        (r#""excludes": {"caps": ["CAP_SYS_ADMIN"]}"#, PLAIN, "allow"),
        (r#""excludes": {"caps": ["CAP_BPF", "CAP_SYS_ADMIN"]}"#, ADMIN, "deny"),
        (r#""includes": {"arches": ["s390x"]}"#, PLAIN, "deny"),
        (r#""includes": {"arches": ["x32", "amd64"]}"#, PLAIN, "allow"),
        (r#""excludes": {"arches": ["amd64"]}"#, PLAIN, "deny"),
        (r#""excludes": {"arches": ["arm64"]}"#, PLAIN, "allow"),
        (r#""includes": {"minKernel": "4.8"}"#, PLAIN, "allow"),
        (r#""includes": {"minKernel": "4.8"}"#, OLD, "deny"),
        (r#""includes": {"minKernel": "4.8.0"}"#, PLAIN, "allow"),
        (r#""includes": {"minKernel": "4.0"}"#, OLD, "allow"),
        (r#""excludes": {"minKernel": "4.8"}"#, PLAIN, "deny"),
        (r#""excludes": {"minKernel": "4.8"}"#, OLD, "allow"),
        (r#""includes": {"caps": []}, "excludes": null"#, PLAIN, "allow"),
    ] {
        let json = listing(&format!(
            r#"{{"names": ["statx"], "action": "SCMP_ACT_ALLOW", "comment": "", "args": null, {circumstances}}}"#
        ));
        assert_eq!(rule(&json, &place, Opcode::STATX), expected, "{circumstances}");
        hold_against(&json, &place);
    }
}

/// Operations that stand for several calls need all of them.
#[test]
fn one_denied_call_is_enough() {
    for (operation, denied) in [
        (Opcode::READ, "read"),
        (Opcode::READ, "pread64"),
        (Opcode::READ, "preadv2"),
        (Opcode::READ_FIXED, "pread64"),
        (Opcode::READ_MULTISHOT, "read"),
        (Opcode::WRITEV, "pwritev"),
        (Opcode::FSYNC, "fdatasync"),
        (Opcode::ACCEPT, "accept4"),
        (Opcode::ACCEPT, "accept"),
        (Opcode::RENAMEAT, "renameat2"),
        (Opcode::SEND, "sendto"),
        (Opcode::SEND_ZC, "setsockopt"),
        (Opcode::RECV, "recvfrom"),
        (Opcode::OPENAT, "openat"),
        (Opcode::OPENAT2, "openat2"),
        (Opcode::FUTEX_WAIT, "futex_wait"),
        (Opcode::FADVISE, "fadvise64"),
    ] {
        let json = refusing(&format!(r#"{{"name": "{denied}", "action": "SCMP_ACT_KILL_PROCESS"}}"#));
        assert_eq!(rule(&json, &PLAIN, operation), "deny", "{denied}");
        assert_eq!(rule(&refusing(""), &PLAIN, operation), "allow");
        let text = import(&json, &PLAIN);
        let line = text.lines().find(|line| line.starts_with(&format!("#   {operation} ")));
        let line = line.unwrap_or_else(|| panic!("{operation} is not explained: {text}"));
        assert!(line.ends_with(&format!(" {denied}: a rule says SCMP_ACT_KILL_PROCESS")), "{line}");
        hold_against(&json, &PLAIN);
    }
}

/// Filters see how openat opens, as the kernel takes it; of openat2 neither they nor seccomp do.
#[test]
fn conditions_on_how_to_open() {
    let openat = |args: &str| {
        listing(&format!(r#"{{"names": ["openat"], "action": "SCMP_ACT_ALLOW", "args": [{args}]}}"#))
    };
    for (condition, expected) in [
        (arg(2, "MASKED_EQ", 3, 0), "flags & O_ACCMODE == O_RDONLY"),
        (arg(2, "MASKED_EQ", 0o102, 0), "flags & (O_RDWR | O_CREAT) == 0"),
        (arg(2, "EQ", 0, 0), "flags == O_RDONLY"),
        // O_LARGEFILE makes no difference that filters see.
        (arg(2, "MASKED_EQ", 0o100003, 0), "flags & O_ACCMODE == O_RDONLY"),
        (arg(2, "EQ", 0o100000, 0), "deny"),
        (arg(2, "NE", 0o100000, 0), "allow"),
        (arg(3, "LE", 0o644, 0), "mode <= 420"),
        (arg(1, "EQ", 0, 0), "deny"),
    ] {
        let json = openat(&condition);
        assert_eq!(rule(&json, &PLAIN, Opcode::OPENAT), expected, "{condition}");
        assert_eq!(rule(&json, &PLAIN, Opcode::OPENAT2), "deny");
        hold_against(&json, &PLAIN);
    }
}

/// The same profile, inside the files that it comes in.
#[test]
fn files_around_profiles() {
    let profile = listing(&socket("ALLOW", &arg(0, "EQ", 1, 0)));
    let expected = import(&profile, &PLAIN);
    for json in [
        format!(
            r#"{{"ociVersion": "1.2.0", "process": {{}}, "linux": {{"namespaces": [], "seccomp": {profile}}}}}"#
        ),
        format!(
            r#"{{"apiVersion": "security-profiles-operator.x-k8s.io/v1beta1", "kind": "SeccompProfile",
                "metadata": {{"name": "p"}}, "spec": {profile}}}"#
        ),
    ] {
        assert_eq!(import(&json, &PLAIN), expected);
    }
}

/// Remarks, which runtimes pass over, wherever their authors put them.
#[test]
fn remarks_are_passed_over() {
    let profile = listing(&socket("ALLOW", &arg(0, "EQ", 1, 0)));
    let expected = import(&profile, &PLAIN);
    for remark in [
        r#""comment": ["for", "a server"]"#,
        r#""_comment": {"why": "a server"}"#,
        r#""$comment": "for a server", "$schema": "profile""#,
        r#""//": "for", "// more": "a server", "_why": null"#,
        r##""#": 7"##,
    ] {
        let inside = |object: &str| profile.replacen(object, &format!("{object}{remark}, "), 1);
        for json in [format!("{{{remark}, {}", &profile[1..]), inside("\"args\": [{")] {
            assert_ne!(json, profile);
            assert_eq!(import(&json, &PLAIN), expected, "{json}");
        }
    }
    let rule = profile.replacen("{\"names\"", "{\"_comment\": [], \"comment\": \"x\", \"names\"", 1);
    assert_ne!(rule, profile);
    assert_eq!(import(&rule, &PLAIN), expected);
    // Windows' editors begin a file so.
    assert_eq!(import(&format!("\u{feff}{profile}"), &PLAIN), expected);
}

#[test]
fn architectures_are_told() {
    for (architectures, expected) in [
        (r#""architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]"#, Some("programs of SCMP_ARCH_X32, too")),
        (
            r#""archMap": [{"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
               {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}]"#,
            Some("programs of SCMP_ARCH_X86 and SCMP_ARCH_X32, too"),
        ),
        (r#""archMap": [{"architecture": "SCMP_ARCH_AARCH64"}]"#, Some("does not name SCMP_ARCH_X86_64")),
        (r#""architectures": ["SCMP_ARCH_X86_64"]"#, None),
        (r#""architectures": null"#, None),
    ] {
        let json = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", {architectures}}}"#);
        let text = import(&json, &PLAIN);
        match expected {
            Some(expected) => assert!(text.contains(expected), "{text}"),
            None => assert!(!text.contains("SCMP_ARCH"), "{text}"),
        }
    }
}

/// What the profile calls things stays in comments.
#[test]
fn names_cannot_leave_their_comment() {
    let evil = "x\\n[ops]\\nmsg_ring = \\\"allow\\\"\\n\\u0085\\r#";
    let json = listing(&format!(
        r#"{{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {{"caps": ["{evil}"]}}}}"#
    ));
    let json = json.replacen('{', &format!(r#"{{"architectures": ["{evil}"], "#), 1);
    let import = Import {
        name: "a\"\nb".to_owned(),
        origin: "a\nmsg_ring = \"allow\"\n".to_owned(),
        capabilities: Vec::new(),
        kernel: (6, 10),
        allow: Vec::new(),
        profile: None,
    };
    let text = import.seccomp(&json).expect("a policy").policy;
    let policy = Policy::parse(&text, "imported.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    assert_eq!(policy.name(), Some("a\"\nb"));
    assert_eq!(policy.rule(Opcode::MSG_RING).origin().text, "deny", "{text}");
    assert!(text.lines().all(|line| !line.starts_with("msg_ring")), "{text}");
}

#[test]
fn what_no_call_does_has_to_be_asked_for() {
    let import = |allow: &[Opcode]| Import {
        name: "imported".to_owned(),
        origin: "profile.json".to_owned(),
        capabilities: Vec::new(),
        kernel: (6, 10),
        allow: allow.to_vec(),
        profile: None,
    };
    let asked =
        import(&[Opcode::MSG_RING, Opcode::PROVIDE_BUFFERS]).seccomp(&listing("")).expect("a policy").policy;
    assert!(asked.contains("\nmsg_ring = \"allow\"\n") && asked.contains("\nprovide_buffers = \"allow\"\n"));
    assert!(!asked.contains("\nuring_cmd =") && !asked.contains("\nremove_buffers ="), "{asked}");
    match import(&[Opcode::READ]).seccomp(&refusing("")) {
        Err(ImportError::HasTwin { operation: Opcode::READ, calls }) => {
            assert_eq!(calls, ["read", "pread64", "preadv2"]);
        }
        other => panic!("{other:?}"),
    }
}

/// Rules of which none repeats or borders on another one, and one of which every call meets: no policy says so by a
/// condition.
#[test]
fn conditions_that_every_call_meets_are_none() {
    let parts = [
        (("LE", 1), ("EQ", 0)),
        (("GE", 2), ("LE", 1)),
        (("GE", 1), ("GE", 2)),
        (("EQ", 0), ("GE", 1)),
        (("EQ", 1), ("EQ", 1)),
    ];
    let rules = |action, count: usize| {
        let rule = |((family, f), (protocol, p)): &((&str, u64), (&str, u64))| {
            socket(action, &format!("{}, {}", arg(0, family, *f, 0), arg(2, protocol, *p, 0)))
        };
        parts[..count].iter().map(rule).collect::<Vec<_>>().join(",")
    };
    let (all, none) = (listing(&rules("ALLOW", 5)), refusing(&rules("ERRNO", 5)));
    assert_eq!(rule(&all, &PLAIN, Opcode::SOCKET), "allow");
    let text = import(&none, &PLAIN);
    assert!(text.contains("\n#   socket            socket: no call meets its conditions\n"), "{text}");
    for json in [all, none, listing(&rules("ALLOW", 4)), refusing(&rules("ERRNO", 4))] {
        hold_against(&json, &PLAIN);
    }
    assert!(rule(&listing(&rules("ALLOW", 4)), &PLAIN, Opcode::SOCKET).contains("||"));
}

/// More conditions than a filter has room for; but ranges of one argument are one condition.
#[test]
fn what_does_not_fit_a_filter_is_denied() {
    let pairs = |count: u64| {
        let rule = |n| socket("ALLOW", &format!("{}, {}", arg(0, "EQ", n * 2, 0), arg(2, "EQ", n, 0)));
        listing(&(0..count).map(rule).collect::<Vec<_>>().join(","))
    };
    for count in [1200, 20_000] {
        let text = import(&pairs(count), &PLAIN);
        assert!(
            text.contains("\n#   socket            socket: its conditions are too long for a filter\n"),
            "{text}"
        );
    }
    assert!(rule(&pairs(100), &PLAIN, Opcode::SOCKET).contains("family == 198 && protocol == 99"));
    let all: Vec<_> = (0..20_000).map(|n| socket("ALLOW", &arg(0, "EQ", n, 0))).collect();
    assert_eq!(rule(&listing(&all.join(",")), &PLAIN, Opcode::SOCKET), "family <= 19999");
}
