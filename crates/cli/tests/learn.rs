//! `ringwarden learn`: under the policy that it writes the program runs as before, and nothing else does.

mod client;
mod launch;

use launch::{Stage, finish, skip};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The flags of the levels, from the tightest.
const LEVELS: [&[&str]; 4] = [&["--strict"], &["--narrow"], &[], &["--loose"]];
/// Those with conditions on arguments.
const CONDITIONAL: [&[&str]; 2] = [&["--strict"], &["--narrow"]];

/// `ringwarden learn -o policy args -- program`; arguments can be added.
fn learn(stage: &Stage, policy: &Path, args: &[&str], program: impl AsRef<OsStr>) -> Command {
    let mut command = stage.native(stage.ringwarden());
    command.arg("learn").arg("-o").arg(policy).args(args).arg("--").arg(program);
    command
}

/// `ringwarden run -p policy -- program` under the guard; arguments can be added.
fn run(stage: &Stage, policy: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = stage.native(stage.ringwarden());
    command.args(["run", "--backend", "guard", "-p"]).arg(policy).arg("--").arg(program);
    command
}

fn succeeded(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the command says on standard error.
fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs the server to its end, with that many clients; gives what it printed behind the port.
fn serve(mut server: Command, clients: usize) -> Output {
    server.arg("0").arg(clients.to_string());
    let mut child = server.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    let mut stdout = BufReader::new(child.stdout.take().expect("standard output"));
    let mut port = String::new();
    stdout.read_line(&mut port).expect("a port");
    for _ in 0..clients {
        // A server that may not serve closes its end, so that nothing here waits.
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port.trim().parse().expect("a port"))) else {
            break;
        };
        let mut answer = Vec::new();
        let _ = stream.write_all(b"hello").and_then(|()| stream.shutdown(std::net::Shutdown::Write));
        let _ = stream.read_to_end(&mut answer);
    }
    child.wait_with_output().expect("wait")
}

/// A server in this process that sends back what so many clients say; its port.
fn echo(clients: usize) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(clients) {
            let mut stream = stream.expect("a client");
            let mut line = [0; 5];
            if stream.read_exact(&mut line).is_ok() {
                let _ = stream.write_all(&line);
            }
        }
    });
    port
}

