//! Profiles as Kubernetes has them, in JSON and in YAML, and what is said of them besides.

use crate::compare::import;
use crate::oracle::Place;
use ringwarden_seccomp_import::{Import, ImportError, Imported};

const PLAIN: Place<'static> = Place { capabilities: &[], kernel: (6, 10) };

fn read(text: &str, profile: Option<&str>) -> Result<Imported, ImportError> {
    let import = Import {
        name: "imported".to_owned(),
        origin: "profile.json".to_owned(),
        capabilities: Vec::new(),
        kernel: (6, 10),
        allow: Vec::new(),
        profile: profile.map(str::to_owned),
    };
    import.seccomp(text)
}

fn refused(text: &str) -> String {
    read(text, None).expect_err(text).to_string()
}

/// What `kubectl get seccompprofile -o yaml` prints.
const YAML: &str = "\
# a comment
apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata:
  annotations:
    note: 'of a server: \"x\"'
  creationTimestamp: \"2026-01-02T03:04:05Z\"
  finalizers:
  - in-use-by-active-pods
  generation: 1
  managedFields:
  - apiVersion: security-profiles-operator.x-k8s.io/v1beta1
    fieldsType: FieldsV1
    fieldsV1:
      f:spec:
        .: {}
        f:defaultAction: {}
    manager: kubectl
  name: one
  namespace: apps
spec:
  defaultAction: SCMP_ACT_ERRNO
  disabled: false
  state: Enabled
  architectures:
  - SCMP_ARCH_X86_64
  syscalls:
  - action: SCMP_ACT_ALLOW
    names: [read, pread64, preadv2]
  - action: SCMP_ACT_ALLOW
    args:
    - index: 0
      op: SCMP_CMP_EQ
      value: 0x1
    names:
    - socket
status:
  conditions: []
  localhostProfile: operator/apps/one.json
  status: Installed
";

const JSON: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
    {"names": ["read", "pread64", "preadv2"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 1}]}]}"#;

fn object(name: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "SeccompProfile", "metadata": {{"name": "{name}", "namespace": "apps",
            "managedFields": [{{"fieldsV1": {{"f:spec": {{}}}}}}]}}, "spec": {spec}, "status": {{"status": "Installed"}}}}"#
    )
}

#[test]
fn objects_of_an_api_server_are_read() {
    let expected = import(JSON, &PLAIN);
    for text in [
        YAML.to_owned(),
        object("one", JSON),
        object("one", &JSON.replacen('{', r#"{"state": "Enabled", "disabled": false, "#, 1)),
        object("one", &JSON.replacen('{', r#"{"targetWorkload": "web", "#, 1)),
        format!("\u{feff}{YAML}"),
        format!(r#"{{"kind": "List", "items": [{}]}}"#, object("one", JSON)),
        // Items of a typed list need not say what they are.
        format!(r#"{{"kind": "SeccompProfileList", "items": [{{"metadata": {{}}, "spec": {JSON}}}]}}"#),
        format!("---\n{YAML}"),
        format!("apiVersion: v1\nkind: Pod\nspec: {{}}\n---\n{YAML}"),
    ] {
        let imported = read(&text, None).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!((imported.policy, imported.warnings), (expected.clone(), Vec::new()), "{text}");
    }
}

#[test]
fn of_several_profiles_one_is_chosen() {
    let other = r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#;
    let json = format!(r#"{{"kind": "List", "items": [{}, {}]}}"#, object("two", other), object("one", JSON));
    let yaml = format!(
        "kind: SeccompProfile\nmetadata: {{name: two, namespace: apps}}\nspec: {{defaultAction: SCMP_ACT_ALLOW}}\n---\n{YAML}"
    );
    for text in [json, yaml] {
        assert_eq!(refused(&text), "choose a profile by `--name`: apps/two, apps/one");
        assert!(read(&text, Some("three")).is_err());
        for (name, profile) in [("one", JSON), ("apps/one", JSON), ("two", other)] {
            assert_eq!(read(&text, Some(name)).expect("there").policy, import(profile, &PLAIN));
        }
    }
    assert_eq!(refused(r#"{"items": []}"#), "there is no seccomp profile in this list");
}

#[test]
fn objects_that_are_not_in_force_or_not_whole_are_refused() {
    let with = |key: &str| object("one", &JSON.replacen('{', &format!("{{{key}, "), 1));
    for (text, words) in [
        (with(r#""disabled": true"#), "not in force: `spec.disabled` is true"),
        (with(r#""state": "Disabled""#), "not in force: `spec.state` is `Disabled`"),
        (with(r#""baseProfileName": "runc-v1.1""#), "adds to another one"),
        (YAML.replace("disabled: false", "disabled: true"), "not in force: `spec.disabled` is true"),
        (object("one", JSON).replace("\"SeccompProfile\"", "\"Pod\""), "this is a Pod"),
        (JSON.replacen('{', "{\"disabled\": true, ", 1), "unknown field `disabled`"),
        (JSON.replacen('{', "{\"targetWorkload\": \"web\", ", 1), "unknown field `targetWorkload`"),
        // Places are those of the YAML.
        (YAML.replace("index: 0", "index: 7"), "32:"),
        (YAML.replace("names:\n    - socket", "nmaes:\n    - socket"), "35:"),
        (YAML.replace("value: 0x1", "value: 01"), "34:"),
        (YAML.replace("  disabled: false", "  disabled: false\n  disabled: false"), "duplicate field"),
        ("a: [1\nb: 2\n".to_owned(), ":"),
        ("hello".to_owned(), "1:"),
    ] {
        assert!(refused(&text).contains(words), "{}\n{text}", refused(&text));
    }
}

#[test]
fn what_may_be_a_mistake_is_told() {
    let rule = |name: &str| format!(r#"{{"names": ["{name}"], "action": "SCMP_ACT_ALLOW"}}"#);
    for (profile, expected) in [
        (
            format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{}]}}"#, rule("opneat")),
            "`opneat` is not a system call that is known here; did you mean `openat`?",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock"}"#.to_owned(),
            "`listenerPath` names a program",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}"#.to_owned(),
            "`listenerPath` names a program",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["bind"], "action": "SCMP_ACT_NOTIFY"}]}"#
                .to_owned(),
            "`SCMP_ACT_NOTIFY` leaves calls to another program",
        ),
    ] {
        let Imported { warnings, policy, .. } = read(&profile, None).expect("a profile");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(expected), "{warnings:?}");
        assert!(policy.contains("# Note: `"), "{policy}");
    }
    for name in
        ["read", "mmap2", "clock_gettime64", "arm_fadvise64_64", "riscv_hwprobe", "s390_runtime_instr"]
    {
        let profile = format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{}]}}"#, rule(name));
        assert_eq!(read(&profile, None).expect("a profile").warnings, Vec::<String>::new());
    }
}

/// Conditions that always come out the same are none in the policy: it would be refused for them.
#[test]
fn conditions_that_say_nothing_are_left_out() {
    let rule = |value: u32| {
        format!(
            r#"{{"names": ["socket"], "action": "SCMP_ACT_ALLOW",
                "args": [{{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 1, "valueTwo": {value}}}]}}"#
        )
    };
    let profile = format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{}, {}]}}"#, rule(0), rule(1));
    let policy = read(&profile, None).expect("a profile").policy;
    assert!(policy.contains("\nsocket = \"allow\"\n"), "{policy}");
}
