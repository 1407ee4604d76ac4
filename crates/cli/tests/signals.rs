//! `ringwarden run` in the program's place: signals, stops, and ends by signals, under both backends.

mod launch;

use launch::{Stage, finish, is_root};
use ringwarden::kernel::Facts;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, Stdio};

const POLICY: &str = "version = 1\ndefault = \"allow\"\n";

/// Every user and backend that the tests can play.
fn stages() -> Vec<Stage> {
    let mut stages = vec![Stage::unprivileged(), Stage::unprivileged().with_backend("restricted")];
    if is_root() {
        stages.push(Stage::new());
    }
    match Facts::find().usable() {
        Ok(_) => stages.push(Stage::unprivileged().with_backend("kernel")),
        Err(lacking) => eprintln!("skipped under the kernel's filters: {lacking}"),
    }
    stages
}

struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts `command` in a group of its own and waits for it to say "ready".
    fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("start");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut running = Self { child, output };
        assert_eq!(running.line(), "ready");
        running
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn send(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("kill");
    }

    /// Sends what `sigqueue` sends; whether there was room for it.
    fn queue(&self, signal: i32, value: usize) -> bool {
        #[repr(C)]
        struct Info {
            signal: i32,
            error: i32,
            code: i32,
            padding: i32,
            pid: i32,
            user: u32,
            value: usize,
            rest: [u64; 12],
        }
        let (pid, code) = (std::process::id() as i32, libc::SI_QUEUE);
        let info = Info { signal, error: 0, code, padding: 0, pid, user: 0, value, rest: [0; 12] };
        let to = self.child.id() as i32;
        // SAFETY: a whole `siginfo_t`.
        let sent = unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, to, signal, &raw const info) };
        let full = std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
        assert!(sent == 0 || full);
        sent == 0
    }

    /// Waits until the child stops, and gives the signal.
    fn stop(&self) -> Option<i32> {
        let stopped = waitid(WaitId::Pid(self.pid()), WaitIdOptions::STOPPED).expect("wait");
        stopped.and_then(|status| status.stopping_signal())
    }
}

/// A test that has failed leaves nobody behind.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn signal(number: i32) -> Signal {
    // SAFETY: it is only passed to `kill`.
    unsafe { Signal::from_raw_unchecked(number) }
}

#[test]
fn every_signal_that_a_process_sends_reaches_the_program() {
    for stage in stages() {
        let numbers: Vec<_> =
            (1..=64).filter(|number| ![libc::SIGKILL, libc::SIGSTOP].contains(number)).collect();
        let mut command = stage.guarded(POLICY, stage.example("signal_client"));
        command.arg(numbers.len().to_string());
        let mut running = Running::start(command);
        for number in numbers {
            running.send(signal(number));
            // Nobody can send in another's name.
            assert_eq!(running.line(), format!("{number} 0 0 {}", running.child.id()));
        }
        assert_eq!(running.child.wait().expect("wait").code(), Some(0));
    }
}

#[test]
fn values_go_on_and_a_storm_loses_none() {
    for stage in stages() {
        let many = 5000;
        let mut command = stage.guarded(POLICY, stage.example("signal_client"));
        command.arg((many + 1).to_string());
        let mut running = Running::start(command);
        let own = std::process::id();
        assert!(running.queue(libc::SIGUSR1, 1 << 40));
        assert_eq!(running.line(), format!("{} -1 {} {own}", libc::SIGUSR1, 1usize << 40));
        assert!((0..many).all(|value| running.queue(37, value)));
        for value in 0..many {
            assert_eq!(running.line(), format!("37 -1 {value} {own}"));
        }
        assert_eq!(running.child.wait().expect("wait").code(), Some(0));
    }
}

