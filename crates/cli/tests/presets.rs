//! Real programs under the presets: they work where the preset's page says so, held by the kernel, and with an
//! audit that stays empty; and fail under `@nothing`, which shows that the work goes through io_uring.

mod launch;

use launch::{Stage, finish, skip};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

/// What came of a run.
struct Run {
    status: ExitStatus,
    /// By the kernel, and with an audit.
    printed: [String; 2],
    /// Refused operations and calls, in order.
    refused: Vec<Value>,
}

/// `program` under a preset, with an audit file.
fn audited(stage: &Stage, preset: &str, audit: &Path, program: impl AsRef<OsStr>) -> Command {
    stage.audited(&format!("version = 1\nextends = [\"@{preset}\"]\n"), audit, program)
}

/// `program` under a preset in the lane that `run` takes by itself, which must be one in which the kernel decides.
fn held(stage: &Stage, preset: &str, program: impl AsRef<OsStr>) -> Command {
    let preset = format!("@{preset}");
    let mut doctor = stage.native(stage.ringwarden());
    let facts = finish({
        doctor.args(["doctor", "--format", "json", "-p", &preset]);
        doctor
    });
    let facts: Value = serde_json::from_slice(&facts.stdout).expect("JSON");
    let lane = facts["lanes"]["auto"].as_str().expect("a lane");
    assert!(["tasks", "restricted"].contains(&lane), "{preset} takes the lane {lane}: {facts}");
    let mut command = stage.native(stage.ringwarden());
    command.args(["run", "-p", &preset, "--"]).arg(program);
    command
}

/// The refused operations of an audit.
fn refused(audit: &Path) -> Vec<Value> {
    let audit = fs::read_to_string(audit).expect("an audit");
    audit.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["op"].take()).collect()
}

/// Runs `program` to its end in `folder` under a preset: held by the kernel, and then the same with an audit.
fn under(stage: &Stage, preset: &str, folder: &Path, program: impl AsRef<OsStr>, args: &[&str]) -> Run {
    let audit = stage.empty_folder().join("audit.jsonl");
    let [by_kernel, by_guard] = [held(stage, preset, &program), audited(stage, preset, &audit, &program)]
        .map(|mut command| {
            command.args(args).current_dir(folder);
            finish(command)
        });
    let printed =
        |output: &Output| String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into();
    let printed: [String; 2] = [printed(&by_kernel), printed(&by_guard)];
    assert_eq!(by_kernel.status.success(), by_guard.status.success(), "@{preset} {args:?}: {printed:#?}");
    Run { status: by_guard.status, printed, refused: refused(&audit) }
}

impl Run {
    /// Whether it was said both times.
    fn said(&self, text: &str) -> bool {
        self.printed.iter().all(|printed| printed.contains(text))
    }
}

fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// A small job of fio's on a new file.
fn fio(stage: &Stage, preset: &str, job: &str) -> Run {
    const JOB: &str = "--name=job --ioengine=io_uring --bs=4k --size=512k --iodepth=16 --filename=data";
    let args: Vec<&str> = JOB.split(' ').chain(job.split(' ')).collect();
    under(stage, preset, &stage.empty_folder(), "fio", &args)
}

#[test]
fn fio_works_under_file_io_and_container_default() {
    if !is_installed("fio") {
        return;
    }
    let stage = Stage::new();
    for (preset, job) in [
        ("file-io", "--rw=randrw --iodepth_batch_submit=8"),
        ("file-io", "--rw=randwrite --verify=crc32c --registerfiles --fixedbufs"),
        ("file-io", "--rw=randread --sqthread_poll=1"),
        ("file-io", "--rw=write --fsync=4"),
        ("container-default", "--rw=randrw --iodepth_batch_submit=8"),
        ("container-default", "--rw=randwrite --verify=crc32c"),
        ("container-default", "--rw=write --fsync=4"),
    ] {
        let Run { status, printed, refused } = fio(&stage, preset, job);
        assert!(status.success(), "@{preset} {job}: {printed:#?}");
        assert_eq!(refused, [] as [Value; 0], "@{preset} {job}");
    }
}

