//! `doctor` tells the truth: on this machine as whoever runs the tests and as an ordinary user, and where
//! something was taken away from it.
//!
//! What changes the whole machine is only done where `RINGWARDEN_GUEST` says that it is a guest of ours.

mod cgroup;
mod launch;

use cgroup::{Group, Of};
use launch::{Stage, finish, is_root, skip, skip_here};
use ringwarden_testring::{Ring, SetupFlags};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{PoisonError, RwLock};
use std::{env, fs, io};

/// Written to by whoever changes the machine.
static MACHINE: RwLock<()> = RwLock::new(());

fn stages() -> Vec<Stage> {
    if is_root() { vec![Stage::new(), Stage::unprivileged()] } else { vec![Stage::new()] }
}

struct Diagnosis {
    status: i32,
    report: Value,
}

impl Diagnosis {
    fn of(command: Command) -> Self {
        let output = finish(command);
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        Self { status: output.status.code().expect("an exit"), report }
    }

    fn check(&self, id: &str) -> &Value {
        let checks = self.report["checks"].as_array().expect("checks");
        checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id}: {}", self.report))
    }

    fn answer(&self, id: &str) -> &Value {
        &self.check(id)["answer"]
    }

    fn detail(&self, id: &str) -> &str {
        self.check(id)["detail"].as_str().unwrap_or_default()
    }

    fn usable(&self, lane: &str) -> bool {
        self.report["lanes"][lane]["usable"] == true
    }

    fn advice(&self) -> &str {
        self.report["advice"].as_str().expect("advice")
    }
}

fn doctor(stage: &Stage) -> Command {
    let mut command = stage.native(stage.ringwarden());
    command.args(["doctor", "--format", "json"]);
    command
}

/// What is known of kernels whose releases are not patched: whether they have filters, and whether
/// later filters reach older rings.
fn known_kernel() -> Option<(bool, Option<bool>)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut parts = release.split(['.', '-']);
    let version = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?);
    match version {
        (..=6, _) => Some((false, None)),
        (7, 2) => Some((true, Some(true))),
        (7, 3) => Some((true, Some(false))),
        _ => None,
    }
}

#[test]
fn it_knows_this_machine() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    for stage in stages() {
        let found = Diagnosis::of(doctor(&stage));
        if let Err(error) = Ring::new(1, SetupFlags::empty()) {
            assert!(!stage.is_privileged() || found.answer("io_uring") == false, "{error}");
            continue;
        }
        assert_eq!(found.answer("io_uring"), true, "{}", found.report);
        assert_eq!(found.status == 0, found.usable("tasks") || found.usable("split"));
        let Some((filters, leak)) = known_kernel() else { continue };
        assert_eq!(found.answer("filters"), filters, "{}", found.report);
        assert_eq!(found.usable("tasks"), filters);
        for id in ["denials", "survive_exec", "survive_restrictions", "register_lists_hold"] {
            assert_eq!(*found.answer(id), if filters { Value::Bool(true) } else { Value::Null }, "{id}");
        }
        assert_eq!(*found.answer("later_filters_leak"), leak.map_or(Value::Null, Value::Bool));
        if filters {
            let payloads = serde_json::json!({ "connect": 24, "openat": 24, "openat2": 24, "socket": 12 });
            assert_eq!(found.report["payloads"], payloads);
            let model = if leak == Some(true) { "7.2" } else { "7.3" };
            assert_eq!(found.report["lanes"]["tasks"]["model"], model);
            assert_eq!(found.report["lanes"]["auto"], "tasks");
        }
    }
}

/// The way container runtimes switch io_uring off, and its variants.
#[test]
fn it_sees_that_a_seccomp_filter_is_in_the_way() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let kill = libc::SECCOMP_RET_KILL_PROCESS;
    let errno = |errno: i32| libc::SECCOMP_RET_ERRNO | errno as u32;
    for stage in stages() {
        for (action, word) in
            [(errno(libc::EPERM), "EPERM"), (errno(libc::ENOSYS), "ENOSYS"), (kill, "kills")]
        {
            let mut command = doctor(&stage);
            // SAFETY: two system calls between fork and exec.
            unsafe { command.pre_exec(move || block_io_uring(action)) };
            let found = Diagnosis::of(command);
            assert_eq!(found.status, 1, "{}", found.report);
            assert_eq!(found.answer("io_uring"), false, "{word}");
            assert!(found.detail("io_uring").contains("seccomp"), "{}", found.report);
            assert!(found.detail("io_uring").contains(word), "{}", found.report);
            assert_eq!(found.answer("filters"), false, "{word}");
            assert!(!found.usable("tasks") && !found.usable("split"));
            assert!(found.advice().contains("seccomp profile"), "{}", found.advice());
            assert!(found.advice().contains("ringwarden export seccomp"), "{}", found.advice());
        }
    }
}

