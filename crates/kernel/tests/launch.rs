//! How programs start and end under this backend. With an empty set of filters that works on every
//! kernel, and with another one it must fail where the kernel has none.

use io_uring::IoUring;
use ringwarden_filter::{FilterSet, RegisterRules, Registration};
use ringwarden_kernel::{ConfineError, Error, Facts, Kernel, Status};
use ringwarden_launch::ExecError;
use ringwarden_uapi::Opcode;
use rustix::fd::BorrowedFd;
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use std::os::fd::AsRawFd;

fn run(argv: &[&str]) -> Result<Status, Error> {
    Kernel::new(&FilterSet::default(), RegisterRules::default()).run(argv)
}

fn shell(script: &str) -> Status {
    run(&["sh", "-c", script]).expect("it ran")
}

#[test]
fn the_status_is_the_programs() {
    use Status::{Exited, Signalled};
    for (script, status) in [
        ("exit 0", Exited(0)),
        ("exit 7", Exited(7)),
        ("kill -TERM $$", Signalled(15)),
        ("kill -KILL $$", Signalled(9)),
    ] {
        assert_eq!(shell(script), status, "{script}");
    }
}

#[test]
fn what_does_not_execute_is_told_apart() {
    assert!(matches!(run(&["/nowhere/to/be/found"]), Err(Error::Exec(ExecError::NotFound { .. }))));
    assert!(matches!(run(&["/dev/null"]), Err(Error::Exec(ExecError::CannotExecute { .. }))));
    assert!(matches!(run(&[]), Err(Error::Exec(ExecError::NotFound { .. }))));
    assert!(matches!(run(&["true", "a\0b"]), Err(Error::Argument(1))));
}

#[test]
fn privileges_cannot_grow_and_signals_are_as_they_were() {
    assert_eq!(shell("grep -q '^NoNewPrivs:.1$' /proc/self/status"), Status::Exited(0));
    // Neither those that the stand-in waits for nor what Rust does to SIGPIPE.
    assert_eq!(shell("grep -q '^SigBlk:.0*$' /proc/self/status"), Status::Exited(0));
    assert_eq!(shell("kill -PIPE $$"), Status::Signalled(libc::SIGPIPE));
}

#[test]
fn rings_of_the_caller_do_not_reach_the_program() {
    let Ok(ring) = IoUring::new(1) else { return };
    let number = ring.as_raw_fd();
    // SAFETY: the ring is open.
    fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::empty()).expect("not close-on-exec");
    // `run` closes it here, too.
    std::mem::forget(ring);
    assert_eq!(shell(&format!("test ! -e /proc/self/fd/{number}")), Status::Exited(0));
    assert_eq!(shell("readlink /proc/self/fd/* | grep -q io_uring"), Status::Exited(1));
}

#[test]
fn nothing_starts_without_its_filters() {
    if Facts::find().filters.is_ok() {
        return;
    }
    let mut filters = FilterSet::default();
    let deny = [ringwarden_cbpf::Insn::stmt(ringwarden_cbpf::insn::BPF_RET, 0)];
    filters.register(Registration::new(Opcode::WRITE, &deny)).expect("a filter");
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let error = Kernel::new(&filters, RegisterRules::default())
        .run(&["touch".as_ref(), trace.as_os_str()])
        .expect_err("refused");
    let Error::Confine(ConfineError::Filter { opcode, error }) = error else { panic!("{error}") };
    assert_eq!(opcode, Opcode::WRITE);
    assert!(matches!(error, Errno::INVAL | Errno::BADF), "{error}");
    assert!(!trace.exists(), "the program ran");
}
