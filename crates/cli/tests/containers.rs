//! `docs/containers.md` does what it says, in an `/etc` and a `/run` of its own: its commands are run in order, with a
//! stand-in for the image that makes rings and is refused a write.
//!
//! `sh` blocks are run by bash; `sh podman` ones where Podman is installed; `sh until` ones again and again until they
//! print what stands behind them; `sh stays` is the agent, which goes on until the end and says what is in `text agent`
//! blocks. `sh not-run` is for what cannot be tried here.

mod document;
mod launch;

use document::{Block, blocks, matches};
use launch::{built, finish, is_root, skip};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// After this a command does not come to print what it should.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the image's first process is, whatever it is told.
const ENTRY: &str = "#!/bin/sh\n(echo ring 8; echo write; exec sleep 1000) | ring_client\n";
/// Limits that need no privilege, and what does without devices and networks.
const PODMAN: &str = "[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=1024:1024\"]\nnetns = \"none\"\n\
    [engine]\nruntime = \"runc\"\nlock_type = \"file\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n";
/// Its own `/etc` and `/run` are seen by whoever enters the namespace of mounts of this shell's.
const NAMESPACE: &str =
    "cp -a /etc etc; mount --bind etc /etc; mount -t tmpfs tmpfs /run; echo ready; exec sleep infinity";

/// A namespace of mounts, the agent in it, and a folder for all the rest. When it is dropped, all of it ends.
struct Machine {
    folder: TempDir,
    holder: Child,
    agent: Option<(Child, Receiver<String>)>,
    podman: bool,
}