fn to(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A client that connects to that port, learned at that level.
fn learned_client(stage: &Stage, policy: &Path, args: &[&str], port: u16) -> Output {
    finish({
        let mut command = learn(stage, policy, args, stage.example("echo_client"));
        command.arg(to(port));
        command
    })
}

fn client_under(stage: &Stage, policy: &Path, port: u16) -> Output {
    let mut command = run(stage, policy, stage.example("echo_client"));
    command.arg(to(port));
    finish(command)
}

#[test]
fn a_client_of_everything_runs_as_natively_under_what_was_learned() {
    let stage = Stage::unprivileged();
    let client = stage.example("uring_client");
    let native = client::lines(stage.native(&client));
    for level in LEVELS {
        let policy = stage.empty_folder().join("policy.toml");
        assert_eq!(client::lines(learn(&stage, &policy, level, &client)), native, "{level:?}");
        // It connects to whatever ports are free. Strictly, those are others the next time.
        if level == ["--strict"] {
            let learned = text(&policy);
            let (before, ports) = learned.split_once(" && port in {").expect("ports");
            let (_, after) = ports.split_once('}').expect("the end of the ports");
            fs::write(&policy, format!("{before}{after}")).expect("write");
        }
        assert_eq!(client::lines(run(&stage, &policy, &client)), native, "{}", text(&policy));
    }
}

#[test]
fn a_server_serves_under_what_was_learned() {
    let stage = Stage::unprivileged();
    let server = stage.example("echo_server");
    for level in LEVELS {
        let policy = stage.empty_folder().join("policy.toml");
        succeeded(&serve(learn(&stage, &policy, level, &server), 3));
        let learned = text(&policy);
        for rule in ["accept = \"allow\"  # 3 requests", "send   = \"allow\"  # 3 requests"] {
            assert!(learned.contains(rule), "{learned}");
        }
        // One ring of 64, whose kind is nobody's business loosely.
        let setup = "[setup]  # 1 ring\ndeny_flags  = [";
        assert_eq!(learned.contains(setup), level != ["--loose"], "{learned}");
        assert_eq!(learned.contains("\nmax_entries = 64\n"), level != ["--loose"], "{learned}");
        succeeded(&serve(run(&stage, &policy, &server), 2));
        // A client has no business with it.
        let refused = client_under(&stage, &policy, 1);
        let told = told(&refused);
        assert!(told.starts_with("socket: Permission denied (os error 13)\n"), "{told}");
    }
}

#[test]
fn a_client_connects_to_where_it_did_and_nowhere_else() {
    let stage = Stage::unprivileged();
    for level in LEVELS {
        let policy = stage.empty_folder().join("policy.toml");
        let port = echo(2);
        succeeded(&learned_client(&stage, &policy, level, port));
        let again = client_under(&stage, &policy, port);
        assert_eq!(again.stdout, b"hello\n", "{again:?} {}", text(&policy));
        let elsewhere = told(&client_under(&stage, &policy, 1));
        let refused = CONDITIONAL.contains(&level);
        let expected = if refused { "Permission denied" } else { "Connection refused" };
        assert!(elsewhere.starts_with(&format!("connect: {expected}")), "{level:?}: {elsewhere}");
    }
}

#[test]
fn a_job_of_fio_runs_again_and_another_job_does_not() {
    if Command::new("fio").arg("--version").output().is_err() {
        return skip("fio is not installed");
    }
    let stage = Stage::new();
    let folder = stage.empty_folder();
    let job = |mut fio: Command, args: &str| {
        fio.args(["--name=job", "--ioengine=io_uring", "--bs=4k", "--size=512k", "--iodepth=8"]);
        fio.arg(format!("--filename={}", folder.join("data").display()));
        finish({
            fio.args(args.split_whitespace());
            fio
        })
    };
    for level in LEVELS {
        let policy = stage.empty_folder().join("policy.toml");
        succeeded(&job(learn(&stage, &policy, level, "fio"), "--rw=randread"));
        assert!(text(&policy).contains("\nread = \"allow\"  # 128 requests\n"), "{}", text(&policy));
        succeeded(&job(run(&stage, &policy, "fio"), "--rw=randread"));
        let other = job(run(&stage, &policy, "fio"), "--rw=randwrite");
        assert_eq!(other.status.code(), Some(1), "{other:?}");
        assert!(
            told(&other).contains("Permission denied")
                || String::from_utf8_lossy(&other.stdout).contains("Permission denied"),
            "{other:?}"
        );
    }
}

#[test]
fn what_two_runs_showed_is_merged() {
    let stage = Stage::unprivileged();
    let policy = stage.empty_folder().join("policy.toml");
    let (first, second) = (echo(2), echo(2));
    succeeded(&learned_client(&stage, &policy, &["--strict"], first));
    let once = text(&policy);
    // The level stays that of the first.
    let merged = learned_client(&stage, &policy, &[], second);
    assert!(told(&merged).contains("and what a run before showed"), "{merged:?}");
    let twice = text(&policy);
    assert!(once.contains("from 1 run with 5 requests, strictly"), "{once}");
    assert!(twice.contains("from 2 runs with 10 requests, strictly"), "{twice}");
    for port in [first, second] {
        assert!(twice.contains(&port.to_string()), "{twice}");
        succeeded(&client_under(&stage, &policy, port));
    }
    // What is there does not count.
    succeeded(&learned_client(&stage, &policy, &["--fresh"], echo(1)));
    assert!(text(&policy).contains("from 1 run with 5 requests.\n"), "{}", text(&policy));
}

#[test]
fn an_edited_policy_stays() {
    let stage = Stage::unprivileged();
    let policy = stage.empty_folder().join("policy.toml");
    let beside = policy.with_extension("new.toml");
    let port = echo(4);
    succeeded(&learned_client(&stage, &policy, &[], port));
    let edited = text(&policy).replace("send    = \"allow\"", "send    = \"deny\"");
    assert_ne!(edited, text(&policy));
    fs::write(&policy, &edited).expect("write");
    let lacking = learned_client(&stage, &policy, &[], port);
    succeeded(&lacking);
    assert!(told(&lacking).contains("was edited and stays as it is: it refuses send\n"), "{lacking:?}");
    assert_eq!(text(&policy), edited);
    assert!(text(&beside).contains("send    = \"allow\"  # 2 requests"), "{}", text(&beside));
    // What waits there to be taken over is what the record says, and nobody else's.
    let wide = "version = 1\ndefault = \"allow\"\n";
    fs::write(&policy, wide).expect("write");
    succeeded(&learned_client(&stage, &policy, &[], port));
    assert!(text(&beside).contains("send    = \"allow\"  # 3 requests"), "{}", text(&beside));
    fs::write(&policy, &edited).expect("write");
    fs::write(&beside, "mine").expect("write");
    let refused = learned_client(&stage, &policy, &[], echo(1));
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");
    assert_eq!(text(&beside), "mine");
    // An edit that allows all that is seen is nothing to talk about.
    fs::remove_file(&beside).expect("remove");
    let wider = "version = 1\ndefault = \"allow\"\n";
    fs::write(&policy, wider).expect("write");
    let covered = learned_client(&stage, &policy, &[], port);
    assert!(told(&covered).contains("it allows all that this run did"), "{covered:?}");
    assert_eq!((text(&policy).as_str(), beside.exists()), (wider, false));
    // What was seen meanwhile is not lost.
    let record = text(&policy.with_extension("learned.json"));
    assert!(record.contains("\"runs\": 5"), "{record}");
}

#[test]
fn a_proposal_that_is_taken_over_is_learned_on() {
    let stage = Stage::unprivileged();
    let policy = stage.empty_folder().join("policy.toml");
    let port = echo(3);
    succeeded(&learned_client(&stage, &policy, &[], port));
    fs::write(&policy, "version = 1\ndefault = \"deny\"\n").expect("write");
    succeeded(&learned_client(&stage, &policy, &[], port));
    fs::rename(policy.with_extension("new.toml"), &policy).expect("rename");
    succeeded(&learned_client(&stage, &policy, &[], port));
    assert!(text(&policy).contains("from 3 runs with 15 requests.\n"), "{}", text(&policy));
}

#[test]
fn a_policy_of_somebody_else_is_not_touched() {
    let stage = Stage::unprivileged();
    let policy = stage.file("version = 1\ndefault = \"deny\"\n");
    let mut command = learn(&stage, &policy, &[], "echo");
    command.arg("ran");
    let refused = finish(command);
    assert_eq!((refused.status.code(), refused.stdout.as_slice()), (Some(125), &b""[..]), "{refused:?}");
    assert!(told(&refused).contains("not from `ringwarden learn`"), "{refused:?}");
    assert_eq!(text(&policy), "version = 1\ndefault = \"deny\"\n");
}

#[test]
fn a_policy_that_is_changed_meanwhile_stays() {
    let stage = Stage::unprivileged();
    let policy = stage.empty_folder().join("policy.toml");
    let mut command = learn(&stage, &policy, &[], "sh");
    command.args(["-c", "echo mine > $0"]).arg(&policy);
    let output = finish(command);
    assert!(told(&output).contains("was changed meanwhile and stays as it is"), "{output:?}");
    assert_eq!(text(&policy), "mine\n");
    assert!(text(&policy.with_extension("new.toml")).contains("default = \"deny\""));
}

#[test]
fn a_program_that_dies_leaves_what_was_seen() {
    let stage = Stage::unprivileged();
    let policy = stage.empty_folder().join("policy.toml");
    let mut command = learn(&stage, &policy, &[], "sh");
    command.args(["-c", "$0 $1; kill -KILL $$"]).arg(stage.example("echo_client")).arg(to(echo(1)));
    let output = finish(command);
    assert_eq!((output.status.signal(), output.stdout.as_slice()), (Some(9), &b"hello\n"[..]), "{output:?}");
    assert!(text(&policy).contains("with 5 requests"), "{}", text(&policy));
}

#[test]
fn a_program_that_never_runs_leaves_nothing() {
    let stage = Stage::unprivileged();
    let policy = stage.empty_folder().join("policy.toml");
    for (program, status) in [("/nowhere/to/be/found", 127), ("/etc/passwd", 126)] {
        assert_eq!(finish(learn(&stage, &policy, &[], program)).status.code(), Some(status), "{program}");
    }
    let folder = policy.parent().expect("a folder");
    assert_eq!(fs::read_dir(folder).expect("a folder").count(), 0);
    let nowhere = folder.join("missing/policy.toml");
    assert_eq!(finish(learn(&stage, &nowhere, &[], "true")).status.code(), Some(125));
}

#[test]
fn standard_output_is_a_place_too() {
    let stage = Stage::unprivileged();
    let mut command = learn(&stage, Path::new("-"), &["--loose"], stage.example("echo_client"));
    command.arg(to(echo(1)));
    let output = finish(command);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.starts_with("hello\n# Learned by"), "{output:?}");
    assert!(printed.contains("connect = \"allow\"  # 1 request\n"), "{output:?}");
}

