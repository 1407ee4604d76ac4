//! A system call that a seccomp profile takes away is named before the program starts, by `run` and by
//! `doctor`: each of those that the guard needs, one at a time, in the ways that profiles have.

mod launch;

use launch::{Stage, finish, is_root, skip};
use ringwarden::guard::needs::{Need, When, needs};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

const LOOKS_AT_ARGUMENTS: &str =
    "version = 1\ndefault = \"allow\"\n[ops]\nopenat2 = \"flags & O_CREAT == 0\"\n";
const LOOKS_AT_REQUESTS: &str = "version = 1\ndefault = \"allow\"\n[ops]\nopenat2 = \"deny\"\n";

/// What Ringwarden itself, its C library or the test would be killed for before it comes to the check.
const MADE_BY_EVERYBODY: [&str; 12] = [
    "prctl",
    "clone",
    "clone3",
    "ioctl",
    "fcntl",
    "madvise",
    "prlimit64",
    "pipe2",
    "wait4",
    "kill",
    "getdents64",
    "readlink",
];

/// What a profile does to some calls.
#[derive(Clone)]
struct Denial {
    numbers: Vec<u32>,
    action: u32,
}

impl Denial {
    fn errno(number: u32, errno: i32) -> Self {
        Self { numbers: vec![number], action: libc::SECCOMP_RET_ERRNO | errno as u32 }
    }

    /// Puts the calling process under the profile.
    fn install(&self) -> io::Result<()> {
        use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
        let insn = |code: u32, jt, k: u32| libc::sock_filter { code: code as u16, jt, jf: 0, k };
        let mut program = vec![insn(BPF_LD | BPF_W | BPF_ABS, 0, 0)];
        for (index, &number) in self.numbers.iter().enumerate() {
            // Behind the other tests and what is said to the rest.
            program.push(insn(BPF_JMP | BPF_JEQ | BPF_K, (self.numbers.len() - index) as u8, number));
        }
        program.push(insn(BPF_RET | BPF_K, 0, libc::SECCOMP_RET_ALLOW));
        program.push(insn(BPF_RET | BPF_K, 0, self.action));
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        rustix::thread::set_no_new_privs(true)?;
        // SAFETY: `program` names instructions that live for the call.
        let ret =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        if ret == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn under(mut command: Command, denial: &Denial) -> Command {
    let denial = denial.clone();
    // SAFETY: two system calls, and a small allocation, between fork and exec.
    unsafe { command.pre_exec(move || denial.install()) };
    command
}

fn calls() -> impl Iterator<Item = (&'static Need, u32)> {
    needs().iter().filter_map(|need| Some((need, u32::try_from(need.number?).expect("a number"))))
}

fn denials(need: &Need, number: u32) -> Vec<Denial> {
    let mut denials = vec![Denial::errno(number, libc::EPERM)];
    // Libraries do without.
    if need.name != "clone3" {
        denials.push(Denial::errno(number, libc::ENOSYS));
    }
    if !MADE_BY_EVERYBODY.contains(&need.name) {
        denials.push(Denial { numbers: vec![number], action: libc::SECCOMP_RET_KILL_PROCESS });
    }
    denials
}

/// Whether `text` names the call in a sentence about a seccomp filter.
fn names(text: &str, call: &str) -> bool {
    text.lines().any(|line| line.contains(&format!("{call}(2)")) && line.contains("seccomp filter"))
        && text.contains(&format!("allow `{call}`"))
}

/// Runs a program that leaves a trace, under the guard and the profile.
fn run(stage: &Stage, policy: &str, denial: &Denial) -> (std::process::Output, bool) {
    let trace = stage.empty_folder().join("ran");
    let mut command = stage.guarded(policy, "sh");
    command.args(["-c", ": > \"$0\""]).arg(&trace);
    let output = finish(under(command, denial));
    (output, trace.exists())
}

#[test]
fn run_names_what_is_missing_and_does_not_start_the_program() {
    let stage = Stage::unprivileged();
    for (need, number) in calls() {
        for denial in denials(need, number) {
            let (output, ran) = run(&stage, LOOKS_AT_ARGUMENTS, &denial);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(125), "{} {:#x}: {output:?}", need.name, denial.action);
            assert!(names(&said, need.name), "{} {:#x}: {said}", need.name, denial.action);
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(!ran, "{}", need.name);
        }
    }
}

#[test]
fn what_only_some_policies_need_keeps_no_other_from_running() {
    let stage = Stage::unprivileged();
    for (need, number) in calls().filter(|(need, _)| need.when == When::Arguments) {
        for denial in denials(need, number) {
            let (output, ran) = run(&stage, LOOKS_AT_REQUESTS, &denial);
            assert!(output.status.success() && ran, "{}: {output:?}", need.name);
        }
    }
    // Asks for other flags than the one which an argument can force.
    let preset = "version = 1\nextends = [\"@container-default\"]\n";
    let mseal = needs().iter().find(|need| need.name == "mseal").and_then(|need| need.number);
    let mseal = Denial::errno(mseal.expect("a call") as u32, libc::ENOSYS);
    let (output, ran) = run(&stage, preset, &mseal);
    assert!(output.status.success() && ran, "{output:?}");
    let clone3 = Denial::errno(libc::SYS_clone3 as u32, libc::ENOSYS);
    let (output, ran) = run(&stage, LOOKS_AT_ARGUMENTS, &clone3);
    assert!(output.status.success() && ran, "{output:?}");
}

#[test]
fn doctor_names_it_for_a_policy_and_in_general() {
    let stage = Stage::unprivileged();
    let (arguments, requests) = (stage.file(LOOKS_AT_ARGUMENTS), stage.file(LOOKS_AT_REQUESTS));
    for (need, number) in calls() {
        for denial in denials(need, number) {
            let doctor = |policy: Option<&std::path::Path>| {
                let mut command = stage.native(stage.ringwarden());
                command.arg("doctor");
                if let Some(policy) = policy {
                    command.arg("-p").arg(policy);
                }
                let output = finish(under(command, &denial));
                let said = String::from_utf8(output.stdout).expect("text");
                let mut words = said.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>());
                let verdict = words.find(|words| words.get(1) == Some(&"split"));
                let guard = verdict.unwrap_or_else(|| panic!("{said}"))[0] == "yes";
                (output.status.code(), guard, said)
            };
            let always = need.when < When::Arguments;
            let (status, guard, said) = doctor(None);
            let what = format!("{} {:#x}: {said}", need.name, denial.action);
            // io_uring has a remedy of its own, the same for all three.
            let io_uring = need.name.starts_with("io_uring");
            assert!(names(&said, need.name) || io_uring && said.contains(need.name), "{what}");
            assert_eq!(guard, !always, "{what}");
            assert!(!said.contains("boot Linux"), "{what}");
            assert_eq!(said.contains("Nothing can be enforced"), status == Some(1), "{what}");
            let (_, guard, said) = doctor(Some(&arguments));
            assert!(!guard && said.contains(need.name), "{} {said}", need.name);
            let (_, guard, said) = doctor(Some(&requests));
            assert_eq!(guard, !always, "{} {said}", need.name);
        }
    }
}

