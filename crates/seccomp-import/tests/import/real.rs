//! The profiles that containers really have.

use crate::compare::{hold_against, import};
use crate::oracle::Place;
use ringwarden_policy::{Policy, Rule};
use ringwarden_uapi::Opcode;
use std::path::Path;
use std::{env, fs};

/// A runtime's default profile: from the folder beside the checkout, or where Debian has it.
/// `None` if it is nowhere, which `RINGWARDEN_REQUIRE_ALL` does not allow.
fn profile(name: &str, of_debian: &str) -> Option<String> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/seccomp").join(name);
    let text = [beside.as_path(), Path::new(of_debian)].iter().find_map(|path| fs::read_to_string(path).ok());
    if text.is_none() {
        let reason = format!("neither {} nor {of_debian} is here", beside.display());
        assert!(env::var_os("RINGWARDEN_REQUIRE_ALL").is_none(), "{reason}");
        eprintln!("skipped: {reason}");
    }
    text
}

/// Of the package golang-github-docker-docker-dev.
fn docker() -> Option<String> {
    const OF_DEBIAN: &str = "/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json";
    profile("docker-default.json", OF_DEBIAN)
}

/// Of the package golang-github-containers-common.
fn podman() -> Option<String> {
    profile("podman-default.json", "/usr/share/containers/seccomp.json")
}

#[test]
fn nothing_passes_that_docker_or_podman_deny() {
    for json in [docker(), podman()].into_iter().flatten() {
        for capabilities in [&[][..], &["CAP_SYS_ADMIN"], &["CAP_AUDIT_WRITE"], &["CAP_SYS_ADMIN", "CAP_BPF"]]
        {
            for kernel in [(3, 10), (6, 10)] {
                let counts = hold_against(&json, &Place { capabilities, kernel });
                assert!(counts.allowed > 50 && counts.denied > 7, "{counts:?}");
            }
        }
    }
}

/// No error, no warning, and its own tests are about what the profile is known for.
#[test]
fn the_policies_are_good_ones() {
    for json in [docker(), podman()].into_iter().flatten() {
        let text = import(&json, &Place { capabilities: &[], kernel: (6, 10) });
        let policy = Policy::parse(&text, "imported.toml").unwrap_or_else(|errors| panic!("{errors}"));
        assert!(policy.warnings().is_none(), "{:?}", policy.warnings());
        assert!(!text.contains("\nsocket =") || policy.tests().len() >= 2, "{text}");
        for needed in [Opcode::READ, Opcode::WRITEV, Opcode::OPENAT2, Opcode::CONNECT, Opcode::RECVMSG] {
            assert!(matches!(policy.rule(needed), Rule::Allow(_)), "{needed} in\n{text}");
        }
        for denied in [Opcode::URING_CMD, Opcode::MSG_RING] {
            assert!(matches!(policy.rule(denied), Rule::Deny(_)), "{denied} in\n{text}");
        }
    }
}

/// Audit messages go to netlink sockets of protocol 9: only who may write them may have one.
#[test]
fn podman_keeps_audit_sockets_to_those_who_may_write_audit_messages() {
    let Some(json) = podman() else { return };
    let without = import(&json, &Place { capabilities: &[], kernel: (6, 10) });
    assert!(without.contains("\nsocket = \"family != AF_NETLINK || protocol != 9\"\n"), "{without}");
    let with = import(&json, &Place { capabilities: &["CAP_AUDIT_WRITE"], kernel: (6, 10) });
    assert!(with.contains("\n\"@sockets\" = \"allow\"\n"), "{with}");
}
