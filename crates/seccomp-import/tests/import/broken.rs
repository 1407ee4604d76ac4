//! Files that are no profiles: each is refused, at the place where it goes wrong.

use ringwarden_seccomp_import::{Import, ImportError, ReadError};

/// Where reading ends, and words of the reason.
fn refused(json: &str) -> (usize, usize, String) {
    let import = Import {
        name: String::new(),
        origin: String::new(),
        capabilities: Vec::new(),
        kernel: (6, 10),
        allow: Vec::new(),
        profile: None,
    };
    match import.seccomp(json) {
        Err(ImportError::Profile(ReadError::Place { line, column, message })) => (line, column, message),
        other => panic!("{other:?} of {json}"),
    }
}

#[test]
fn mistakes_have_places() {
    let rule = |rule: &str| format!("{{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n\"syscalls\": [\n{rule}]}}");
    let args = |args: &str| {
        rule(&format!("{{\"names\": [\"socket\"], \"action\": \"SCMP_ACT_ALLOW\",\n\"args\": [{args}]}}"))
    };
    for (json, line, words) in [
        (String::new(), 1, "this is empty"),
        ("# nothing\n---\n".to_owned(), 1, "this is empty"),
        ("nonsense".to_owned(), 1, "a profile is an object"),
        ("[]".to_owned(), 1, "a profile is an object"),
        ("{}".to_owned(), 1, "it has neither `defaultAction` nor `syscalls`"),
        ("{\"syscalls\": []}".to_owned(), 1, "missing field `defaultAction`"),
        ("{\n\"defaultAction\": \"SCMP_ACT_ALLOW\"".to_owned(), 2, "EOF"),
        (
            "{\n\"defaultAction\": \"ALLOW\"}".to_owned(),
            2,
            "unknown variant `ALLOW`, expected one of `SCMP_ACT_ALLOW`",
        ),
        ("{\n\"defaultAction\": 0}".to_owned(), 2, "expected"),
        (
            "{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"defaultaction\": 1}".to_owned(),
            2,
            "unknown field `defaultaction`",
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"defaultAction\": \"SCMP_ACT_KILL\"}".to_owned(),
            2,
            "duplicate field",
        ),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"syscalls\": {}}".to_owned(), 2, "expected a sequence"),
        (
            "{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"defaultErrnoRet\": -1}".to_owned(),
            2,
            "invalid value: integer `-1`",
        ),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\"}\n}".to_owned(), 2, "trailing characters"),
        (rule("{\"action\": \"SCMP_ACT_ALLOW\"}"), 3, "a rule without `names`"),
        (rule("{\"names\": [], \"action\": \"SCMP_ACT_ALLOW\"}"), 3, "a rule without `names`"),
        (rule("{\"names\": [\"\"], \"action\": \"SCMP_ACT_ALLOW\"}"), 3, "name of a system call is empty"),
        (
            rule("{\"name\": \"a\", \"names\": [\"b\"], \"action\": \"SCMP_ACT_ALLOW\"}"),
            3,
            "`name` and `names`",
        ),
        (rule("{\"names\": [\"read\"]}"), 3, "missing field `action`"),
        (rule("{\"names\": \"read\", \"action\": \"SCMP_ACT_ALLOW\"}"), 3, "expected a sequence"),
        (rule("{\"names\": [7], \"action\": \"SCMP_ACT_ALLOW\"}"), 3, "expected a string"),
        (
            rule("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_PERMIT\"}"),
            3,
            "unknown variant `SCMP_ACT_PERMIT`",
        ),
        (
            rule("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"exclude\": {}}"),
            3,
            "unknown field `exclude`, expected one of",
        ),
        (
            rule("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"excludes\": {\"cap\": []}}"),
            3,
            "unknown field `cap`",
        ),
        (
            rule(
                "{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"caps\": \"CAP_BPF\"}}",
            ),
            3,
            "expected a sequence",
        ),
        (
            rule(
                "{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"minKernel\": \"new\"}}",
            ),
            3,
            "`new` is not a kernel version such as `4.8`",
        ),
        (
            args("{\"index\": 6, \"value\": 0, \"op\": \"SCMP_CMP_EQ\"}"),
            4,
            "no system call has an argument 6",
        ),
        (args("{\"index\": -1, \"value\": 0, \"op\": \"SCMP_CMP_EQ\"}"), 4, "invalid value"),
        (args("{\"index\": 0, \"value\": -1, \"op\": \"SCMP_CMP_EQ\"}"), 4, "invalid value: integer `-1`"),
        (
            args("{\"index\": 0, \"value\": 18446744073709551616, \"op\": \"SCMP_CMP_EQ\"}"),
            4,
            "invalid type: floating point",
        ),
        (args("{\"index\": 0, \"value\": 1.5, \"op\": \"SCMP_CMP_EQ\"}"), 4, "invalid type: floating point"),
        (args("{\"index\": 0, \"value\": \"2\", \"op\": \"SCMP_CMP_EQ\"}"), 4, "invalid type: string"),
        (
            args("{\"index\": 0, \"value\": 2, \"op\": \"EQ\"}"),
            4,
            "unknown variant `EQ`, expected one of `SCMP_CMP_NE`",
        ),
        (args("{\"index\": 0, \"value\": 2}"), 4, "missing field `op`"),
        (
            args("{\"index\": 0, \"value\": 2, \"op\": \"SCMP_CMP_EQ\", \"valuetwo\": 1}"),
            4,
            "unknown field `valuetwo`",
        ),
        ("{\"linux\": {},\n\"ociVersion\": \"1.0\"}".to_owned(), 1, "no seccomp profile"),
        ("{\"ociVersion\": \"1.0\"}".to_owned(), 1, "missing field `linux`"),
        (
            "{\"linux\": {\n\"seccomp\": {\"defaultAction\": \"ALLOW\"}}}".to_owned(),
            2,
            "unknown variant `ALLOW`",
        ),
        (
            "{\"kind\": \"Pod\",\n\"spec\": {\"containers\": []}}".to_owned(),
            1,
            "this is a Pod, and not a SeccompProfile",
        ),
    ] {
        let (at, column, message) = refused(&json);
        assert!(message.contains(words), "{json}: {message}");
        assert!(!message.contains(" line "), "the place is there twice: {message}");
        assert_eq!(at, line, "{json}: {message}");
        assert!(column <= json.lines().nth(at - 1).map_or(0, str::len) + 1, "{json}: {column}");
    }
}

