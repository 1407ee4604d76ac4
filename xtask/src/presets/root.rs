//! A root folder with the programs and what they need, run in it as an ordinary user.

use crate::architecture::Architecture;
use crate::cache;
use crate::debian::{self, succeed};
use anyhow::Context;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages of Debian sid. PostgreSQL's programs call a shell.
const PACKAGES: [&str; 8] = [
    "postgresql-18",
    "mariadb-server-core",
    "mariadb-client-core",
    "qemu-utils",
    "nodejs",
    "libuv1-dev",
    "fio",
    "dash",
];
/// The user who runs everything, and his group: any but root, whom PostgreSQL refuses.
pub(crate) const USER: u32 = 114;
const PASSWD: &str = "root:x:0:0::/root:/bin/sh\ndaemon:x:114:114::/run:/bin/sh\n";
const GROUP: &str = "root:x:0:\ndaemon:x:114:\n";
/// Inside the root.
pub(crate) const PATH: &str = "/usr/lib/postgresql/18/bin:/usr/local/bin:/usr/bin:/usr/sbin";
/// Character devices: name, major and minor number.
const DEVICES: [(&str, u8, u8); 4] = [("null", 1, 3), ("zero", 1, 5), ("random", 1, 8), ("urandom", 1, 9)];

pub(crate) struct Root {
    path: PathBuf,
}

impl Root {
    /// Makes the root in the cache, or finds it there if it has sid's versions; with a copy of `ringwarden`.
    pub(crate) fn new(ringwarden: &Path) -> anyhow::Result<Self> {
        let sid = debian::Suite::open("sid", Architecture::X86_64)?;
        let folder = cache::directory()?.join("presets");
        let versions = sid.file_names(&PACKAGES)?;
        let root = Self { path: folder.join("root") };
        let unpacked = folder.join("unpacked");
        if fs::read_to_string(&unpacked).ok().as_deref() != Some(&versions) {
            eprintln!("unpacking what Debian's programs depend on, and these:\n{versions}");
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(&root.path)?;
            sid.unpack_with_dependencies(&PACKAGES, &[], &root.path)?;
            root.furnish()?;
            fs::write(&unpacked, versions)?;
        }
        let copy = root.path.join("usr/local/bin/ringwarden");
        fs::copy(ringwarden, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
        Ok(root)
    }

    /// What the packages' scripts and a running system would have made.
    fn furnish(&self) -> anyhow::Result<()> {
        fs::write(self.path.join("etc/passwd"), PASSWD)?;
        fs::write(self.path.join("etc/group"), GROUP)?;
        for folder in ["proc", "tmp", "dev/shm", "usr/local/bin"] {
            fs::create_dir_all(self.path.join(folder))?;
        }
        for folder in ["tmp", "dev/shm"] {
            fs::set_permissions(self.path.join(folder), PermissionsExt::from_mode(0o1777))?;
        }
        for (name, major, minor) in DEVICES {
            let device = self.path.join("dev").join(name);
            let (major, minor) = (major.to_string(), minor.to_string());
            succeed(Command::new("mknod").args(["-m", "666"]).arg(device).args(["c", &major, &minor]))
                .context("devices cannot be made: are you root, and is the cache on a disk?")?;
        }
        Ok(())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `program` in the root, as its user; arguments can be added.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        // A process file system of its own, which is gone with the last process that sees it.
        command.args(["--mount", "--mount-proc", "--root"]).arg(&self.path);
        command.args([format!("--setuid={USER}"), format!("--setgid={USER}"), program.to_owned()]);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
        command
    }

    /// A new, empty folder for its user, who knows it as `/run`; the path outside of the root.
    pub(crate) fn empty_run(&self) -> anyhow::Result<PathBuf> {
        let folder = self.path.join("run");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        self.give(&folder)?;
        Ok(folder)
    }

    /// Makes something its user's own.
    pub(crate) fn give(&self, path: &Path) -> anyhow::Result<()> {
        Ok(chown(path, Some(USER), Some(USER))?)
    }
}
