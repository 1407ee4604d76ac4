//! What policies leave open: each kind of finding where it belongs, and nowhere else.

use ringwarden::diff::Effort;
use ringwarden::policy::{Policy, VULNERABILITIES};
use ringwarden::uapi::KernelModel;
use ringwarden::{Enforcement, Exposure, Severity};

fn of(layers: &[&str], release: Option<&str>) -> Vec<Exposure> {
    let parse = |text: &&str| Policy::parse(text, "it.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let layers: Vec<_> = layers.iter().map(parse).collect();
    let enforcement = Enforcement::new(&layers, KernelModel::default()).expect("it compiles");
    let release = release.map(|text| text.parse().expect("a release"));
    enforcement.exposures(release, Effort::default()).expect("it is decided")
}

/// A policy that denies by default.
fn denying(rest: &str) -> String {
    format!("version = 1\ndefault = \"deny\"\n{rest}\n")
}

/// The severity of a subject; `None` where it is not left open.
fn severity(exposures: &[Exposure], subject: &str) -> Option<Severity> {
    exposures.iter().find(|one| one.subject.to_string() == subject).map(|one| one.severity)
}

const NO_CALLS: &str = "[register]\ndefault = \"deny\"\n";

#[test]
fn what_is_open_is_decided_by_what_requests_are_allowed() {
    use Severity::{High, Low, Medium, Note};
    let cases: &[(&str, &str, Option<Severity>)] = &[
        // Operations.
        ("[ops]\nfutex_wait = \"allow\"", "futex_wait", Some(Medium)),
        ("[ops]\n\"@processes\" = \"allow\"", "futex_wait", Some(Medium)),
        ("[ops]\nfutex_wait = \"user_data == 7\"", "futex_wait", Some(Medium)),
        ("[ops]\nfutex_wait = \"deny\"", "futex_wait", None),
        ("[ops]\ntimeout = \"allow\"", "timeout", Some(High)),
        ("[ops]\naccept = \"allow\"", "accept", Some(Low)),
        ("[ops]\nshutdown = \"allow\"", "shutdown", None),
        // By a condition of the bug's own.
        ("[ops]\nopenat = \"flags == O_CLOEXEC\"", "openat", Some(Low)),
        ("[ops]\nopenat = \"flags & (O_WRONLY | O_CLOEXEC) == 0\"", "openat", None),
        ("[ops]\nnop = \"allow\"", "nop", Some(Low)),
        ("[ops]\nnop = \"!(sqe_flags & IOSQE_FIXED_FILE)\"", "nop", None),
        ("[all]\nrequire = \"sqe_flags == 0\"\n[ops]\nnop = \"allow\"", "nop", None),
        // Flags of requests, where some way to provide buffers is open as well.
        (
            "[ops]\nrecv = \"allow\"\nprovide_buffers = \"allow\"",
            "requests with IOSQE_BUFFER_SELECT",
            Some(High),
        ),
        (
            "[ops]\nrecv = \"allow\"\nprovide_buffers = \"allow\"\n[register]\ndefault = \"deny\"",
            "requests with IOSQE_BUFFER_SELECT",
            Some(High),
        ),
        ("[ops]\nrecv = \"allow\"", "requests with IOSQE_BUFFER_SELECT", Some(High)),
        (
            "[ops]\nrecv = \"allow\"\n[register]\ndefault = \"deny\"",
            "requests with IOSQE_BUFFER_SELECT",
            None,
        ),
        (
            "[all]\nrequire = \"!(sqe_flags & IOSQE_BUFFER_SELECT)\"\n[ops]\nrecv = \"allow\"",
            "requests with IOSQE_BUFFER_SELECT",
            None,
        ),
        // The flag means nothing to this operation.
        ("[ops]\nfutex_wake = \"allow\"", "requests with IOSQE_BUFFER_SELECT", None),
        // Register opcodes.
        ("", "register eventfd, eventfd_async", Some(Medium)),
        ("[register]\ndefault = \"deny\"\nallow = [\"eventfd\"]", "register eventfd", Some(Medium)),
        ("[register]\ndefault = \"allow\"\ndeny = [\"@eventfd\"]", "register eventfd, eventfd_async", None),
        ("", "register resize_rings", Some(Medium)),
        // One of two bugs needs a flag of rings.
        ("[setup]\ndeny_flags = [\"DEFER_TASKRUN\"]", "register resize_rings", Some(Low)),
        ("[register]\ndefault = \"allow\"\ndeny = [\"resize_rings\"]", "register resize_rings", None),
        // Flags of rings.
        ("", "rings with NO_MMAP", Some(High)),
        ("", "rings with SQPOLL", Some(Medium)),
        ("[setup]\ndeny_flags = [\"NO_MMAP\", \"SQPOLL\"]", "rings with NO_MMAP", None),
        ("[setup]\ndeny_flags = [\"NO_MMAP\", \"SQPOLL\"]", "rings with SQPOLL", None),
        ("", "rings with CLAMP", None),
        // Operations that do the same.
        ("[ops]\nopenat = \"flags == O_RDONLY\"\nopenat2 = \"allow\"", "openat2 beside openat", Some(Low)),
        (
            "[ops]\nopenat = \"flags == O_RDONLY\"\nopenat2 = \"flags == O_RDONLY\"",
            "openat2 beside openat",
            None,
        ),
        // What holds of every request takes nothing from it.
        (
            "[all]\nrequire = \"!(sqe_flags & IOSQE_ASYNC)\"\n[ops]\nopenat = \"flags == O_RDONLY\"\nopenat2 = \"allow\"",
            "openat2 beside openat",
            Some(Low),
        ),
        ("[ops]\nread = \"allow\"", "read beside readv", None),
        ("[ops]\nread = \"allow\"\nreadv = \"deny\"", "read beside readv", Some(Low)),
        // What only the flags of requests are asked for keeps nobody from the same.
        ("[ops]\nread = \"allow\"\nreadv = \"sqe_flags & IOSQE_IO_LINK == 0\"", "read beside readv", None),
        // Later kernels.
        ("", "what later kernels bring", Some(Low)),
        (NO_CALLS, "what later kernels bring", None),
        // Families that are refused without a word.
        ("[ops]\nconnect = \"port == 443\"", "families of connect", Some(Note)),
        ("[ops]\nconnect = \"addr in 10.0.0.0/8\"", "families of connect", Some(Note)),
        ("[ops]\nconnect = \"family == AF_INET && port == 443\"", "families of connect", None),
        ("[ops]\nconnect = \"allow\"", "families of connect", None),
        // Requests that never pass.
        ("[all]\nrequire = \"!(sqe_flags & IOSQE_ASYNC)\"\n[ops]\nfsync = \"allow\"", "fsync", Some(Note)),
        ("[all]\nrequire = \"!(sqe_flags & IOSQE_ASYNC)\"\n[ops]\nread = \"allow\"", "read", None),
        ("[all]\nrequire = \"!(sqe_flags & IOSQE_IO_LINK)\"\n[ops]\nfsync = \"allow\"", "fsync", None),
        // System calls.
        ("[ops]\nsocket = \"family == AF_INET\"", "system calls", Some(Note)),
    ];
    for (rest, subject, expected) in cases {
        let exposures = of(&[&denying(rest)], None);
        assert_eq!(severity(&exposures, subject), *expected, "{rest}\n{subject}\n{exposures:#?}");
    }
}

#[test]
fn system_calls_are_those_that_no_operation_may_do_either() {
    let calls = |rest: &str| {
        let exposures = of(&[&denying(rest)], None);
        let calls = exposures.into_iter().find_map(|one| match one.subject {
            ringwarden::Subject::SystemCalls(calls) => Some(calls),
            _ => None,
        });
        calls.expect("something is refused")
    };
    let some = calls("[ops]\nsocket = \"family == AF_INET\"\nread = \"allow\"\nopenat2 = \"deny\"");
    assert_eq!(some[0], "socket", "what is restricted comes first: {some:?}");
    assert!(some.contains(&"openat2") && some.contains(&"write"), "{some:?}");
    assert!(!some.contains(&"pread64"), "read does that: {some:?}");
    let everything = of(&["version = 1\ndefault = \"allow\"\n"], None);
    assert_eq!(severity(&everything, "system calls"), None);
}

#[test]
fn a_layer_closes_what_another_leaves_open() {
    let open = denying("[ops]\nfutex_wait = \"allow\"\nwaitid = \"allow\"");
    let closing = "version = 1\ndefault = \"allow\"\n[ops]\nfutex_wait = \"deny\"\n[setup]\ndeny_flags = [\"SQPOLL\"]\n";
    let exposures = of(&[&open, closing], None);
    assert_eq!(severity(&exposures, "futex_wait"), None);
    assert_eq!(severity(&exposures, "rings with SQPOLL"), None);
    assert_eq!(severity(&exposures, "waitid"), Some(Severity::Medium));
    let waitid = exposures.iter().find(|one| one.subject.to_string() == "waitid").expect("it is open");
    let keys: Vec<_> = waitid.rules.iter().map(|rule| rule.key.as_str()).collect();
    assert_eq!(keys, ["waitid", "default"], "a rule of each layer");
}

#[test]
fn a_release_without_the_bugs_leaves_notes() {
    let policy = denying("[ops]\nfutex_wait = \"allow\"\nwaitid = \"allow\"");
    for (release, futex, waitid) in [
        (None, Severity::Medium, Severity::Medium),
        (Some("6.12.43"), Severity::Medium, Severity::Medium),
        (Some("6.12.44"), Severity::Note, Severity::Medium),
        (Some("7.1"), Severity::Note, Severity::Note),
        (Some("6.6.9"), Severity::Note, Severity::Note),
    ] {
        let exposures = of(&[&policy], release);
        assert_eq!(severity(&exposures, "futex_wait"), Some(futex), "{release:?}");
        assert_eq!(severity(&exposures, "waitid"), Some(waitid), "{release:?}");
        assert!(exposures.is_sorted_by_key(|one| std::cmp::Reverse(one.severity)));
    }
}

#[test]
fn a_policy_that_allows_everything_leads_to_every_bug_and_what_is_written_closes_it() {
    let exposures = of(&["version = 1\ndefault = \"allow\"\n"], None);
    for bug in VULNERABILITIES {
        let is_told = exposures.iter().any(|one| one.bugs.iter().any(|told| told.vulnerability == bug));
        assert!(is_told, "{}", bug.cve);
    }
    let with_bugs: Vec<_> = exposures.iter().filter(|one| !one.bugs.is_empty()).collect();
    let mut tables: [String; 2] = Default::default();
    let mut lists: [Vec<&str>; 2] = Default::default();
    for one in &with_bugs {
        let remedy = one.remedy.as_deref().unwrap_or_else(|| panic!("{}", one.subject));
        let (table, text) = remedy.split_once(' ').expect("a table and what to write in it");
        match table {
            "[ops]" => tables[0] += &(text.replace("; ", "\n") + "\n"),
            "[all]" => tables[1] += &(text.to_owned() + "\n"),
            "[register]" => lists[0].push(text),
            "[setup]" => lists[1].push(text),
            other => panic!("{other}"),
        }
    }
    let inside = |texts: &[&str]| {
        let inner = texts.iter().map(|text| {
            let (_, list) = text.split_once('[').expect("a list");
            list.trim_end_matches(']').to_owned()
        });
        inner.collect::<Vec<_>>().join(", ")
    };
    let closed = format!(
        "version = 1\ndefault = \"allow\"\n[all]\n{}[ops]\n{}[register]\ndefault = \"allow\"\ndeny = [{}]\n[setup]\ndeny_flags = [{}]\n",
        tables[1],
        tables[0],
        inside(&lists[0]),
        inside(&lists[1]),
    );
    let exposures = of(&[&closed], None);
    assert!(exposures.iter().all(|one| one.bugs.is_empty()), "{closed}\n{exposures:#?}");
}