impl Machine {
    fn new(podman: bool) -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("containers.conf"), PODMAN).expect("writable");
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\nrunroot = \"/run/storage\"\ngraphroot = \"{}\"\n",
            folder.path().join("storage").display()
        );
        fs::write(folder.path().join("storage.conf"), storage).expect("writable");
        image(&folder.path().join("db/rootfs"));
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-ec", NAMESPACE])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut ready = [0; 6];
        holder.stdout.take().expect("a pipe").read_exact(&mut ready).expect("a namespace of mounts");
        Self { folder, holder, agent: None, podman }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// bash in it, with that script.
    fn bash(&self, script: &str) -> Command {
        let binaries = Path::new(env!("CARGO_BIN_EXE_ringwarden")).parent().expect("a folder");
        let path = std::env::var("PATH").expect("text");
        let script = format!("set -eo pipefail; exec 2>&1; cd {}\n{script}", self.folder.path().display());
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).args(["bash", "-c", &script]);
        command
            .env("PATH", format!("{}:{path}:/usr/sbin", binaries.display()))
            .env("CONTAINERS_CONF", self.path("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"))
            .env("NO_COLOR", "1");
        command
    }

    /// What a script prints; it has to succeed.
    fn run(&self, place: &str, script: &str) -> String {
        let output = finish(self.bash(script));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{place}: {}:\n{printed}", output.status);
        printed
    }

    /// Starts the agent.
    fn start(&mut self, script: &str) {
        let mut command = self.bash(&format!("exec {script}"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("bash");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Nobody may want to know any more.
                let _ = sender.send(line);
            }
        });
        self.agent = Some((child, receiver));
    }

    /// Waits until the agent says that.
    fn hear(&self, place: &str, pattern: &str) {
        let (_, lines) = self.agent.as_ref().expect("an agent");
        let mut heard = Vec::new();
        while !heard.last().is_some_and(|line: &String| matches(&[pattern], &[line])) {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => heard.push(line),
                Err(error) => panic!("{place}: the agent does not say that ({error}): {heard:#?}"),
            }
        }
    }

    /// Does what a block says, and gives whether it had anything to do.
    fn perform(&mut self, block: &Block, said: Option<&str>) -> bool {
        let place = format!("docs/containers.md:{}", block.line);
        if let Some(file) = block.info.strip_prefix("toml ") {
            let text = format!("cat > {file} <<'END'\n{}END\n", block.text);
            self.run(&place, &text);
        }
        if block.info == "text agent" && self.podman {
            self.hear(&place, block.text.trim_end());
        }
        let Some(kinds) = block.info.strip_prefix("sh") else { return false };
        let kinds: Vec<_> = kinds.split_whitespace().collect();
        if kinds.contains(&"not-run") || (kinds.contains(&"podman") && !self.podman) {
            return false;
        }
        if kinds.contains(&"stays") {
            self.start(&block.text);
            self.hear(&place, said.expect("what it says").trim_end());
            return true;
        }
        let start = Instant::now();
        loop {
            let printed = self.run(&place, &block.text);
            let pattern: Option<Vec<_>> = said.map(|said| said.lines().collect());
            if pattern.is_none_or(|pattern| matches(&pattern, &printed.lines().collect::<Vec<_>>())) {
                return true;
            }
            let again = kinds.contains(&"until") && start.elapsed() < PATIENCE;
            assert!(again, "{place} prints:\n{printed}");
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let podman = if self.podman { "podman rm -fa -t 0;" } else { "" };
        let _ = self.bash(&format!("set +e; {podman} runc delete -f db")).stdout(Stdio::null()).status();
        for child in self.agent.iter_mut().map(|(agent, _)| agent).chain([&mut self.holder]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The stand-in's root file system.
fn image(root: &Path) {
    for folder in ["bin", "proc", "dev", "sys", "usr/local/bin"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    for program in [PathBuf::from("/bin/busybox"), built("examples/ring_client")] {
        copy(&program, &root.join("bin").join(program.file_name().expect("a name")));
        let output = Command::new("ldd").arg(&program).output().expect("ldd");
        let text = String::from_utf8(output.stdout).expect("text");
        for library in text.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':')) {
            copy(Path::new(library), &root.join(&library[1..]));
        }
    }
    for name in ["sh", "sleep", "echo"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("a link");
    }
    let entry = root.join("usr/local/bin/docker-entrypoint.sh");
    fs::write(&entry, ENTRY).expect("writable");
    fs::set_permissions(entry, PermissionsExt::from_mode(0o755)).expect("chmod");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    let copied = Command::new("cp").arg("-L").arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "{}", from.display());
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn every_command_of_the_page_on_containers_does_what_it_says() {
    if !is_root() {
        return skip("containers take root");
    }
    if !["runc", "jq", "curl"].into_iter().all(is_there) || !Path::new("/bin/busybox").exists() {
        return skip("containers take the packages runc, busybox, jq and curl");
    }
    if !Path::new("/usr/share/containers/seccomp.json").exists() {
        return skip("golang-github-containers-common is not installed");
    }
    let podman = is_there("podman");
    if !podman {
        skip("what the page says of Podman: it is not installed");
    }
    let mut machine = Machine::new(podman);
    if podman {
        let import =
            "tar -C db/rootfs -c . | podman import -c 'ENTRYPOINT [\"docker-entrypoint.sh\"]' - postgres:18";
        machine.run("the image", import);
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/containers.md");
    let blocks = blocks(&fs::read_to_string(page).expect("readable"));
    let mut commands = 0;
    for (index, block) in blocks.iter().enumerate() {
        let said = blocks.get(index + 1).filter(|next| next.info == "text").map(|next| next.text.as_str());
        if block.text.starts_with("runc delete") {
            // A ring, and what its policy refuses.
            let log = machine.path("db/db.log");
            let start = Instant::now();
            while fs::read_to_string(&log).expect("a log") != format!("0\n-{}\n", libc::EACCES) {
                assert!(start.elapsed() < PATIENCE, "{:?}", fs::read_to_string(&log));
                std::thread::yield_now();
            }
        }
        commands += usize::from(machine.perform(block, said));
    }
    assert!(commands >= 9, "{commands} commands");
}