/// Unless conditions are asked for, the policy is one that the kernel can hold, and names them with their price.
#[test]
fn what_is_learned_fits_the_restricted_lane() {
    let stage = Stage::unprivileged();
    for level in LEVELS {
        let policy = stage.empty_folder().join("policy.toml");
        let port = echo(2);
        let learned = learned_client(&stage, &policy, level, port);
        let mut check = stage.native(stage.ringwarden());
        check.args(["check", "--format", "json"]).arg(&policy);
        let report: serde_json::Value = serde_json::from_slice(&finish(check).stdout).expect("JSON");
        let fits = !CONDITIONAL.contains(&level);
        assert_eq!(report["policies"][0]["lane"], if fits { "restricted" } else { "split" }, "{report}");
        let lines =
            [format!("\n# connect = \"addr == 127.0.0.1 && port == {port}\"\n"), "before Linux 7.2".into()];
        for line in lines {
            assert_eq!(text(&policy).contains(&line), fits, "{}", text(&policy));
        }
        let note = "all requests for connect, socket are allowed";
        assert_eq!(told(&learned).contains(note), fits, "{learned:?}");
        if fits {
            let mut held = stage.native(stage.ringwarden());
            held.args(["run", "--lane", "restricted", "-p"]).arg(&policy).arg("--");
            held.arg(stage.example("echo_client")).arg(to(port));
            assert_eq!(finish(held).stdout, b"hello\n");
        }
    }
}

