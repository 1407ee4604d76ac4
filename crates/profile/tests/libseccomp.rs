//! Profiles for an agent as the filters that libseccomp makes of them, which is what container runtimes put in force.

#![cfg(target_arch = "x86_64")]

use ringwarden_cbpf::{Insn, Program};
use ringwarden_filter::RegisterRules;
use ringwarden_profile::{Action, Arg, Listener, NATIVE, Operator, Profile, Rule, Setting};
use ringwarden_uapi::RegisterOp;
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PLAIN: Setting<'_> = Setting { capabilities: &[], kernel: (6, 10) };

// `include/uapi/linux/seccomp.h`
const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const TRACE: u32 = 0x7ff0_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ERRNO: u32 = 0x0005_0000;
const TRAP: u32 = 0x0003_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

const EACCES: u32 = ERRNO | libc::EACCES as u32;
const EINVAL: u32 = ERRNO | libc::EINVAL as u32;
const EBUSY: u32 = ERRNO | libc::EBUSY as u32;

/// A table of system calls: its architecture, what is added to its numbers, and its number of `seccomp`.
const TABLES: [(u32, u32, u32); 3] =
    [(0xc000_003e, 0, 317), (0x4000_0003, 0, 354), (0xc000_003e, 0x4000_0000, 317)];
const SETUP: u32 = libc::SYS_io_uring_setup as u32;
const ENTER: u32 = libc::SYS_io_uring_enter as u32;
const REGISTER: u32 = libc::SYS_io_uring_register as u32;
const PIDFD_GETFD: u32 = libc::SYS_pidfd_getfd as u32;

fn number(action: Action, errno: Option<u32>) -> u32 {
    match action {
        Action::Allow => ALLOW,
        Action::Log => LOG,
        Action::Errno => ERRNO | errno.unwrap_or(1),
        Action::Trace => TRACE | errno.unwrap_or(1),
        Action::Trap => TRAP,
        Action::Notify => NOTIFY,
        Action::Kill | Action::KillThread => 0,
        Action::KillProcess => KILL_PROCESS,
    }
}

fn operator(op: Operator) -> u32 {
    match op {
        Operator::Ne => 1,
        Operator::Lt => 2,
        Operator::Le => 3,
        Operator::Eq => 4,
        Operator::Ge => 5,
        Operator::Gt => 6,
        Operator::MaskedEq => 7,
    }
}

/// The rules that apply, as the C program reads them, which does with them what runtimes do.
fn rules(profile: &Profile) -> String {
    let mut text = format!("{}\n", number(profile.default_action, profile.default_errno_ret));
    let condition =
        |arg: &Arg| format!(" {} {} {} {}", arg.index, operator(arg.op), arg.value, arg.value_two);
    for rule in profile.syscalls.iter().filter(|rule| !profile.repeats_default(rule)) {
        let action = number(rule.action, rule.errno_ret);
        for name in &rule.names {
            match rule.is_several() {
                true => {
                    rule.args.iter().for_each(|arg| text += &format!("{action} {name} 1{}\n", condition(arg)))
                }
                false => {
                    let conditions: String = rule.args.iter().map(condition).collect();
                    text += &format!("{action} {name} {}{conditions}\n", rule.args.len());
                }
            }
        }
    }
    text
}

/// The filter of a profile.
struct Filter(Program);

impl Filter {
    /// `None` where libseccomp takes no such rules.
    fn new(maker: &Path, profile: &Profile) -> Option<Self> {
        let profile = profile.resolved(PLAIN).expect("numbers");
        let others = profile.architectures.iter().filter(|name| *name != NATIVE);
        let names = others.map(|name| name.trim_start_matches("SCMP_ARCH_").to_ascii_lowercase());
        let mut child = Command::new(maker)
            .args(names)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", maker.display()));
        let text = rules(&profile);
        let mut input = child.stdin.take().expect("a pipe");
        // One that refuses a rule reads no more.
        let _ = input.write_all(text.as_bytes());
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        match output.status.code() {
            Some(0) => {
                let insns: Vec<_> =
                    output.stdout.as_chunks().0.iter().map(|insn| Insn::from_ne_bytes(*insn)).collect();
                // A `struct seccomp_data` has 64 bytes. Longer programs no kernel takes (`BPF_MAXINSNS`).
                Some(Self(Program::new(&insns, 64).expect("a filter")))
            }
            Some(1) => None,
            _ => panic!("{output:?}\n{text}"),
        }
    }