/// Whatever is cut out of a good file, nobody panics.
#[test]
fn parts_of_files_are_refused_or_read() {
    let whole = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["socket", "openat"], "action":
        "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}], "includes": {"caps":
        ["CAP_BPF"], "minKernel": "4.8"}}]}"#;
    for end in 0..whole.len() {
        refused(&whole[..end]);
        let without = format!("{}{}", &whole[..end], &whole[end + 1..]);
        let import = Import {
            name: String::new(),
            origin: String::new(),
            capabilities: Vec::new(),
            kernel: (6, 10),
            allow: Vec::new(),
            profile: None,
        };
        if let Err(error) = import.seccomp(&without) {
            assert!(matches!(error, ImportError::Profile(ReadError::Place { line: 1..=3, .. })), "{error:?}");
        }
    }
}

/// Who brings the file of another program learns whose it is, and what is read.
#[test]
fn files_of_other_programs_are_told() {
    for (text, words) in [
        (
            r#"{"api": {"default_action": "trap", "filter_action": "allow", "filter": [{"syscall": "read"}]}}"#,
            "a seccomp filter of Firecracker: what is read are profiles of OCI runtimes, Docker",
        ),
        (r#"{"main": {"mismatch_action": "trap", "match_action": "allow", "filter": []}}"#, "of Firecracker"),
        ("2\ndenylist allow\nmount errno 1\n", "a seccomp policy of LXC"),
        ("# old\n1\nwhitelist\n0\n", "a seccomp policy of LXC"),
        ("POLICY web {\n  ALLOW { read, write }\n}\nUSE web DEFAULT KILL\n", "of Kafel"),
        ("name: \"web\"\nseccomp_string: \"ERRNO(1) { bind }\"\n", "of Kafel"),
        ("# server\nread: 1\nopenat: arg2 == O_RDONLY; return 1\n", "a seccomp policy of Minijail"),
        (
            "@include /etc/common.policy\nioctl: arg1 == FS_POLICY || \\\n  arg1 == 7\nread: 1 # a file\n",
            "of Minijail",
        ),
        ("[Service]\nSystemCallFilter=@system-service\n", "a unit of systemd"),
        ("seccomp:\n  default_action: allow\n  syscalls: []\n", "a seccomp policy of Elastic Beats"),
        (r#"{"version": "1.0.0", "hook": {"path": "/bin/true"}}"#, "it has neither `defaultAction` nor"),
        ("{\"defaultAction\": {{ .Values.action }}}", "this is a template: fill it in first"),
        ("kind: SeccompProfile\nspec:\n  {{- if .Values.on }}\n  a: 1\n", "this is a template"),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\" // all\n}", "JSON has no comments: take this one out"),
        ("{\n  /* all */\n  \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}", "JSON has no comments"),
        ("{\"syscalls\": [\n{\"names\": [\"read\",\n]}]}", "a comma with nothing after it"),
        ("version: 1\nread: yes\n", "it has neither `defaultAction` nor"),
        (r#"{"kind": "ConfigMap", "data": {"p.json": "{}"}}"#, "import a profile out of its `data`"),
        ("kind: Deployment\nspec: {}\n", "import the file that its `localhostProfile` names"),
        ("defaultAction: &a SCMP_ACT_ALLOW\n", "anchors and tags are not read: write the value out"),
    ] {
        let (.., message) = refused(text);
        assert!(message.contains(words), "{text}: {message}");
        assert!(message.len() < 200, "{text}: {message}");
    }
}

/// A mistake in a profile stays what it is, whatever the words around it.
#[test]
fn profiles_are_not_taken_for_files_of_other_programs() {
    for (text, words) in [
        ("{\"defaultAction\": \"ALLOW\", \"comment\": \"DEFAULT ALLOW, POLICY {\"}", "unknown variant"),
        ("{\"comment\": \"// {{ https://a\",\n\"defaultAction\": \"ALLOW\"}", "unknown variant"),
        ("defaultAction: SCMP_ACT_ALLOW\nsyscalls:\n- names: [a]\n  args:\n  - index: 1\n", "missing field"),
    ] {
        assert!(refused(text).2.contains(words), "{text}: {}", refused(text).2);
    }
}