/// Every one that a program may want to handle.
#[test]
fn values_and_senders_are_those_that_a_program_gets_natively() {
    let numbers = [
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGCONT,
        libc::SIGURG,
        libc::SIGWINCH,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGCHLD,
        34,
        64,
    ];
    for stage in stages() {
        let client = stage.example("signal_client");
        let seen = |mut command: Command| {
            command.arg((numbers.len() + 1).to_string());
            let mut running = Running::start(command);
            let mut seen = String::new();
            for (value, number) in numbers.into_iter().enumerate() {
                assert!(running.queue(number, value));
                seen += &format!("{}\n", running.line());
            }
            // No second copy of any came before the last.
            assert!(running.queue(35, 0));
            running.output.read_to_string(&mut seen).expect("the rest");
            (seen, running.child.wait().expect("wait"))
        };
        assert_eq!(seen(stage.guarded(POLICY, &client)), seen(stage.native(&client)));
    }
}

/// Room is the user's: what the stand-in holds and what waits for the program count together.
#[test]
fn a_full_queue_holds_up_no_other_signal() {
    for stage in stages() {
        let first = libc::SIGTERM;
        let guarded = stage.guarded(POLICY, stage.example("signal_client"));
        let mut command = stage.native("prlimit");
        command.arg("--sigpending=8:8").arg(guarded.get_program()).args(guarded.get_args());
        command.args(["2".to_owned(), first.to_string()]);
        let mut running = Running::start(command);
        while running.queue(37, 0) {}
        running.send(Signal::TERM);
        assert_eq!(running.line(), format!("{first} 0 0 {}", running.child.id()));
        drop(running.child.kill());
        running.child.wait().expect("wait");
    }
}

#[test]
fn the_last_signal_of_a_storm_arrives() {
    let script = "trap : USR1 USR2 WINCH; trap 'exit 7' TERM; echo ready; while :; do read x; done";
    let storm = "i=0; while [ $i -lt 2500 ]; do kill -USR1 $0 && kill -WINCH $0 || exit; i=$((i+1)); done";
    for stage in stages() {
        let end = |mut command: Command| {
            command.args(["-c", script]);
            let mut running = Running::start(command);
            let mut sender = stage.native("sh");
            sender.args(["-c", storm, &running.child.id().to_string()]);
            let senders: Vec<_> = (0..4).map(|_| sender.spawn().expect("sh")).collect();
            for mut sender in senders {
                assert!(sender.wait().expect("wait").success());
            }
            // All descendants that it has at the moment.
            let mut all = vec![running.child.id()];
            let mut next = 0;
            while let Some(pid) = all.get(next) {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
                assert!(!stat.contains(") Z "), "{stat}");
                let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
                all.extend(
                    children.expect("children").split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()),
                );
                next += 1;
            }
            running.send(Signal::TERM);
            running.child.wait().expect("wait")
        };
        assert_eq!(end(stage.guarded(POLICY, "sh")), end(stage.native("sh")));
    }
}

/// Timers that the caller set before its exec, which may end before the program exists.
#[test]
fn alarms_of_the_caller_ring_for_the_program() {
    for stage in stages() {
        let client = stage.example("signal_client");
        let alarm = |mut command: Command, blocked: bool, microseconds| {
            // SAFETY: system calls only.
            unsafe {
                command.pre_exec(move || {
                    let mut set = std::mem::zeroed();
                    libc::sigemptyset(&mut set);
                    if blocked {
                        libc::sigaddset(&mut set, libc::SIGALRM);
                    }
                    libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
                    let mut timer: libc::itimerval = std::mem::zeroed();
                    timer.it_value.tv_usec = microseconds;
                    libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut());
                    Ok(())
                })
            };
            finish(command)
        };
        for microseconds in [1, 500, 200_000] {
            // Whoever it reaches.
            let end = |mut command: Command| {
                command.args(["-c", "while :; do :; done"]);
                alarm(command, false, microseconds).status
            };
            assert_eq!(end(stage.guarded(POLICY, "sh")), end(stage.native("sh")));
            let arrived = |command| {
                let output = alarm(command, true, microseconds);
                let lines: Vec<_> = String::from_utf8_lossy(&output.stdout)
                    .lines()
                    .filter_map(|line| line.split(' ').next().map(str::to_owned))
                    .collect();
                (lines, output.status)
            };
            assert_eq!(arrived(stage.guarded(POLICY, &client)), arrived(stage.native(&client)));
        }
    }
}