    fn run(&self, arch: u32, call: u32, arguments: [u64; 6]) -> u32 {
        let halves = arguments.iter().flat_map(|&argument| [argument as u32, (argument >> 32) as u32]);
        let words: Vec<u32> = [call, arch, 0, 0].into_iter().chain(halves).collect();
        self.0.run(&words)
    }

    /// The answer, which is the same in every table, to a call whose number is the same there, too.
    fn answer(&self, call: u32, arguments: [u64; 6]) -> u32 {
        let answers = TABLES.map(|(arch, marked, _)| self.run(arch, call | marked, of(arch, arguments)));
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{call} {arguments:x?}: {answers:x?}");
        answers[0]
    }
}

/// What programs of an architecture can say.
fn of(arch: u32, arguments: [u64; 6]) -> [u64; 6] {
    if arch == TABLES[1].0 { arguments.map(|argument| argument & 0xffff_ffff) } else { arguments }
}

fn skip(reason: &str) {
    assert!(env::var_os("RINGWARDEN_REQUIRE_ALL").is_none(), "{reason}");
    eprintln!("skipped: {reason}");
}

/// The C program, where it can be built.
fn maker() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seccomp-import/tests/import/libseccomp.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libseccomp");
    // Tests run at once.
    static BUILT: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let built = Command::new("cc").arg("-o").arg(&program).arg(source).arg("-l:libseccomp.so.2").output();
        built.is_ok_and(|output| output.status.success())
    });
    if !built {
        skip("no C compiler, or no libseccomp");
    }
    built.then_some(program)
}

/// Profiles that runtimes have, and some that others might.
fn profiles() -> Vec<Profile> {
    let of_others = [
        // Lists of what is refused.
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64",
            "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}], "syscalls": [
            {"names": ["io_uring_setup", "io_uring_enter", "io_uring_register", "mount"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["kexec_load"], "action": "SCMP_ACT_KILL"}]}"#,
        r#"{"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{"names": ["seccomp", "read"], "action": "SCMP_ACT_ALLOW"}]}"#,
        r#"{"defaultAction": "SCMP_ACT_KILL", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{"names": ["seccomp", "io_uring_register", "read"], "action": "SCMP_ACT_ALLOW"}]}"#,
    ];
    let mut profiles: Vec<_> =
        of_others.iter().map(|json| Profile::read(json, None).expect("a profile")).collect();
    for (name, of_debian) in [
        (
            "docker-default.json",
            "/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json",
        ),
        ("podman-default.json", "/usr/share/containers/seccomp.json"),
    ] {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/seccomp").join(name);
        match [beside.as_path(), Path::new(of_debian)].iter().find_map(|path| fs::read_to_string(path).ok()) {
            Some(text) => profiles.push(Profile::read(&text, None).expect("a profile")),
            None => skip(&format!("neither {} nor {of_debian} is here", beside.display())),
        }
    }
    profiles
}

fn listener(register: &RegisterRules) -> Listener<'_> {
    Listener {
        socket: "/run/agent.sock",
        metadata: "web",
        wait_killable: false,
        register,
        sqpoll: false,
        messages: false,
        probes: true,
    }
}

/// What becomes of a register call, without its profile's errors.
fn expected(listener: &Listener<'_>, op: RegisterOp, is_descriptor: bool) -> u32 {
    let messages = listener.messages || op != RegisterOp::REGISTER_SEND_MSG_RING;
    match op {
        _ if !listener.register.allow(op) || !messages => EACCES,
        RegisterOp::REGISTER_RESTRICTIONS | RegisterOp::REGISTER_BPF_FILTER if !is_descriptor => EINVAL,
        RegisterOp::REGISTER_RESTRICTIONS | RegisterOp::REGISTER_ENABLE_RINGS => NOTIFY,
        RegisterOp::REGISTER_PROBE if listener.probes => NOTIFY,
        _ => ALLOW,
    }
}

