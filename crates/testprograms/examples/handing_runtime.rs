//! What a container runtime does to a process, without a container: `handing_runtime SOCKET MESSAGE PROFILE CMD…` puts a
//! seccomp filter on itself, hands its listener over at SOCKET with MESSAGE, in which PID becomes its own number, and
//! executes CMD.
//!
//! PROFILE says what the filter is like: `whole`, with everything that an agent relies on; `bare`, with io_uring_setup
//! alone notified; `listeners`, which lets the program have a listener of its own; `compat`, which lets calls of other
//! tables through.

use ringwarden_cbpf::Insn;
use ringwarden_cbpf::asm::assemble;
use ringwarden_uapi::arch::AUDIT_ARCH;
use rustix::fd::{AsFd, FromRawFd, OwnedFd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::error::Error;
use std::ffi::OsString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Enabling and restricting rings, and asking what they can do: the argument's low half, without the index bit. Without a
/// ring, messages.
const REGISTER: &str = "reg: ld [24]\n and #0x7fffffff\n jeq #8, stop\n jeq #11, stop\n jeq #12, stop\n \
                        jne #31, pass\n ld [16]\n jeq #0xffffffff, fail, pass\n";
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`, which fails with EBUSY as it would beside the one that there is.
const LISTENER: &str = "sec: ld [24]\n jset #8, busy, pass\n";

fn filter(profile: &str) -> Result<Vec<Insn>, Box<dyn Error>> {
    let other = if profile == "compat" { "pass" } else { "fail" };
    let [register, seccomp] = match profile {
        "whole" | "compat" => ["reg", "sec"],
        "bare" => ["pass", "sec"],
        "listeners" => ["reg", "pass"],
        other => return Err(format!("no such profile: {other}").into()),
    };
    let calls = [libc::SYS_io_uring_setup, libc::SYS_io_uring_register, libc::SYS_seccomp];
    let [setup, reg, sec] = calls;
    let text = format!(
        "ld [4]\n jne #{AUDIT_ARCH:#x}, {other}\n ld [0]\n jge #0x40000000, {other}\n jeq #{setup}, stop\n \
         jeq #{reg}, {register}\n jeq #{sec}, {seccomp}\n jmp pass\n {REGISTER}{LISTENER}\
         busy: ret #0x50010\n fail: ret #0x50026\n stop: ret #0x7fc00000\n pass: ret #0x7fff0000\n"
    );
    Ok(assemble(&text)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [socket, message, profile, command, arguments @ ..] = &arguments[..] else {
        return Err("handing_runtime SOCKET MESSAGE PROFILE CMD…".into());
    };
    let message = message.to_str().ok_or("text")?.replace("PID", &std::process::id().to_string());
    let insns = filter(profile.to_str().ok_or("text")?)?;
    rustix::thread::set_no_new_privs(true)?;
    let program = libc::sock_fprog { len: insns.len() as u16, filter: insns.as_ptr().cast_mut().cast() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: the program lives for the call; instructions are laid out as the kernel's.
    let fd =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: the kernel has just made it.
    let listener = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // Runtimes send it in one piece, and close the connection.
    let stream = UnixStream::connect(socket)?;
    let fds = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(&stream, &[IoSlice::new(message.as_bytes())], &mut control, SendFlags::empty())?;
    drop((stream, listener));
    Err(Command::new(command).args(arguments).exec().into())
}