/// As a container runtime's profile has it: one answer is to be enough to put it right.
#[test]
fn all_that_a_profile_lacks_is_named_at_once() {
    let stage = Stage::unprivileged();
    let lacking = ["io_uring_setup", "io_uring_enter", "io_uring_register", "kcmp", "pidfd_getfd"];
    let numbers =
        calls().filter(|(need, _)| lacking.contains(&need.name)).map(|(_, number)| number).collect();
    let denial = Denial { numbers, action: libc::SECCOMP_RET_ERRNO | libc::EPERM as u32 };
    let (output, ran) = run(&stage, LOOKS_AT_REQUESTS, &denial);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(125) && !ran, "{output:?}");
    let mut doctor = stage.native(stage.ringwarden());
    doctor.arg("doctor");
    let output = finish(under(doctor, &denial));
    let advice = String::from_utf8(output.stdout).expect("text");
    let advice = advice.lines().last().expect("a line");
    for call in lacking {
        assert!(said.contains(&format!("{call}(2)")) && said.contains(&format!("`{call}`")), "{said}");
        assert!(advice.contains(call), "{advice}");
    }
}

/// Container runtimes give root no CAP_SYS_PTRACE.
#[test]
fn a_root_that_may_not_trace_is_warned_of_programs_that_give_up_their_user() {
    if !is_root() {
        return skip("only root has capabilities to drop");
    }
    const SETUID: u64 = 7;
    const SYS_PTRACE: u64 = 19;
    let stage = Stage::new();
    for (dropped, doctor_warns, run_warns) in
        [(&[][..], false, false), (&[SYS_PTRACE][..], true, false), (&[SYS_PTRACE, SETUID][..], true, true)]
    {
        let confine = |mut command: Command| {
            // SAFETY: system calls between fork and exec; what is dropped here the exec does not give.
            unsafe {
                command.pre_exec(move || {
                    dropped.iter().try_for_each(|&capability| {
                        match libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) {
                            0 => Ok(()),
                            _ => Err(io::Error::last_os_error()),
                        }
                    })
                });
            }
            finish(command)
        };
        let mut doctor = stage.native(stage.ringwarden());
        doctor.arg("doctor");
        let said = String::from_utf8(confine(doctor).stdout).expect("text");
        assert_eq!(said.contains("warning: without CAP_SYS_PTRACE"), doctor_warns, "{dropped:?}: {said}");
        let output = confine(stage.guarded(LOOKS_AT_REQUESTS, "true"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{dropped:?}: {said}");
        assert_eq!(said.contains("drop the user first"), run_warns, "{dropped:?}: {said}");
    }
}

/// Its numbers are other processes', whose memory the guard would write to and whom it would kill.
#[test]
fn the_proc_of_another_pid_namespace_is_refused() {
    if !is_root() {
        return skip("a namespace of PIDs: not root");
    }
    let stage = Stage::new();
    let within = |mut command: Command, mounts: &str| {
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = stage.native("unshare");
        command.args(["-pfm", "--kill-child", "sh", "-c"]).arg(format!("{mounts} exec \"$@\"")).arg("sh");
        command.arg(program).args(arguments);
        finish(command)
    };
    for (mounts, fault) in [
        (
            "",
            "/proc, which tells of processes by their numbers, and leads to their memory, is that of another namespace of PIDs",
        ),
        (
            "mount -t tmpfs none /proc;",
            "/proc, which tells of processes by their numbers, and leads to their memory, is not mounted",
        ),
    ] {
        for lane in ["restricted", "guard"] {
            let output = within(Stage::new().with_backend(lane).guarded(LOOKS_AT_REQUESTS, "true"), mounts);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(125), "{lane}: {said}");
            assert!(said.contains(fault) && said.contains("mount -t proc proc /proc"), "{lane}: {said}");
        }
        let mut doctor = stage.native(stage.ringwarden());
        doctor.arg("doctor");
        let said = String::from_utf8(within(doctor, mounts).stdout).expect("text");
        assert!(said.contains(fault) && said.contains("mount -t proc proc /proc"), "{said}");
    }
    let output = within(stage.guarded(LOOKS_AT_REQUESTS, "true"), "mount -t proc proc /proc;");
    assert!(output.status.success(), "{output:?}");
}