#[test]
fn register_calls_are_told_apart_in_every_disguise_and_table() {
    let Some(maker) = maker() else { return };
    let mut few = RegisterRules::NONE;
    few.set(RegisterOp::REGISTER_PROBE, true);
    few.set(RegisterOp::REGISTER_FILES, true);
    few.set(RegisterOp::REGISTER_ENABLE_RINGS, true);
    for profile in profiles() {
        for (register, probes, messages) in
            [(&RegisterRules::ALL, true, false), (&few, true, true), (&RegisterRules::ALL, false, true)]
        {
            let listener = Listener { probes, messages, ..listener(register) };
            let fitted = profile.clone().for_agent(&listener).expect("fits");
            let filter = Filter::new(&maker, &fitted).expect("rules that libseccomp takes");
            let refusal = match fitted.default_action {
                Action::Errno => ERRNO | fitted.default_errno_ret.unwrap_or(1),
                _ if register.allow_unknown() => EINVAL,
                _ => EACCES,
            };
            let beyond =
                (6..31).flat_map(|bit| [1 << bit, 1 << bit | 11, 1 << bit | 12, u32::MAX >> (31 - bit)]);
            for op in (0..64).chain(beyond) {
                for (disguise, fd) in [0, 1 << 31, 5 << 32, u64::MAX << 31]
                    .into_iter()
                    .flat_map(|disguise| [3, 7 << 32, u64::MAX, 0xffff_ffff].map(|fd| (disguise, fd)))
                {
                    let answer = filter.answer(REGISTER, [fd, u64::from(op) | disguise, 0, 0, 0, 0]);
                    let expected = match op {
                        0..RegisterOp::LAST => expected(&listener, RegisterOp(op), fd as u32 != u32::MAX),
                        _ => refusal,
                    };
                    assert_eq!(answer, expected, "{op} {disguise:#x} {fd:#x} {listener:?}");
                }
            }
        }
    }
}

#[test]
fn rings_are_made_by_the_agent_and_used_without_it() {
    let Some(maker) = maker() else { return };
    for profile in profiles() {
        for sqpoll in [false, true] {
            let listener = Listener { sqpoll, ..listener(&RegisterRules::ALL) };
            let filter = Filter::new(&maker, &profile.clone().for_agent(&listener).expect("fits"))
                .expect("rules that libseccomp takes");
            assert_eq!(filter.answer(SETUP, [8, 0x1000, 0, 0, 0, 0]), NOTIFY);
            for (number, flags) in [0, 1, 16, 0xffff_ffff]
                .into_iter()
                .flat_map(|number| (0..64).map(move |flags| (number, flags)))
            {
                let wakes = sqpoll && number == 0 && flags & 2 != 0;
                let answer = filter.answer(ENTER, [3, number, 0, flags, 0, 0]);
                assert_eq!(answer, if wakes { NOTIFY } else { ALLOW }, "{number} {flags:#x}");
            }
        }
    }
}

