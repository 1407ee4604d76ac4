//! QEMU's tools with `aio=io_uring`, on a raw disk and on a qcow2 image.

use super::launch::{self, Launch};
use super::root::Root;
use crate::debian::output;
use anyhow::ensure;
use std::fs::{self, File};
use std::path::Path;

const PRESET: &str = "@qemu";
/// A policy that is too tight, to see that the work goes through io_uring.
const WITHOUT_READS: &str = "version = 1\nextends = [\"@qemu\"]\n[ops]\nread = \"deny\"\nreadv = \"deny\"\n";

pub(super) fn run(root: &Root) -> anyhow::Result<()> {
    let run = root.empty_run()?;
    launch::is_held_by_the_kernel(root, PRESET)?;
    for launch in [Launch::Under(PRESET), Launch::Audited(PRESET)] {
        bench(root, &run, launch)?;
        image(root, launch)?;
    }
    launch::nothing_was_refused(&run)?;
    fs::write(run.join("without-reads.toml"), WITHOUT_READS)?;
    let tight = bench(root, &run, Launch::Under("/run/without-reads.toml"));
    ensure!(
        tight.is_err_and(|error| format!("{error:#}").contains("Permission denied")),
        "it needs no reads"
    );
    let version = output(root.command("qemu-img").arg("--version"))?;
    println!(
        "{} under {PRESET}: reads, writes, flushes, raw and qcow2",
        version.lines().next().unwrap_or("?")
    );
    Ok(())
}

/// Many requests at a time on a raw disk.
fn bench(root: &Root, run: &Path, launch: Launch) -> anyhow::Result<()> {
    File::create(run.join("disk"))?.set_len(16 << 20)?;
    root.give(&run.join("disk"))?;
    for work in [&["-t", "none"][..], &["-w", "-t", "none", "--flush-interval=64"]] {
        let mut bench = launch.command(root, "qemu-img");
        bench.args(["bench", "-i", "io_uring", "-f", "raw", "-c", "500", "-d", "32"]);
        output(bench.args(work).arg("/run/disk"))?;
    }
    Ok(())
}

/// Writes an image, grows it, discards from it, and reads what was written.
fn image(root: &Root, launch: Launch) -> anyhow::Result<()> {
    output(root.command("qemu-img").args(["create", "-q", "-f", "qcow2", "/run/image", "64M"]))?;
    let options = "driver=qcow2,file.driver=file,file.aio=io_uring,file.filename=/run/image";
    let mut work = launch.command(root, "qemu-io");
    work.args(["--image-opts", options]);
    for command in [
        "write -P 0x5a 0 1M",
        "writev -P 0x5b 1M 4k 8k",
        "flush",
        "discard 2M 1M",
        "truncate 128M",
        "write -z 96M 1M",
        "write -P 0x5c 100M 1M",
        "read -P 0x5a 0 1M",
        "readv -P 0x5b 1M 4k 8k",
        "read -P 0 96M 1M",
        "read -P 0x5c 100M 1M",
    ] {
        work.args(["-c", command]);
    }
    let said = output(&mut work)?;
    ensure!(!said.contains("failed"), "{said}");
    let checked = output(root.command("qemu-img").args(["check", "/run/image"]))?;
    ensure!(checked.contains("No errors"), "{checked}");
    Ok(())
}
