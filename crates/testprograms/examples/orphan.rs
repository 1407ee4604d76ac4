//! A daemon with a ring that outlives the guard and the watchdog, if it can: prints "ready", waits for the end
//! of standard input, and prints how each attempt to use io_uring without them fails.

use ringwarden_testring::{Ring, SetupFlags, Sqe};
use std::io::{Error, Read, Result, stdin};
use std::os::fd::{AsFd, AsRawFd};

fn main() -> Result<()> {
    if std::env::args().nth(1).is_none() {
        // The parent is the program, which is killed with the guard.
        let mut child =
            std::process::Command::new("setsid").arg(std::env::current_exe()?).arg("daemon").spawn()?;
        child.wait()?;
        return Ok(());
    }
    let ring = Ring::new(4, SetupFlags::empty())?;
    assert!(ring.push(&Sqe::default()));
    let fd = ring.as_fd().as_raw_fd();
    println!("ready");
    stdin().read_to_end(&mut Vec::new())?;
    let enter = |to_submit: u32| {
        // SAFETY: a NOP, which has no memory.
        unsafe { libc::syscall(libc::SYS_io_uring_enter, fd, to_submit, 0, 0, 0, 0) }
    };
    report("submit", enter(1));
    report("enter", enter(0));
    let mut params = [0u8; 120];
    // SAFETY: as large as `struct io_uring_params`.
    report("ring", unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) });
    // SAFETY: no pointers.
    report("register", unsafe { libc::syscall(libc::SYS_io_uring_register, fd, 8, 0, 0) });
    let allow = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_USER_NOTIF };
    let program = libc::sock_fprog { len: 1, filter: (&raw const allow).cast_mut() };
    // SAFETY: a program of one instruction.
    report("listener", unsafe {
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    });
    println!("completions {}", u32::from(ring.pop().is_some()));
    Ok(())
}

fn report(attempt: &str, result: i64) {
    let error = Error::last_os_error().raw_os_error().unwrap_or_default();
    println!("{attempt} {}", if result < 0 { -i64::from(error) } else { result });
}