/// Whatever the profile: where it allows `seccomp` it goes on to do so, but for listeners.
#[test]
fn no_container_has_a_listener_of_its_own() {
    let Some(maker) = maker() else { return };
    let old: Vec<_> = profiles();
    let conditions = [
        vec![],
        vec![Arg::masked(1, 0x11, 0x10)],
        vec![Arg { index: 1, value: 9, value_two: 0, op: Operator::Eq }],
        vec![Arg { index: 1, value: 1, value_two: 0, op: Operator::Eq }],
        vec![Arg::masked(1, 8, 0)],
        vec![Arg::masked(1, 0xff, 8)],
        vec![Arg { index: 0, value: 1, value_two: 0, op: Operator::Eq }, Arg::masked(1, 1, 0)],
        // A rule of each.
        vec![Arg::masked(1, 1, 1), Arg::masked(1, 2, 2)],
    ];
    let with_conditions = conditions.into_iter().map(|args| {
        let mut profile = old[old.len() - 1].clone();
        profile.syscalls.iter_mut().for_each(|rule| rule.names.retain(|name| name != "seccomp"));
        profile.syscalls.push(Rule::new("seccomp", Action::Allow, args));
        profile
    });
    let all: Vec<_> = old.iter().cloned().chain(with_conditions).collect();
    for profile in &all {
        let fitted = profile.clone().for_agent(&listener(&RegisterRules::ALL)).expect("fits");
        let again = fitted.clone().for_agent(&listener(&RegisterRules::ALL)).expect("fits");
        let [before, after, again] = [profile, &fitted, &again].map(|profile| {
            let of_call = profile.syscalls.iter().filter(|rule| rule.is_about("seccomp"));
            Filter::new(&maker, profile).unwrap_or_else(|| panic!("{:?}", of_call.collect::<Vec<_>>()))
        });
        for (operation, flags) in (0..4)
            .flat_map(|operation| (0..256).map(move |flags| (operation, flags)))
            .chain([(1, 5 << 32 | 8)])
        {
            for (arch, marked, seccomp) in TABLES {
                let arguments = of(arch, [operation, flags, 0x1000, 0, 0, 0]);
                let [before, after, again] =
                    [&before, &after, &again].map(|filter| filter.run(arch, seccomp | marked, arguments));
                let listens = flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0;
                match [ALLOW, LOG].contains(&before) {
                    true if listens => assert_eq!(after, EBUSY, "{flags:#x}"),
                    // A listener is refused by one rule for all.
                    false if listens => assert!(after == before || after == EBUSY, "{flags:#x} {after:#x}"),
                    _ => assert_eq!(after, before, "{flags:#x}"),
                }
                assert_eq!(again, after);
            }
        }
    }
    let compared =
        Rule::new("seccomp", Action::Allow, vec![Arg { index: 1, value: 1, value_two: 0, op: Operator::Ne }]);
    let mut profile = old[old.len() - 1].clone();
    profile.syscalls = vec![compared];
    let error = profile.for_agent(&listener(&RegisterRules::ALL)).expect_err("a condition").to_string();
    assert!(error.contains("argument 1, the flags, by SCMP_CMP_NE"), "{error}");
}

#[test]
fn nothing_else_changes() {
    let Some(maker) = maker() else { return };
    let mut random = fastrand::Rng::with_seed(7);
    for profile in profiles() {
        let fitted = profile.clone().for_agent(&listener(&RegisterRules::ALL)).expect("fits");
        let old = Filter::new(&maker, &profile).expect("rules");
        let new = Filter::new(&maker, &fitted).expect("rules");
        for (arch, marked, seccomp) in TABLES {
            for call in (0..600).filter(|call| ![SETUP, ENTER, REGISTER, PIDFD_GETFD, seccomp].contains(call))
            {
                for round in 0..16 {
                    // Conditions of profiles are about small numbers and flags.
                    let arguments = std::array::from_fn(|_| match round {
                        0..8 => random.u64(..64),
                        _ => random.u64(..) & random.u64(..) & random.u64(..),
                    });
                    let arguments = of(arch, arguments);
                    let [old, new] = [&old, &new].map(|filter| filter.run(arch, call | marked, arguments));
                    assert_eq!(old, new, "{call} {arguments:x?}");
                }
            }
            let taken = new.run(arch, PIDFD_GETFD | marked, [0; 6]);
            assert!(![ALLOW, LOG, NOTIFY].contains(&taken), "{taken:#x}");
        }
    }
}

/// The evaluator, by which profiles are judged where there is no libseccomp.
#[test]
fn the_evaluator_says_what_libseccomp_makes_of_a_profile() {
    let Some(maker) = maker() else { return };
    let mut random = fastrand::Rng::with_seed(11);
    for profile in profiles() {
        let fitted = profile.for_agent(&listener(&RegisterRules::ALL)).expect("fits");
        let filter = Filter::new(&maker, &fitted).expect("rules");
        for (call, number_of) in [
            ("io_uring_register", REGISTER),
            ("io_uring_setup", SETUP),
            ("io_uring_enter", ENTER),
            ("seccomp", TABLES[0].2),
            ("pidfd_getfd", PIDFD_GETFD),
            ("clone", libc::SYS_clone as u32),
            ("personality", libc::SYS_personality as u32),
        ] {
            for round in 0..512 {
                let arguments =
                    std::array::from_fn(|_| if round % 2 == 0 { random.u64(..64) } else { random.u64(..) });
                let (action, errno) = fitted.decide(call, &arguments, PLAIN).expect("rules that agree");
                let expected = number(action, (errno != 0).then_some(errno));
                assert_eq!(filter.run(TABLES[0].0, number_of, arguments), expected, "{call} {arguments:x?}");
            }
        }
    }
}