#[test]
fn fio_hears_of_it_where_a_preset_refuses() {
    if !is_installed("fio") {
        return;
    }
    let stage = Stage::new();
    for (preset, job, op) in [
        ("container-default", "--rw=randread --fixedbufs", "io_uring_register"),
        ("container-default", "--rw=randread --registerfiles", "io_uring_register"),
        ("nothing", "--rw=randread", "readv"),
    ] {
        let run = fio(&stage, preset, job);
        assert!(!run.status.success(), "@{preset} {job}: {:#?}", run.printed);
        assert!(run.said("Permission denied"), "@{preset} {job}: {:#?}", run.printed);
        assert!(run.refused.contains(&op.into()), "@{preset} {job}: {:?}", run.refused);
    }
}

/// QEMU's own tools on a disk image that they keep in a file.
struct Disk<'a> {
    stage: &'a Stage,
    folder: PathBuf,
}

impl<'a> Disk<'a> {
    fn new(stage: &'a Stage) -> Self {
        let folder = stage.empty_folder();
        File::create(folder.join("disk")).and_then(|disk| disk.set_len(16 << 20)).expect("a disk");
        Self { stage, folder }
    }

    /// 500 reads, 16 at a time.
    fn read(&self, preset: &str) -> Run {
        let args = ["bench", "-i", "io_uring", "-f", "raw", "-c", "500", "-d", "16", "disk"];
        under(self.stage, preset, &self.folder, "qemu-img", &args)
    }

    /// Writes, reads what was written, and flushes.
    fn write(&self, preset: &str) -> Run {
        let image = "driver=raw,file.driver=file,file.aio=io_uring,file.filename=disk";
        let (write, read) = ("write -P 0x5a 0 1M", "read -P 0x5a 0 1M");
        let args = ["--image-opts", image, "-c", write, "-c", read, "-c", "flush"];
        under(self.stage, preset, &self.folder, "qemu-io", &args)
    }

    /// The same by the emulator, in a machine that is never started, through the thread that serves its disk.
    fn emulate(&self, preset: &str) -> Run {
        let script = r#"printf '%s\n' 'qemu-io d "write -P 0x5a 0 1M"' 'qemu-io d "read -P 0x5a 0 1M"' 'qemu-io d flush' quit |
            qemu-system-x86_64 -nodefaults -display none -accel tcg -S -monitor stdio -object iothread,id=t \
                -drive if=none,id=d,file=disk,format=raw,aio=io_uring -device virtio-blk-pci,drive=d,iothread=t"#;
        under(self.stage, preset, &self.folder, "sh", &["-c", script])
    }
}

const DONE: [&str; 2] = ["wrote 1048576/1048576 bytes", "read 1048576/1048576 bytes"];

#[test]
fn qemu_works_under_its_own_and_wider_presets() {
    if !is_installed("qemu-img") {
        return;
    }
    let stage = Stage::new();
    for preset in ["qemu", "file-io", "container-default"] {
        let disk = Disk::new(&stage);
        let read = disk.read(preset);
        assert!(read.status.success(), "@{preset}: {:#?}", read.printed);
        let write = disk.write(preset);
        for done in DONE {
            assert!(write.said(done), "@{preset}: {:#?}", write.printed);
        }
        assert!(!write.printed.concat().contains("failed"), "@{preset}: {:#?}", write.printed);
        assert_eq!([read.refused, write.refused].concat(), [] as [Value; 0], "@{preset}");
    }
}

