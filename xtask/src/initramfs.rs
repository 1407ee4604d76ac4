//! An initramfs: a cpio archive in the `newc` form (`Documentation/driver-api/early-userspace/
//! buffer-format.rst` in the kernel's tree), uncompressed.

use anyhow::{Context, ensure};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

const DIRECTORY: u32 = 0o040000;
const REGULAR: u32 = 0o100000;
const CHARACTER_DEVICE: u32 = 0o020000;
/// The device that the kernel gives to the first process as its output.
const CONSOLE: (u32, u32) = (5, 1);

/// An archive that is being written.
pub(crate) struct Initramfs {
    out: BufWriter<File>,
    entries: u32,
    /// What is in it already, without a leading `/`.
    names: BTreeSet<PathBuf>,
}

impl Initramfs {
    /// Begins an archive with `init` as the first process.
    pub(crate) fn create(path: &Path, init: &Path) -> anyhow::Result<Self> {
        let out = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut archive = Self { out: BufWriter::new(out), entries: 0, names: BTreeSet::new() };
        archive.file(init, Path::new("/init"))?;
        archive.parents(Path::new("dev/console"))?;
        archive.entry(Path::new("dev/console"), CHARACTER_DEVICE | 0o600, CONSOLE, b"")?;
        Ok(archive)
    }

    /// Adds a file or a folder of the host with everything in it, symbolic links followed.
    pub(crate) fn file(&mut self, host: &Path, guest: &Path) -> anyhow::Result<()> {
        let metadata = fs::metadata(host).with_context(|| format!("no file {}", host.display()))?;
        if metadata.is_dir() {
            for entry in fs::read_dir(host)? {
                let entry = entry?;
                self.file(&entry.path(), &guest.join(entry.file_name()))?;
            }
            return Ok(());
        }
        let content = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
        self.bytes(guest, &content, metadata.permissions().mode() & 0o7777)
    }

    /// Adds a program with the libraries that it is linked to, at the same places.
    pub(crate) fn program(&mut self, host: &Path, guest: &Path) -> anyhow::Result<()> {
        self.file(host, guest)?;
        for library in libraries(host)? {
            self.file(&library, &library)?;
        }
        Ok(())
    }

    /// Adds a file with that content, unless there is one.
    pub(crate) fn bytes(&mut self, guest: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
        let name = relative(guest)?;
        if self.names.contains(&name) {
            return Ok(());
        }
        self.parents(&name)?;
        self.entry(&name, REGULAR | mode, (0, 0), content)
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.write(OsStr::new("TRAILER!!!"), 0, (0, 0), b"")?;
        self.out.flush()?;
        Ok(())
    }

    fn parents(&mut self, name: &Path) -> anyhow::Result<()> {
        let parents: Vec<_> = name.ancestors().skip(1).filter(|path| *path != Path::new("")).collect();
        for parent in parents.into_iter().rev() {
            if !self.names.contains(parent) {
                self.entry(parent, DIRECTORY | 0o755, (0, 0), b"")?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &Path, mode: u32, device: (u32, u32), content: &[u8]) -> anyhow::Result<()> {
        self.names.insert(name.to_owned());
        self.write(name.as_os_str(), mode, device, content)
    }

    fn write(&mut self, name: &OsStr, mode: u32, device: (u32, u32), content: &[u8]) -> anyhow::Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).context("a file of more than 4 GiB")?;
        let name_size = name.len() as u32 + 1;
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor,
        // namesize, check
        let header = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.out.write_all(b"070701")?;
        for number in header {
            write!(self.out, "{number:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        // The name's end, and up to a multiple of four from the header's start.
        let header_size = 110 + name_size as usize;
        self.out.write_all(&[0; 4][..1 + padding(header_size)])?;
        self.out.write_all(content)?;
        self.out.write_all(&[0; 3][..padding(content.len())])?;
        Ok(())
    }
}

fn padding(size: usize) -> usize {
    size.next_multiple_of(4) - size
}

fn relative(guest: &Path) -> anyhow::Result<PathBuf> {
    ensure!(
        guest.is_absolute() && !guest.components().any(|part| part == Component::ParentDir),
        "{} is no absolute path",
        guest.display()
    );
    Ok(guest.components().filter(|part| matches!(part, Component::Normal(_))).collect())
}

/// The libraries and the loader that a program needs: none if it is static or no ELF file.
fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let mut libraries = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`
        let found = line.split("=>").last().unwrap_or_default().trim();
        ensure!(found != "not found", "{} needs a library that is not there: {line}", program.display());
        if let Some(path) = found.split(' ').next().filter(|path| path.starts_with('/')) {
            libraries.push(path.into());
        }
    }
    Ok(libraries)
}