/// The name of a program is the first thing that it chooses itself.
#[test]
fn without_a_place_the_program_s_name_is_taken_and_harmless() {
    let stage = Stage::unprivileged();
    for (name, line) in [("tidy-1.0", "name    = \"tidy-1.0\"\n"), ("a\"\n[ops]\nuring_cmd = \"allow\"#", "")]
    {
        let folder = stage.empty_folder();
        let program: PathBuf = folder.join(name);
        std::os::unix::fs::symlink("/bin/true", &program).expect("a link");
        let mut command = stage.native(stage.ringwarden());
        command.current_dir(&folder).args(["learn", "--"]).arg(&program);
        let output = finish(command);
        succeeded(&output);
        assert!(told(&output).contains("the program has made no io_uring"), "{output:?}");
        let policy = text(&folder.join(format!("{name}.policy.toml")));
        let head = "# Learned by `ringwarden learn` from 1 run with 0 requests.\n# It says what the program did, \
                    not what it should do: read it before you rely on it.\nversion = 1\n";
        assert_eq!(policy, format!("{head}{line}default = \"deny\"\n\n[register]\ndefault = \"deny\"\n"));
    }
}

#[test]
fn what_a_policy_refuses_meanwhile_is_not_learned() {
    let stage = Stage::unprivileged();
    let policy = stage.empty_folder().join("policy.toml");
    let layer = stage.file("version = 1\ndefault = \"allow\"\n[ops]\nconnect = \"port == 1\"\n");
    let layer = layer.to_str().expect("a path");
    let output = learned_client(&stage, &policy, &["-p", layer], echo(0));
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).starts_with("connect: Permission denied"), "{output:?}");
    assert!(text(&policy).contains("\nsocket = "), "{}", text(&policy));
    assert!(!text(&policy).contains("connect"), "{}", text(&policy));
}

/// What is in the queue is not what will be submitted: the program can still change it.
#[test]
fn a_request_that_is_changed_in_the_queue_is_seen_again() {
    let stage = Stage::unprivileged();
    let program = stage.example("second_thoughts");
    let native = client::lines(stage.native(&program));
    assert_eq!(native, ["-22", "-9"]);
    let policy = stage.empty_folder().join("policy.toml");
    assert_eq!(client::lines(learn(&stage, &policy, &[], &program)), native);
    let learned = text(&policy);
    // Told of each time that it is handed to the kernel.
    assert!(
        learned.contains("\nnop   = \"allow\"  # 2 requests\nfsync = \"allow\"  # 1 request\n"),
        "{learned}"
    );
    // Refused at the second look, it is in the audit.
    let audit = stage.empty_folder().join("audit.jsonl");
    let refusing = client::policy("allow", "fsync = \"deny\"");
    assert_eq!(client::lines(stage.audited(&refusing, &audit, &program)), ["-22", "-13"]);
    assert_eq!(text(&audit).lines().count(), 1, "{}", text(&audit));
}

/// Requests that are made to look alike are told of one by one.
#[test]
fn no_refusal_is_kept_out_of_the_audit() {
    let stage = Stage::unprivileged();
    let audit = stage.empty_folder().join("audit.jsonl");
    let refusing = client::policy("allow", "fsync = \"deny\"");
    let mut command = stage.audited(&refusing, &audit, stage.example("second_thoughts"));
    command.arg("forge");
    assert_eq!(client::lines(command), ["-13", "-13", "-13"]);
    let fds: Vec<_> = text(&audit)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["fields"]["fd"].clone())
        .collect();
    assert_eq!(fds, [-1, -2, -3]);
}
