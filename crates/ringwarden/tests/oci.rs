//! Restrictions of io_uring as OCI containers have them: policies become them and come back the same, or not at all.

use ringwarden::Enforcement;
use ringwarden::diff::{Effort, Relation, compare};
use ringwarden::oci::{Action, Family, Flag, IoUring, Op};
use ringwarden::policy::{CONSTANTS, Kind, PRESETS, Policy};
use ringwarden::uapi::{KernelModel, OPCODES, Opcode};

fn enforcement(text: &str) -> Enforcement {
    let policy = Policy::parse(text, "policy.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    Enforcement::new(&[policy], KernelModel::default()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Whether both allow the same requests, all of them.
fn assert_same(one: &Enforcement, other: &Enforcement) {
    for info in OPCODES {
        let compared = compare(one.filters(), other.filters(), info.opcode, Effort::default());
        assert_eq!(compared.expect("comparable").relation(), Relation::Equal, "{}", info.name);
    }
}

/// What a policy becomes, which means the same.
fn exported(text: &str) -> IoUring {
    let original = enforcement(text);
    let restrictions = original.io_uring().unwrap_or_else(|excess| panic!("{excess}\n{text}"));
    let json = serde_json::to_string_pretty(&restrictions).expect("JSON");
    let read = IoUring::read(&json).unwrap_or_else(|error| panic!("{error}\n{json}"));
    assert_eq!(read, restrictions);
    assert_same(&original, &enforcement(&read.policy("again", "of a test")));
    restrictions
}

#[test]
fn policies_of_the_shape_come_back_the_same_however_they_are_written() {
    let v1 = |rest: &str| exported(&format!("version = 1\n{rest}"));
    let families = |restrictions: &IoUring| restrictions.socket_families.as_ref().map(|all| all.len());
    let everything = v1("default = \"allow\"");
    assert_eq!(everything.default_action, Action::Allow);
    assert!(everything.ops.is_empty() && everything.socket_families.is_none());
    let nothing = v1("default = \"deny\"");
    assert_eq!((nothing.default_action, nothing.ops.len()), (Action::Deny, 0));
    // Equal by what they mean.
    for rule in [
        "family in {AF_INET, AF_INET6}",
        "family == AF_INET6 || family == AF_INET",
        "!(family != AF_INET && family != AF_INET6)",
    ] {
        let sockets = v1(&format!("default = \"deny\"\n[ops]\nread = \"allow\"\nsocket = \"{rule}\"\n"));
        assert_eq!(families(&sockets), Some(2), "{rule}");
        assert_eq!(sockets.ops.len(), 2);
    }
    let flags = v1(
        "default = \"allow\"\n[all]\nrequire = \"!(sqe_flags & IOSQE_FIXED_FILE) && sqe_flags & IOSQE_ASYNC == 0\"\n[ops]\n\
         uring_cmd = \"deny\"\nsocket = \"family == AF_UNIX\"\n",
    );
    assert_eq!((flags.denied_sqe_flags.len(), families(&flags)), (2, Some(1)), "{flags:?}");
    assert!(flags.ops.contains(&Op(Opcode::URING_CMD)));
    for preset in PRESETS.iter().filter(|preset| preset.name != "@net-client") {
        // Some say what rings may be made, too.
        let tables = ["[setup]", "[register]"].iter().any(|table| preset.text.contains(table));
        match enforcement(preset.text).io_uring() {
            Ok(_) => drop(exported(preset.text)),
            Err(excess) => assert!(tables, "{}: {excess}", preset.name),
        }
    }
}

#[test]
fn random_restrictions_become_policies_and_come_back() {
    let mut random = fastrand::Rng::with_seed(3);
    let of_kind = |kind| CONSTANTS.iter().filter(move |constant| constant.kind == kind).map(|one| one.value);
    for _ in 0..48 {
        let mut pick = |probability: f32| random.f32() < probability;
        let restrictions = IoUring {
            default_action: if pick(0.5) { Action::Allow } else { Action::Deny },
            ops: OPCODES.iter().map(|info| Op(info.opcode)).filter(|_| pick(0.3)).collect(),
            socket_families: pick(0.7)
                .then(|| of_kind(Kind::Family).map(Family).filter(|_| pick(0.2)).collect()),
            denied_sqe_flags: if pick(0.4) {
                of_kind(Kind::SqeFlags).map(Flag).filter(|_| pick(0.3)).collect()
            } else {
                Default::default()
            },
        };
        let again = exported(&restrictions.policy("random", "of a test"));
        let allows = |restrictions: &IoUring, op| {
            restrictions.ops.contains(&Op(op)) == (restrictions.default_action == Action::Deny)
        };
        let sockets = |restrictions: &IoUring| {
            let families = restrictions.socket_families.as_ref();
            allows(restrictions, Opcode::SOCKET) && families.is_none_or(|families| !families.is_empty())
        };
        // A flag that the kernel sets by itself denies operations as a whole.
        if restrictions.denied_sqe_flags.is_empty() {
            for info in OPCODES.iter().filter(|info| info.opcode != Opcode::SOCKET) {
                assert_eq!(allows(&again, info.opcode), allows(&restrictions, info.opcode), "{}", info.name);
            }
        }
        assert_eq!(sockets(&again), sockets(&restrictions));
        if sockets(&restrictions) {
            assert_eq!(again.socket_families, restrictions.socket_families);
        }
        assert_eq!(again.default_action, restrictions.default_action);
        // But for flags that nothing which is allowed can have.
        assert!(again.denied_sqe_flags.is_subset(&restrictions.denied_sqe_flags), "{restrictions:?}");
    }
}

#[test]
fn what_is_more_than_the_shape_holds_is_an_error_that_names_the_rule() {
    for (rest, expected) in [
        ("[ops]\nopenat = \"flags == O_RDONLY\"\n", "`openat` is allowed depends"),
        ("[ops]\nsocket = \"family == AF_INET && type == SOCK_STREAM\"\n", "`socket` is allowed depends"),
        // Families without a name, too.
        ("[ops]\nsocket = \"family != AF_ALG\"\n", "`socket = family != AF_ALG` at policy.toml:4"),
        (
            "[ops]\nread = \"!(sqe_flags & IOSQE_FIXED_FILE)\"\nwrite = \"allow\"\n",
            "`read` is allowed depends",
        ),
        ("[all]\nrequire = \"sqe_flags & IOSQE_FIXED_FILE\"\n[ops]\nread = \"allow\"\n", "at policy.toml:4"),
        ("[setup]\ndeny_flags = [\"SQPOLL\"]\n", "`setup.deny_flags = [SQPOLL]` at policy.toml:4"),
        ("[setup]\nmax_entries = 64\n", "`setup.max_entries = 64` at policy.toml:4"),
        (
            "[register]\ndefault = \"deny\"\nallow = [\"probe\"]\n",
            "`register.default = deny` at policy.toml:4",
        ),
    ] {
        let excess = enforcement(&format!("version = 1\ndefault = \"deny\"\n{rest}")).io_uring();
        let excess = excess.expect_err(rest).to_string();
        assert!(excess.contains(expected) && excess.contains("at policy.toml:4"), "{excess}");
    }
}

#[test]
fn restrictions_are_read_from_containers_and_nothing_is_passed_over() {
    let shape = r#"{"defaultAction": "deny", "ops": ["IORING_OP_READ"], "socketFamilies": null}"#;
    let text = serde_json::to_string(shape).expect("JSON");
    for json in [
        shape.to_owned(),
        format!(r#"{{"ociVersion": "1.2.0", "linux": {{"ioUring": {shape}, "seccomp": {{}}}}}}"#),
        format!(r#"{{"annotations": {{"dev.youki.io_uring": {text}, "other": "x"}}}}"#),
    ] {
        let read = IoUring::read(&json).unwrap_or_else(|error| panic!("{error}\n{json}"));
        assert_eq!(read.ops.len(), 1);
    }
    for (json, expected) in [
        (r#"{"ops": []}"#, "missing field `defaultAction`"),
        (r#"{"defaultAction": "deny", "opps": []}"#, "unknown field `opps`"),
        (
            r#"{"defaultAction": "deny",
             "ops": ["IORING_OP_RAED"]}"#,
            "2:38: `IORING_OP_RAED` is no io_uring operation",
        ),
        (r#"{"defaultAction": "deny", "ops": ["read"]}"#, "`read` is no io_uring operation"),
        (
            r#"{"defaultAction": "deny", "socketFamilies": ["SOCK_STREAM"]}"#,
            "`SOCK_STREAM` is no address family",
        ),
        (r#"{"defaultAction": "deny", "deniedSqeFlags": ["O_CREAT"]}"#, "`O_CREAT` is no flag of requests"),
        (r#"{"defaultAction": "log"}"#, "unknown variant `log`"),
        (r#"{"linux": {}}"#, "neither `linux.ioUring` nor the annotation"),
        (
            r#"{"annotations": {"dev.youki.io_uring": "{}"}}"#,
            "of the annotation dev.youki.io_uring: missing field",
        ),
        ("[", "EOF"),
    ] {
        let error = IoUring::read(json).expect_err(json).to_string();
        assert!(error.contains(expected), "{error}\n{json}");
    }
}