#[test]
fn a_signal_that_the_caller_had_sent_itself_waits_for_the_program() {
    for stage in stages() {
        let client = stage.example("signal_client");
        let arrived = |mut command: Command| {
            command.arg("2");
            // SAFETY: system calls only.
            unsafe {
                command.pre_exec(|| {
                    let mut set = std::mem::zeroed();
                    libc::sigemptyset(&mut set);
                    for number in [libc::SIGUSR1, libc::SIGUSR2] {
                        libc::sigaddset(&mut set, number);
                    }
                    libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
                    libc::kill(libc::getpid(), libc::SIGUSR1);
                    libc::raise(libc::SIGUSR2);
                    Ok(())
                })
            };
            let output = finish(command);
            let text = String::from_utf8_lossy(&output.stdout);
            let first = |line: &str| line.split(' ').next().map(str::to_owned);
            // Natively the one that was sent to the thread comes first.
            text.lines().filter_map(first).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(arrived(stage.guarded(POLICY, &client)), arrived(stage.native(&client)));
    }
}

#[test]
fn the_end_by_a_signal_is_seen_as_one() {
    for stage in stages() {
        for number in [libc::SIGTERM, libc::SIGKILL, libc::SIGSEGV, libc::SIGABRT, libc::SIGPIPE, 34, 64] {
            let mut command = stage.guarded(POLICY, "sh");
            command.args(["-c", "kill -$0 $$", &number.to_string()]);
            let status = command.status().expect("start");
            assert_eq!((status.signal(), status.core_dumped()), (Some(number), false));
        }
    }
}

/// As a shell wants it, whoever stops the program.
#[test]
fn a_stopped_program_stops_its_stand_in() {
    for stage in stages() {
        for number in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGSTOP] {
            let mut command = stage.guarded(POLICY, "sh");
            command.args(["-c", "echo ready; kill -$0 $$; echo on; read x", &number.to_string()]);
            let mut running = Running::start(command);
            assert_eq!(running.stop(), Some(number));
            running.send(Signal::CONT);
            assert_eq!(running.line(), "on");
            // Twice, and by a signal to the stand-in.
            running.send(Signal::TSTP);
            assert_eq!(running.stop(), Some(libc::SIGTSTP));
            running.send(Signal::CONT);
            drop(running.child.stdin.take());
            assert_eq!(running.child.wait().expect("wait").code(), Some(1), "the status of read");
        }
    }
}

/// Its stand-in has stopped with it, and hears of nothing until it is continued, too.
#[test]
fn a_stopped_program_that_somebody_continues_directly_comes_to_its_end() {
    const SCRIPT: &str = "(until grep -q '^State:.T' /proc/$$/status; do :; done; $0; kill -CONT $$) &
        kill -STOP $$; wait; exit 7";
    for stage in stages() {
        // Its descendants are not stopped, and have rings.
        let nops = format!("{} 3", stage.example("nops").display());
        for between in ["true", "sleep 0.2", &nops].repeat(3) {
            let mut command = stage.guarded(POLICY, "sh");
            command.args(["-c", &SCRIPT.replace("$0", between)]).process_group(0);
            assert_eq!(finish(command).status.code(), Some(7), "{between}");
        }
    }
}

/// It cannot be caught, so that the guard has to see it.
#[test]
fn sigstop_to_the_watchdog_stops_the_program() {
    for stage in [Stage::unprivileged(), Stage::new()] {
        let mut command = stage.guarded(POLICY, "sh");
        command.args(["-c", "echo ready; echo $$; read x"]);
        let mut running = Running::start(command);
        let program = running.line();
        running.send(Signal::STOP);
        wait_for_state(&program, 'T');
        running.send(Signal::CONT);
        wait_for_state(&program, 'S');
        drop(running.child.stdin.take());
        assert_eq!(running.child.wait().expect("wait").code(), Some(1));
    }
}

