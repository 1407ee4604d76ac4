//! Virtual machines: a kernel, a command, its output, its exit status.

use crate::architecture::Architecture;
use crate::deadline::ends_within;
use crate::guest::Programs;
use crate::initramfs::Initramfs;
use crate::kernel::Kernel;
use anyhow::{Context, bail};
use rustix::process::Pid;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A kind of machine that QEMU plays.
struct Kind {
    program: &'static str,
    package: &'static str,
    machine: &'static str,
    cpu: &'static str,
    command_line: &'static str,
    /// The second serial port (`conformance/init`).
    output: &'static str,
}

const X86_64: Kind = Kind {
    program: "qemu-system-x86_64",
    package: "qemu-system-x86",
    machine: "microvm",
    // What a newer processor has costs time where it is emulated: more levels of page tables, more registers to switch.
    cpu: "qemu64",
    // All up to `mitigations=off` saves time under emulation: together with the processor a third. Without `tsc_early_khz` a kernel 7.x
    // hangs on this machine, which has no other clock; with `lpj` it need not measure how fast it is.
    command_line: "console=ttyS0 quiet panic=-1 reboot=t nokaslr init_on_alloc=0 randomize_kstack_offset=off \
         mitigations=off tsc_early_khz=2100000 lpj=4000000",
    output: "isa-serial,chardev=output,index=1",
};
/// Kernels before 7.0 crash under emulation now and then where they use CMPXCHG16B.
const OLD_X86_64: Kind = Kind { cpu: "qemu64,-cx16", ..X86_64 };
const AARCH64: Kind = Kind {
    program: "qemu-system-aarch64",
    package: "qemu-system-arm",
    machine: "virt",
    // Without signed pointers and tags, which newer ones have. QEMU 7.2's `max` executes what was at an address before it was mapped
    // anew (11.1's does not): code of programs gave values of others.
    cpu: "cortex-a72",
    command_line: "console=ttyAMA0 quiet panic=-1 nokaslr init_on_alloc=0 randomize_kstack_offset=off mitigations=off",
    output: "pci-serial,chardev=output",
};

/// How often a kernel that does not come up is started.
const ATTEMPTS: u32 = 3;
/// How long a kernel may take to begin with the first process, which takes three seconds: one that got hardly any time of
/// a processor at its start was seen to wait for ever (7.3-rc7).
const START: Duration = Duration::from_secs(180);

/// A machine that is ready to start.
pub(crate) struct Machine {
    directory: TempDir,
    initramfs: Initramfs,
}

/// How a command in a machine ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status, 128 + N for signal N.
    pub(crate) status: i32,
}

impl Machine {
    pub(crate) fn new(programs: &Programs) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let initramfs = Initramfs::create(&directory.path().join("initramfs"), &programs.init)?;
        Ok(Self { directory, initramfs })
    }

    /// What is in the machine's file system.
    pub(crate) fn files(&mut self) -> &mut Initramfs {
        &mut self.initramfs
    }

    /// Starts the machine and runs a command in it. What the command writes goes to `output`, or to
    /// where our own output goes.
    ///
    /// # Errors
    /// If QEMU cannot be run, the kernel does not come up or `limit` passes: with the end of what was
    /// on the console.
    pub(crate) fn run(
        mut self,
        kernel: &Kernel,
        command: &[OsString],
        output: Option<&File>,
        limit: Duration,
    ) -> anyhow::Result<Ended> {
        let command: Vec<_> = command.iter().map(|word| word.as_bytes()).collect();
        self.initramfs.bytes(Path::new("/command"), &command.join(&0), 0o644)?;
        self.initramfs.finish()?;
        let (initramfs, console) =
            (self.directory.path().join("initramfs"), self.directory.path().join("console"));
        let mut attempt = 1;
        loop {
            let output = output.map_or(Ok(Stdio::inherit()), |file| file.try_clone().map(Stdio::from))?;
            let kind = kind(kernel);
            let mut qemu = qemu(kernel, &kind, &initramfs, &console);
            let status = run_once(&kind, qemu.stdout(output), limit, &console)?;
            let said = said(&console);
            let ended = match &status {
                Some(status) => format!("QEMU: {status}"),
                None => "it was stopped".to_owned(),
            };
            let last = words(&said).next_back();
            if status.is_none() && (last == Some("start") || limit <= START) {
                bail!("{kernel} did not end within {} s{}", limit.as_secs(), last_lines(&said));
            }
            match last {
                Some("start") => bail!("{kernel} crashed, {ended}{}", last_lines(&said)),
                Some(word) => {
                    let exit = word.strip_prefix("exit ").and_then(|status| status.parse().ok());
                    return exit.map(|status| Ended { status }).with_context(|| {
                        format!("in the machine with {kernel}: {}", word.trim_start_matches("error "))
                    });
                }
                // Emulated processors now and then stumble over code that the kernel patches at its start.
                None if status.is_none_or(|status| status.success()) && attempt < ATTEMPTS => {
                    eprintln!("{kernel} did not come up: once more")
                }
                None => bail!("{kernel} did not come up, {ended}{}", last_lines(&said)),
            }
            attempt += 1;
        }
    }
}

/// What is on the console.
fn said(console: &Path) -> String {
    String::from_utf8_lossy(&fs::read(console).unwrap_or_default()).into_owned()
}

/// What the first process says there.
fn words(said: &str) -> impl DoubleEndedIterator<Item = &str> {
    said.lines().filter_map(|line| line.trim().strip_prefix("init: "))
}

/// Runs QEMU; no status if it takes too long, to come up or altogether.
fn run_once(
    kind: &Kind,
    qemu: &mut Command,
    limit: Duration,
    console: &Path,
) -> anyhow::Result<Option<ExitStatus>> {
    // What an earlier attempt has left.
    let _ = fs::remove_file(console);
    let mut child = qemu.stdin(Stdio::null()).spawn().with_context(|| {
        format!("cannot run {}: it is in Debian's package {}", kind.program, kind.package)
    })?;
    let process = Pid::from_child(&child);
    let mut ended = ends_within(process, START.min(limit));
    if matches!(ended, Ok(false)) && words(&said(console)).next().is_some() {
        ended = ends_within(process, limit.saturating_sub(START));
    }
    if !matches!(ended, Ok(true)) {
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(ended?.then_some(status))
}

fn kind(kernel: &Kernel) -> Kind {
    match kernel.architecture {
        Architecture::X86_64 if kernel.series.major < 7 => OLD_X86_64,
        Architecture::X86_64 => X86_64,
        Architecture::Aarch64 => AARCH64,
    }
}

fn qemu(kernel: &Kernel, kind: &Kind, initramfs: &Path, console: &Path) -> Command {
    let mut command = Command::new(kind.program);
    // One thread for both processors: several race where the kernel patches its own code.
    command.args([
        "-M",
        kind.machine,
        "-accel",
        "tcg,thread=single",
        "-cpu",
        kind.cpu,
        "-smp",
        "2",
        "-m",
        "1024",
    ]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initramfs);
    command.args(["-append", kind.command_line]);
    let mut port = OsString::from("file:");
    port.push(console);
    command.arg("-serial").arg(port);
    command.args(["-chardev", "stdio,id=output,signal=off", "-device", kind.output]);
    command
}

/// The end of what the console showed, if anything.
fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(40)..].iter().map(|line| format!("\n  | {line}")).collect()
}
