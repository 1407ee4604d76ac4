//! Real programs under the presets: they work with nothing refused where the preset's page says so, and
//! fail under `@nothing`, which shows that the work goes through io_uring.

mod launch;

use launch::{Stage, finish, skip};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// What came of a run.
struct Run {
    status: ExitStatus,
    printed: String,
    /// Refused operations and calls, in order.
    refused: Vec<Value>,
}

/// `program` under a preset, with an audit file.
fn audited(stage: &Stage, preset: &str, audit: &Path, program: impl AsRef<OsStr>) -> Command {
    stage.audited(&format!("version = 1\nextends = [\"@{preset}\"]\n"), audit, program)
}

/// The refused operations of an audit.
fn refused(audit: &Path) -> Vec<Value> {
    let audit = fs::read_to_string(audit).expect("an audit");
    audit.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["op"].take()).collect()
}

/// Runs `program` to its end in `folder` under a preset.
fn under(stage: &Stage, preset: &str, folder: &Path, program: impl AsRef<OsStr>, args: &[&str]) -> Run {
    let audit = stage.empty_folder().join("audit.jsonl");
    let mut command = audited(stage, preset, &audit, program);
    command.args(args).current_dir(folder);
    let output = finish(command);
    Run {
        status: output.status,
        printed: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        refused: refused(&audit),
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
        assert!(status.success(), "@{preset} {job}: {printed}");
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
        let Run { status, printed, refused } = fio(&stage, preset, job);
        assert!(!status.success(), "@{preset} {job}: {printed}");
        assert!(printed.contains("Permission denied"), "@{preset} {job}: {printed}");
        assert!(refused.contains(&op.into()), "@{preset} {job}: {refused:?}");
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
}

#[test]
fn qemu_works_under_file_io_and_container_default() {
    if !is_installed("qemu-img") {
        return;
    }
    let stage = Stage::new();
    for preset in ["file-io", "container-default"] {
        let disk = Disk::new(&stage);
        let read = disk.read(preset);
        assert!(read.status.success(), "@{preset}: {}", read.printed);
        let write = disk.write(preset);
        for done in ["wrote 1048576/1048576 bytes", "read 1048576/1048576 bytes"] {
            assert!(write.printed.contains(done), "@{preset}: {}", write.printed);
        }
        assert!(!write.printed.contains("failed"), "@{preset}: {}", write.printed);
        assert_eq!([read.refused, write.refused].concat(), [] as [Value; 0], "@{preset}");
    }
}

#[test]
fn qemu_hears_of_refused_requests() {
    if !is_installed("qemu-img") {
        return;
    }
    let stage = Stage::new();
    let disk = Disk::new(&stage);
    let read = disk.read("nothing");
    assert!(!read.status.success() && read.printed.contains("Permission denied"), "{}", read.printed);
    let write = disk.write("nothing");
    for failed in ["write failed: Permission denied", "read failed: Permission denied"] {
        assert!(write.printed.contains(failed), "{}", write.printed);
    }
    let asked = |run: &Run, op: &str| run.refused.contains(&op.into());
    assert!(asked(&read, "readv") || asked(&read, "read"), "{:?}", read.refused);
    assert!(asked(&write, "writev") || asked(&write, "write"), "{:?}", write.refused);
    assert!(asked(&write, "fsync"), "{:?}", write.refused);
}

#[test]
fn a_server_and_its_client_work_under_net_server_and_container_default() {
    let stage = Stage::new();
    for preset in ["net-server", "container-default"] {
        let audit = stage.empty_folder().join("audit.jsonl");
        let mut server = audited(&stage, preset, &audit, stage.example("echo_server"));
        let mut server = server.args(["0", "2"]).stdout(Stdio::piped()).spawn().expect("start");
        let mut output = BufReader::new(server.stdout.take().expect("piped"));
        let mut port = String::new();
        output.read_line(&mut port).expect("a line");
        let address = format!("127.0.0.1:{}", port.trim());
        let args = [address.as_str(), address.as_str()];
        let client = under(&stage, preset, &stage.empty_folder(), stage.example("echo_client"), &args);
        assert_eq!(client.printed, "hello\nhello\n", "@{preset}");
        output.read_to_string(&mut port).expect("the server ends");
        assert!(server.wait().expect("wait").success(), "@{preset}");
        assert_eq!([client.refused, refused(&audit)].concat(), [] as [Value; 0], "@{preset}");
    }
}

#[test]
fn a_server_hears_of_refused_requests() {
    let stage = Stage::new();
    let server = under(&stage, "file-io", &stage.empty_folder(), stage.example("echo_server"), &["0", "1"]);
    assert!(!server.status.success(), "{}", server.printed);
    assert!(server.printed.contains("Permission denied"), "{}", server.printed);
    assert_eq!(server.refused, ["accept"]);
}
