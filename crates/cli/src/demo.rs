//! `ringwarden demo`: a small io_uring client, the program itself, under a policy.

use crate::lane::{Lane, Refused};
use crate::style::{BAD, BOLD, DIM, GOOD, say};
use crate::{FAILED, style};
use clap::Args;
use io_uring::{IoUring, opcode, squeue, types};
use ringwarden::filter::{Context, Payload};
use ringwarden::guard::Guard;
use ringwarden::policy::{Decision, Policy};
use ringwarden::uapi::ring::Sqe;
use ringwarden::uapi::{KernelModel, Opcode};
use ringwarden::{Choice, Wishes};
use std::ffi::{CString, OsString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The policy that the demo runs under.
const POLICY: &str = include_str!("demo.toml");
const POLICY_NAME: &str = "demo.toml";

/// Show what Ringwarden does, on this machine, with nothing but this binary.
///
/// Starts a small io_uring client (itself) under a policy, and shows each request, what the policy
/// says of it, and what the kernel answered. Exit status 0 when the two agree throughout, 1 when not,
/// 125 when this machine cannot enforce a policy.
#[derive(Args)]
pub(crate) struct Demo {}

/// The client, which `demo` runs under its policy.
#[derive(Args)]
pub(crate) struct Client {
    /// A folder for its files
    folder: PathBuf,
}

impl Demo {
    pub(crate) fn execute(self) -> ExitCode {
        match self.run() {
            Ok(status) => status,
            Err(error) => style::fail(error, FAILED),
        }
    }

    fn run(self) -> Result<ExitCode, Box<dyn std::error::Error>> {
        let policy = Policy::parse(POLICY, POLICY_NAME)?;
        let choice = match Lane::Auto.choose(&Wishes::default(), std::slice::from_ref(&policy)) {
            Ok(choice) => choice,
            Err(Refused::Policies { unusable, .. }) => {
                unusable.print();
                return Ok(ExitCode::from(FAILED));
            }
            Err(Refused::Machine(reason)) => return Err(reason.into()),
        };
        if matches!(choice, Choice::Split { .. }) {
            Guard::check_machine()?;
        }
        say!("{BOLD}The policy{BOLD:#} ({POLICY_NAME})");
        for line in POLICY.lines() {
            say!("  {DIM}{line}{DIM:#}");
        }
        say!("\n{BOLD}The lane{BOLD:#}: {}\n", describe(&choice));
        let folder = Folder::new()?;
        let argv = [
            std::env::current_exe()?.into_os_string(),
            OsString::from("demo-client"),
            folder.0.clone().into(),
        ];
        let status = choice.run(&argv)?;
        drop(folder);
        Ok(status.end())
    }
}

/// Which lane the policy takes on this machine, and why.
fn describe(choice: &Choice) -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    // In lanes with the kernel's filters the one that those keep to.
    let model = choice.enforcement().filters().model();
    match choice {
        Choice::Tasks { .. } if is_older_than_filters(release) => format!(
            "filters of the kernel's kind, which this one ({release}) does not have: whatever it runs under, \
             such as\nanother ringwarden, answers for it. They have passed a self-test, and keep to what is \
             known of Linux {model}."
        ),
        Choice::Tasks { .. } => format!(
            "the kernel itself. Its filters ({release}; they keep to what is known\nof Linux {model}) have \
             passed a self-test, so the kernel refuses requests at no cost of ours."
        ),
        Choice::Restricted { .. } => format!(
            "restricted. The rings that the program gets on this kernel ({release}) are made for it, and the\n\
             kernel holds them to the policy by itself, at no cost of ours."
        ),
        Choice::Filtered { .. } => format!(
            "filtered. The rings that the program gets on this kernel ({release}) are made for it, with filters\n\
             that keep to what is known of Linux {model}: the kernel refuses requests at no cost of ours."
        ),
        Choice::Split { why, .. } => format!(
            "split. It holds every policy on every kernel from 6.10 on, this one ({release}) included:\nthe \
             guard gives the program split rings, whose requests it checks before the kernel can see\nthem. \
             Why no other: {}.",
            if why.is_empty() { "it was asked for".into() } else { why.join(";\n") }
        ),
    }
}

/// Linux 7.0 is the first with filters.
fn is_older_than_filters(release: &str) -> bool {
    release.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major < 7)
}

/// A folder of the demo's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("ringwarden-demo-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        std::fs::write(path.join("greeting"), "hello\n")?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One request of the client.
struct Request {
    /// As a person would write it.
    text: String,
    /// As the client submits it.
    entry: squeue::Entry,
    /// What a filter sees of it.
    context: Context,
}

