//! The caller, put under its policies by the kernel's own filters.

use crate::abi::Code;
use crate::error::{Error, Fault};
use crate::means::Means;
use ringwarden::kernel::ConfineError;
use ringwarden::uapi::KernelModel;
use rustix::io::Errno;

/// Why the caller is not confined, or only in part. Making one allocates nothing.
#[derive(Debug)]
pub(crate) enum Unconfined<'e> {
    /// There is no enforcement.
    Null,
    Setup(&'e str),
    OtherKernel(KernelModel),
    /// The number of threads.
    Threads(u64),
    /// Nobody knows how many threads there are.
    NoProc(Errno),
    Part(ConfineError),
}

impl Means {
    /// Confines the calling process, for good. Allocates nothing.
    pub(crate) fn confine(&self) -> Result<(), Unconfined<'_>> {
        let confinement = match self {
            Self::Ready(confinement) => confinement,
            Self::Setup(rule) => return Err(Unconfined::Setup(rule)),
            Self::OtherKernel(model) => return Err(Unconfined::OtherKernel(*model)),
        };
        match threads().map_err(Unconfined::NoProc)? {
            1 => confinement.apply().map_err(Unconfined::Part),
            more => Err(Unconfined::Threads(more)),
        }
    }
}

/// How many threads the calling process has: a folder has a link for itself, one for its name, and one for each folder in
/// it, which procfs counts by the threads (`proc_task_getattr`, `fs/proc/base.c`).
///
/// # Errors
/// There is no `/proc`, or it does not count.
fn threads() -> Result<u64, Errno> {
    let links = rustix::fs::stat(c"/proc/self/task")?.st_nlink as u64;
    // One at least, who asks.
    links.checked_sub(2).filter(|count| *count > 0).ok_or(Errno::NOTSUP)
}

impl Fault for Unconfined<'_> {
    fn code(&self) -> Code {
        match self {
            Self::Null => Code::Argument,
            Self::Setup(_) => Code::Beyond,
            Self::OtherKernel(_) => Code::Kernel,
            Self::Threads(_) => Code::Threads,
            Self::NoProc(_) | Self::Part(_) => Code::Confine,
        }
    }

    fn into_error(self) -> Error {
        let text = match &self {
            Self::Null => return Error::argument("enforcement", "is null"),
            Self::Setup(rule) => format!("filters of a task do not see which rings are made{rule}"),
            Self::OtherKernel(model) => {
                format!(
                    "this is compiled for kernel {model}, and only what is for `running` was tried out here"
                )
            }
            Self::Threads(more) => {
                format!("{more} threads are there, and only the calling one would be confined")
            }
            Self::NoProc(error) => format!("threads cannot be counted, nothing was done: /proc: {error}"),
            Self::Part(error) => error.to_string(),
        };
        let errno = match &self {
            Self::NoProc(error) => error.raw_os_error(),
            Self::Part(error) => error.errno().raw_os_error(),
            _ => 0,
        };
        Error::new(self.code(), &text).with_errno(errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Enforcement;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn every_thread_counts() {
        let before = threads().expect("/proc");
        let (end, ended) = channel::<()>();
        // Other tests come and go, but not so many.
        const MORE: u64 = 100;
        let waiting = std::sync::Arc::new(std::sync::Mutex::new(ended));
        let started: Vec<_> = (0..MORE)
            .map(|_| {
                let waiting = waiting.clone();
                thread::spawn(move || waiting.lock().map(|ended| ended.recv()).is_ok())
            })
            .collect();
        assert!(threads().expect("/proc") + 50 > before + MORE, "{before}");
        drop(end);
        assert!(started.into_iter().all(|thread| thread.join().expect("no panic")));
    }

    #[test]
    fn what_was_not_tried_here_confines_nobody() {
        let policy =
            ringwarden::policy::Policy::parse("version = 1\ndefault = \"deny\"\n", "p").expect("a policy");
        let other = Enforcement::new(vec![policy], Some(c"7.2")).expect("enforceable");
        let refusal = other.means.confine().expect_err("refused");
        assert_eq!(refusal.code(), Code::Kernel);
        assert!(!rustix::thread::no_new_privs().expect("prctl"), "nothing was done");
    }

    #[test]
    fn the_rule_about_rings_is_named() {
        for table in ["deny_flags = [\"SQPOLL\"]", "deny_flags = [\"CLAMP\"]", "max_entries = 64"] {
            let text = format!("version = 1\ndefault = \"deny\"\n[setup]\n{table}\n");
            let policy = ringwarden::policy::Policy::parse(&text, "p.toml").expect("a policy");
            let enforcement =
                ringwarden::Enforcement::new(&[policy], KernelModel::default()).expect("enforceable");
            let Means::Setup(rule) = Means::of(&enforcement) else { panic!("{table}") };
            assert!(rule.ends_with("p.toml:4"), "{rule}");
        }
    }
}