/// Answers the three calls in the kernel's place.
fn block_io_uring(action: u32) -> io::Result<()> {
    use libc::{BPF_ABS, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let insn = |code: u32, jt, jf, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let program = [
        insn(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
        insn(BPF_JMP | BPF_JGE | BPF_K, 0, 2, libc::SYS_io_uring_setup as u32),
        insn(BPF_JMP | BPF_JGT | BPF_K, 1, 0, libc::SYS_io_uring_register as u32),
        insn(BPF_RET | BPF_K, 0, 0, action),
        insn(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: `program` names instructions that live for the call.
    let ret =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if ret == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[test]
fn it_sees_another_supervisor() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    for stage in stages() {
        let mut command = stage.guarded("version = 1\ndefault = \"allow\"\n", stage.ringwarden());
        command.args(["doctor", "--format", "json"]);
        let found = Diagnosis::of(command);
        assert_eq!(found.answer("notification"), false);
        assert!(found.detail("notification").contains("another supervisor"), "{}", found.report);
        assert!(!found.usable("split"));
    }
}

#[test]
fn people_get_a_plain_table_and_one_closing_sentence() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::new();
    let mut command = stage.native(stage.ringwarden());
    command.arg("doctor");
    let text = String::from_utf8(finish(command).stdout).expect("text");
    assert!(!text.contains('\x1b'), "{text}");
    for title in ["io_uring", "The kernel's filters", "What the guard stands on", "Lanes"] {
        assert!(text.lines().any(|line| line == title), "{text}");
    }
    let last = text.lines().last().expect("a line");
    assert_eq!(last, Diagnosis::of(doctor(&stage)).advice());
    assert!(last.ends_with('.') && text.lines().all(|line| line.trim_end() == line), "{text}");
}

#[test]
fn it_sees_what_sysctls_forbid() {
    if env::var_os("RINGWARDEN_GUEST").is_none() {
        eprintln!("skipped: changes the whole machine, so only in a guest");
        return;
    }
    let _machine = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    let set = |name: &str, value: &str| {
        fs::write(format!("/proc/sys/kernel/{name}"), value)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    };
    let (root, nobody) = (Stage::new(), Stage::unprivileged());
    for (disabled, group, root_may, nobody_may) in [
        ("2", "-1", false, false),
        ("1", "-1", true, false),
        ("1", "65534", true, true),
        ("0", "-1", true, true),
    ] {
        set("io_uring_disabled", disabled);
        set("io_uring_group", group);
        for (stage, may) in [(&root, root_may), (&nobody, nobody_may)] {
            let found = Diagnosis::of(doctor(stage));
            assert_eq!(found.answer("io_uring"), may, "{disabled} {group}: {}", found.report);
            assert_eq!(found.status == 0, may, "{}", found.report);
            if !may {
                let said = format!("kernel.io_uring_disabled is {disabled}");
                assert!(found.detail("io_uring").contains(&said), "{}", found.report);
                assert!(found.advice().contains("sysctl kernel.io_uring_disabled=0"), "{}", found.advice());
            }
        }
    }
    set("yama/ptrace_scope", "2");
    let (by_root, by_nobody) = (Diagnosis::of(doctor(&root)), Diagnosis::of(doctor(&nobody)));
    set("yama/ptrace_scope", "0");
    assert_eq!((by_root.answer("tracing"), by_nobody.answer("tracing")), (&true.into(), &false.into()));
    assert!(by_root.usable("split") && !by_nobody.usable("split"));
    assert!(by_nobody.detail("tracing").contains("ptrace_scope is 2"), "{}", by_nobody.report);
}

/// Nobody's, as those after it, so that nothing but the test has locked memory as that user.
const SOMEBODY: u32 = 65521;

fn with_rings(stage: &Stage, rings: u64, entries: u32) -> Command {
    let mut command = doctor(stage);
    command.args(["--rings", &rings.to_string(), "--entries", &entries.to_string()]);
    command
}

/// One of the limits that rings are held against.
fn limit<'a>(found: &'a Diagnosis, id: &str) -> &'a Value {
    let limits = found.report["workload"]["limits"].as_array().expect("limits");
    limits.iter().find(|limit| limit["id"] == id).unwrap_or_else(|| panic!("no {id}: {}", found.report))
}

fn lower(resource: libc::__rlimit_resource_t, to: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: a struct that lives for the call.
    if unsafe { libc::setrlimit(resource, &raw const limit) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[test]
fn descriptors_are_counted() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::new();
    for (rings, fits) in [(197, true), (198, false)] {
        let mut command = with_rings(&stage, rings, 1);
        // SAFETY: a system call between fork and exec.
        unsafe { command.pre_exec(|| lower(libc::RLIMIT_NOFILE, 200)) };
        let found = Diagnosis::of(command);
        assert_eq!(limit(&found, "descriptors")["answer"], fits, "{}", found.report);
        assert_eq!(limit(&found, "descriptors")["most"], 197);
        assert_eq!(found.report["workload"]["fits"], fits, "{}", found.report);
        if !fits {
            assert_eq!(found.status, 1);
            assert_eq!(found.report["workload"]["first"], "descriptors");
            assert!(found.advice().contains("`ulimit -n 201`"), "{}", found.advice());
        }
    }
}

#[test]
fn processes_that_cannot_be_started_are_told_from_what_is_refused() {
    if !is_root() {
        return skip("a user without any process: takes root");
    }
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::new();
    let mut command = with_rings(&stage, 1, 1);
    command.uid(SOMEBODY - 1).gid(SOMEBODY - 1);
    // SAFETY: a system call between fork and exec.
    unsafe { command.pre_exec(|| lower(libc::RLIMIT_NPROC, 1)) };
    let found = Diagnosis::of(command);
    assert_eq!(found.status, 1);
    assert_eq!(limit(&found, "processes")["answer"], false, "{}", found.report);
    assert!(found.advice().contains("`ulimit -u`"), "{}", found.advice());
}

/// Less descriptors than any lane needs.
#[test]
fn a_program_that_cannot_be_started_holds_up_nobody() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    for stage in stages() {
        let mut command = doctor(&stage);
        // SAFETY: a system call between fork and exec.
        unsafe { command.pre_exec(|| lower(libc::RLIMIT_NOFILE, 10)) };
        let found = Diagnosis::of(command);
        assert!(!found.usable("restricted") && !found.usable("split"), "{}", found.report);
    }
}

/// PostgreSQL's "could not setup io_uring queue: Cannot allocate memory" is foreseen, to the ring.
#[test]
fn as_many_rings_can_be_made_as_it_says_there_is_locked_memory_for() {
    const LIMIT: u64 = 1 << 20;
    if !is_root() {
        return skip("locked memory of a user who has none: takes root");
    }
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::new();
    // Another user each time, and for doctor, which tries rings: what has been closed counts until the kernel has come to it.
    for (user, entries) in (SOMEBODY..).step_by(2).zip([1, 100, 1024]) {
        let by = |user, mut command: Command| {
            command.uid(user).gid(user);
            // SAFETY: a system call between fork and exec.
            unsafe { command.pre_exec(|| lower(libc::RLIMIT_MEMLOCK, LIMIT)) };
            command
        };
        let found = Diagnosis::of(by(user, with_rings(&stage, 10_000, entries)));
        let most = limit(&found, "locked_memory")["most"].as_u64();
        let Some(most) = most else {
            // Linux 5.12 to 6.13.
            assert_eq!(found.report["workload"]["locked_per_ring"], Value::Null, "{}", found.report);
            return;
        };
        assert!((1..10_000).contains(&most), "{}", found.report);
        assert_eq!(limit(&found, "locked_memory")["answer"], false);
        assert!(found.advice().contains("`ulimit -l "), "{}", found.advice());
        let mut maker = by(user + 1, stage.native("/bin/true"));
        // SAFETY: system calls between fork and exec, and a vector.
        unsafe { maker.pre_exec(move || make_until_there_is_no_room(most, entries)) };
        assert!(finish(maker).status.success(), "{most} rings of {entries}");
    }
}

/// Succeeds if there is room for that many and no more.
fn make_until_there_is_no_room(most: u64, entries: u32) -> io::Result<()> {
    let make = || Ring::new(entries, SetupFlags::empty());
    let mut rings = Vec::new();
    loop {
        match make() {
            Ok(ring) => rings.push(ring),
            // Rings of another process that has ended take room until the kernel has come to it.
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && (rings.len() as u64) < most => {
                std::thread::yield_now();
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => break,
            Err(error) => return Err(error),
        }
    }
    if rings.len() as u64 == most { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
}

#[test]
fn a_limit_of_memory_is_named_with_what_raises_it() {
    const LIMIT: u64 = 512 << 20;
    if !is_root() {
        return skip("a memory cgroup: takes root");
    }
    let group = match Group::new(Of::Memory) {
        Ok(group) => group,
        Err(wrong) => return skip_here(&format!("a memory cgroup: {wrong}")),
    };
    let file = group.memory_limit();
    fs::write(&file, LIMIT.to_string()).expect("a limit");
    let file = file.to_str().expect("text");
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::new();
    for (rings, fits) in [(10, true), (4_000, false)] {
        let mut command = with_rings(&stage, rings, 4096);
        let processes = group.processes();
        // SAFETY: opens and writes a file between fork and exec.
        unsafe { command.pre_exec(move || fs::write(&processes, "0")) };
        let found = Diagnosis::of(command);
        assert_eq!(limit(&found, "memory")["answer"], fits, "{}", found.report);
        let detail = limit(&found, "memory")["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.contains(file), "{detail}");
        let most = limit(&found, "memory")["most"].as_u64().expect("a number");
        // 545,260 bytes each were measured.
        assert!(most > 700 && most < LIMIT / 545_260, "{most}");
        let remedy = limit(&found, "memory")["remedy"].as_str().unwrap_or_default();
        assert_eq!(remedy.contains(file), !fits, "{remedy}");
    }
}