#[test]
fn the_emulator_works_under_its_preset() {
    if !is_installed("qemu-system-x86_64") {
        return;
    }
    let stage = Stage::new();
    let machine = Disk::new(&stage).emulate("qemu");
    assert!(machine.status.success(), "{:#?}", machine.printed);
    for done in DONE {
        assert!(machine.said(done), "{:#?}", machine.printed);
    }
    assert_eq!(machine.refused, [] as [Value; 0]);
    let refused = Disk::new(&stage).emulate("nothing");
    assert!(refused.said("write failed: Permission denied"), "{:#?}", refused.printed);
}

#[test]
fn qemu_hears_of_refused_requests() {
    if !is_installed("qemu-img") {
        return;
    }
    let stage = Stage::new();
    let disk = Disk::new(&stage);
    let read = disk.read("nothing");
    assert!(!read.status.success() && read.said("Permission denied"), "{:#?}", read.printed);
    let write = disk.write("nothing");
    for failed in ["write failed: Permission denied", "read failed: Permission denied"] {
        assert!(write.said(failed), "{:#?}", write.printed);
    }
    let asked = |run: &Run, op: &str| run.refused.contains(&op.into());
    assert!(asked(&read, "readv") || asked(&read, "read"), "{:?}", read.refused);
    assert!(asked(&write, "writev") || asked(&write, "write"), "{:?}", write.refused);
    assert!(asked(&write, "fsync"), "{:?}", write.refused);
}

/// A server that ends after so many clients, and the address to find it at.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    fn start(mut command: Command, clients: u32) -> Self {
        let command = command.args(["0", &clients.to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut port = String::new();
        output.read_line(&mut port).expect("a line");
        Self { child, output, address: format!("127.0.0.1:{}", port.trim()) }
    }

    /// Serves its clients, and ends well.
    fn end(mut self) {
        self.output.read_to_string(&mut String::new()).expect("the server ends");
        assert!(self.child.wait().expect("wait").success());
    }
}

#[test]
fn a_server_works_under_net_server_and_container_default() {
    let stage = Stage::new();
    let program = stage.example("echo_server");
    for preset in ["net-server", "container-default"] {
        let audit = stage.empty_folder().join("audit.jsonl");
        for command in [held(&stage, preset, &program), audited(&stage, preset, &audit, &program)] {
            let server = Server::start(command, 2);
            let mut client = stage.native(stage.example("echo_client"));
            client.args([&server.address, &server.address]);
            assert_eq!(finish(client).stdout, b"hello\nhello\n", "@{preset}");
            server.end();
        }
        assert_eq!(refused(&audit), [] as [Value; 0], "@{preset}");
    }
}

#[test]
fn a_client_works_under_net_client_on_its_port() {
    let stage = Stage::new();
    let server = Server::start(stage.native(stage.example("echo_server")), 1);
    let (_, port) = server.address.split_once(':').expect("a port");
    let client = |connect: &str, audit: &Path| {
        let policy = format!("version = 1\nextends = [\"@net-client\"]\n{connect}");
        let mut command = stage.audited(&policy, audit, stage.example("echo_client"));
        command.arg(&server.address);
        finish(command)
    };
    let audit = stage.empty_folder().join("audit.jsonl");
    let elsewhere = client("", &audit);
    let told = String::from_utf8_lossy(&elsewhere.stderr);
    assert!(told.contains("connect: Permission denied"), "{elsewhere:?}");
    assert_eq!(refused(&audit), ["connect"]);
    let audit = stage.empty_folder().join("audit.jsonl");
    let there = client(&format!("[ops]\nconnect = \"port == {port}\"\n"), &audit);
    assert_eq!(there.stdout, b"hello\n", "{there:?}");
    assert_eq!(refused(&audit), [] as [Value; 0]);
    server.end();
}

#[test]
fn a_server_hears_of_refused_requests() {
    let stage = Stage::new();
    let server = under(&stage, "file-io", &stage.empty_folder(), stage.example("echo_server"), &["0", "1"]);
    assert!(!server.status.success(), "{:#?}", server.printed);
    assert!(server.said("Permission denied"), "{:#?}", server.printed);
    assert_eq!(server.refused, ["accept"]);
}