fn wait_for_state(pid: &str, state: char) {
    let path = format!("/proc/{pid}/stat");
    let is = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state));
    while !is(fs::read_to_string(&path).expect("it lives")) {
        std::thread::yield_now();
    }
}

/// Service managers ignore SIGPIPE, of which Rust's runtime makes no difference to its default.
#[test]
fn ignored_and_blocked_signals_are_the_callers() {
    for stage in stages() {
        for set in [["--ignore-signal=PIPE"], ["--default-signal=PIPE"], ["--block-signal=USR1,PIPE"]] {
            let show = |program: Command| {
                let mut command = stage.native("env");
                command.args(set).arg(program.get_program()).args(program.get_args());
                let output = command.output().expect("start");
                assert!(output.status.success(), "{output:?}");
                String::from_utf8(output.stdout).expect("text")
            };
            let arguments = ["^Sig\\(Blk\\|Ign\\)", "/proc/self/status"];
            let (mut native, mut guarded) = (stage.native("grep"), stage.guarded(POLICY, "grep"));
            native.args(arguments);
            guarded.args(arguments);
            assert_eq!(show(guarded), show(native), "{set:?}");
        }
    }
}

/// SIGKILL to the group that was started, as by `timeout -k`: the guard is not in it, and ends the rest.
#[test]
fn nobody_outlives_a_killed_group() {
    for stage in [Stage::unprivileged(), Stage::new()] {
        let mut command = stage.guarded(POLICY, "sh");
        let wait = "mkfifo $0; exec 3<>$0; echo ready; read x <&3";
        command.args(["-c", &format!("setsid sh -c '{wait}' $0; :")]).arg(stage.empty_folder().join("fifo"));
        let mut running = Running::start(command);
        kill_process_group(running.pid(), Signal::KILL).expect("kill");
        assert_eq!(running.child.wait().expect("wait").signal(), Some(libc::SIGKILL));
        // All who have it open are gone.
        let mut rest = String::new();
        running.output.read_to_string(&mut rest).expect("the end");
        assert_eq!(rest, "");
    }
}

/// The worst case: watchdog and guard die at one moment, and nobody is left to end a daemon.
#[test]
fn an_orphan_without_a_guard_can_do_nothing() {
    for stage in [Stage::unprivileged(), Stage::new()] {
        let mut running = Running::start(stage.guarded(POLICY, stage.example("orphan")));
        let watchdog = running.pid().as_raw_nonzero();
        let children = fs::read_to_string(format!("/proc/{watchdog}/task/{watchdog}/children"));
        let guard: i32 = children.expect("children").trim().parse().expect("one child");
        let both = [guard, watchdog.get()].map(|pid| Pid::from_raw(pid).expect("a number"));
        // Stopped, neither can do anything about the other's end.
        both.iter().for_each(|pid| kill_process(*pid, Signal::STOP).expect("stop"));
        both.iter().for_each(|pid| kill_process(*pid, Signal::KILL).expect("kill"));
        running.child.wait().expect("wait");
        drop(running.child.stdin.take());
        let mut rest = String::new();
        running.output.read_to_string(&mut rest).expect("read");
        let [enosys, ebusy] = [-libc::ENOSYS, -libc::EBUSY];
        assert_eq!(
            rest,
            format!(
                "submit {enosys}\nenter 0\nring {enosys}\nregister {enosys}\nlistener {ebusy}\ncompletions 0\n"
            )
        );
    }
}

/// The tree would wait for it for ever.
#[test]
fn a_guard_does_not_stay_stopped() {
    let stage = Stage::unprivileged();
    let mut command = stage.guarded(POLICY, "sh");
    // Making a ring needs the guard.
    command.args(["-c", "kill -STOP $PPID; exec \"$0\""]).arg(stage.example("uring_client"));
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
}