impl Client {
    pub(crate) fn execute(self) -> ExitCode {
        match self.run() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => style::fail(error, FAILED),
        }
    }

    /// Submits one request after the other; whether the kernel always did what the policy says.
    fn run(self) -> Result<bool, Box<dyn std::error::Error>> {
        let policy = Policy::parse(POLICY, POLICY_NAME)?;
        let mut ring = IoUring::new(8)?;
        say!(
            "{BOLD}{:42} {:8} {:29} as told{BOLD:#}",
            "The program asks for",
            "policy",
            "the kernel answered"
        );
        let mut as_told = true;
        let file = std::fs::File::open(self.folder.join("greeting"))?;
        let path = |name: &str| CString::new(self.folder.join(name).as_os_str().as_bytes());
        let (greeting, new) = (path("greeting")?, path("new")?);
        let read_only = types::OpenHow::new();
        let create = types::OpenHow::new().flags(CREATE).mode(0o600);
        let truncate = types::OpenHow::new().flags(TRUNCATE);
        let mut buffer = [0; 64];
        let requests = [
            plain("nop", Opcode::NOP, opcode::Nop::new().build()),
            opening("openat2 greeting, O_RDONLY", &greeting, &read_only, 0),
            opening("openat2 new, O_WRONLY|O_CREAT", &new, &create, CREATE),
            opening("openat2 greeting, O_RDONLY|O_TRUNC", &greeting, &truncate, TRUNCATE),
            plain(
                "read greeting",
                Opcode::READ,
                opcode::Read::new(types::Fd(file.as_raw_fd()), buffer.as_mut_ptr(), 64).build(),
            ),
            plain(
                "write greeting",
                Opcode::WRITE,
                opcode::Write::new(types::Fd(file.as_raw_fd()), buffer.as_ptr(), 6).build(),
            ),
            socket("socket AF_INET, SOCK_STREAM", 2, 1),
            socket("socket AF_INET, SOCK_RAW", 2, 3),
            socket("socket AF_NETLINK, SOCK_RAW", 16, 3),
            plain(
                "unlinkat greeting",
                Opcode::UNLINKAT,
                opcode::UnlinkAt::new(types::Fd(AT_FDCWD), greeting.as_ptr()).build(),
            ),
        ];
        for Request { text, entry, context } in requests {
            let result = submit(&mut ring, &entry)?;
            let decision = policy.evaluate(context.words());
            let refused = result == -EACCES;
            let agreed = refused == (decision == Decision::Deny);
            as_told &= agreed;
            let (says, says_style) = if decision == Decision::Deny { ("deny", BAD) } else { ("allow", GOOD) };
            let (mark, mark_style) = if agreed { ("yes", GOOD) } else { ("NO", BAD) };
            say!(
                "{text:42} {says_style}{says:8}{says_style:#} {:29} {mark_style}{mark}{mark_style:#}",
                answer(result)
            );
        }
        let intact = Path::new(&self.folder.join("greeting")).exists() && !self.folder.join("new").exists();
        say!(
            "\n{}",
            match (as_told, intact) {
                (true, true) =>
                    "Refused requests had no effect: the file is still there, and no other was made.",
                (true, false) => "A refused request had an effect!",
                (false, _) => "The kernel did not do what the policy says!",
            }
        );
        Ok(as_told && intact)
    }
}

const EACCES: i32 = 13;
pub(crate) const AT_FDCWD: i32 = -100;
/// `O_WRONLY | O_CREAT`.
const CREATE: u64 = 0o101;
/// `O_RDONLY | O_TRUNC`, which empties the file although nothing is opened for writing.
const TRUNCATE: u64 = 0o1000;

fn plain(text: &str, opcode: Opcode, entry: squeue::Entry) -> Request {
    let sqe = Sqe { opcode: opcode.0, ..Sqe::default() };
    Request { text: text.into(), entry, context: Context::header(KernelModel::default(), &sqe) }
}

fn opening(text: &str, path: &CString, how: &types::OpenHow, flags: u64) -> Request {
    let entry = opcode::OpenAt2::new(types::Fd(AT_FDCWD), path.as_ptr(), how).build();
    let sqe = Sqe { opcode: Opcode::OPENAT2.0, len: 24, ..Sqe::default() };
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&flags.to_ne_bytes());
    let context = Context::new(KernelModel::default(), &sqe, Payload::OpenHow(&bytes))
        .unwrap_or_else(|_| Context::header(KernelModel::default(), &sqe));
    Request { text: text.into(), entry, context }
}

fn socket(text: &str, family: i32, kind: i32) -> Request {
    let entry = opcode::Socket::new(family, kind, 0).build();
    let sqe = Sqe { opcode: Opcode::SOCKET.0, fd: family, off: kind as u64, ..Sqe::default() };
    Request { text: text.into(), entry, context: Context::header(KernelModel::default(), &sqe) }
}

/// Submits one request and gives the result of its completion.
pub(crate) fn submit(ring: &mut IoUring, entry: &squeue::Entry) -> std::io::Result<i32> {
    // SAFETY: everything that the requests point at lives until the last has completed.
    unsafe { ring.submission().push(entry) }.map_err(std::io::Error::other)?;
    ring.submit_and_wait(1)?;
    let completion = ring.completion().next();
    completion.map(|cqe| cqe.result()).ok_or_else(|| std::io::Error::other("no completion"))
}

/// A completion's result, for people.
fn answer(result: i32) -> String {
    if result >= 0 {
        return result.to_string();
    }
    let error = std::io::Error::from_raw_os_error(-result).to_string();
    // Without "(os error N)".
    format!("{result} {}", error.split(" (os").next().unwrap_or_default())
}
