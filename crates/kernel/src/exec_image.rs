//! A program of a few instructions to execute: it tells by its exit status whether its task came
//! through the exec with filters.

#[cfg_attr(target_arch = "aarch64", path = "exec_image/aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "exec_image/x86_64.rs")]
mod code;

use code::CODE;
use ringwarden_uapi::arch::ELF_MACHINE;
use rustix::fd::AsRawFd;
use rustix::fs::{MemfdFlags, memfd_create};
use std::ffi::c_char;
use std::io;
use std::ptr::null;

/// Exit status of the image in a task that has filters or restrictions.
pub(crate) const FILTERED: i32 = libc::EPERM;

/// Where the image's only page is mapped.
const BASE: u64 = 0x40_0000;
/// ELF header and one program header (`man 5 elf`).
const HEADERS: u64 = 64 + 56;
/// The largest page that a kernel may have, on aarch64.
const LARGEST_PAGE: u64 = 0x1_0000;

/// Executes the image in the calling process; returns only with the reason why it could not.
pub(crate) fn execute() -> io::Error {
    // Where `vm.memfd_noexec` has it that files in memory are not executed, this fails, or the exec.
    let file = match memfd_create(c"ringwarden-trial", MemfdFlags::CLOEXEC | MemfdFlags::EXEC) {
        Ok(file) => file,
        Err(error) => return error.into(),
    };
    if let Err(error) = rustix::io::write(&file, &elf()) {
        return error.into();
    }
    let argv = [c"trial".as_ptr(), null()];
    let environment = [null::<c_char>()];
    // SAFETY: an empty path with AT_EMPTY_PATH names the descriptor; both arrays end in null and live
    // until the call replaces this process or fails.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// The smallest static executable around the code.
fn elf() -> Vec<u8> {
    let size = HEADERS + size_of_val(&CODE) as u64;
    let mut image = Vec::with_capacity(size as usize);
    let mut put = |bytes: &[u8]| image.extend_from_slice(bytes);
    // e_ident: 64 bits, little-endian, version 1; then ET_EXEC, the processor, version 1.
    put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    [2, ELF_MACHINE, 1, 0].iter().for_each(|half| put(&half.to_le_bytes()));
    // e_entry, e_phoff, e_shoff.
    [BASE + HEADERS, 64, 0].iter().for_each(|word| put(&word.to_le_bytes()));
    // e_flags, e_ehsize, e_phentsize, e_phnum, and no sections.
    put(&[0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    // p_type PT_LOAD, p_flags PF_R | PF_X.
    put(&[1, 0, 0, 0, 5, 0, 0, 0]);
    // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align.
    [0, BASE, BASE, size, size, LARGEST_PAGE].iter().for_each(|word| put(&word.to_le_bytes()));
    CODE.iter().for_each(|unit| put(&unit.to_le_bytes()));
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration;
    use ringwarden_trial::{self as trial, TrialError};

    /// What it says of a task without filters is what the task itself hears.
    #[test]
    fn the_image_runs_and_agrees_with_its_task() {
        let status = match trial::exec(execute) {
            Err(TrialError::Failed(error)) => {
                // Only where the machine executes no files in memory.
                assert_eq!(error, rustix::io::Errno::ACCESS);
                return;
            }
            status => status.expect("an end"),
        };
        assert_eq!(status == FILTERED, registration::is_filtered());
        assert_ne!(status, 0);
    }
}
