//! Programs in the kernel that get hold of private SQEs.
//!
//! From Linux 7.1 on (`io_uring/bpf-ops.c`) a BPF `struct_ops` program can stand in for the wait loop of a
//! ring. It is shown the memory of the SQEs and may submit them, from a wait that does not stop at the
//! guard. What it takes to attach one, read from that source:
//!
//! - the ring's descriptor in the calling process, and IORING_SETUP_DEFER_TASKRUN without SQPOLL and IOPOLL;
//!   whoever may submit to the ring or what restrictions it has is not asked;
//! - a loaded program and map (CAP_BPF and CAP_PERFMON, or a token of a BPF file system), attached by
//!   `BPF_MAP_UPDATE_ELEM` or by `BPF_LINK_CREATE`: all of it by `bpf(2)`.
//!
//! So whoever may not call `bpf(2)` cannot.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The name of the structure that such programs fill in, between the ends of its neighbours.
const NAME: &[u8] = b"\0io_uring_bpf_ops\0";
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// First bytes of a description of types, and its header's size.
const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
/// More than any kernel's names take.
const LONGEST: u32 = 64 << 20;

/// Whether this kernel lets BPF programs stand in for the wait loop of a ring, or may do so: false only
/// where it describes its own types and has none of that name, or has no description, without which
/// there are no such programs. Takes a millisecond.
pub fn kernel_has_uring_bpf_ops() -> bool {
    match File::open(BTF).and_then(|file| names(&file)) {
        Ok(names) => contains(&names, NAME),
        // Not mounted, or hidden: then it cannot be told.
        Err(error) => error.kind() != io::ErrorKind::NotFound || !Path::new("/sys/kernel/mm").exists(),
    }
}

/// The names in a description of types (`struct btf_header`, `Documentation/bpf/btf.rst`).
fn names(file: &File) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0)?;
    let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (header_len, offset, len) = (word(4), word(16), word(20));
    if u16::from_ne_bytes([header[0], header[1]]) != MAGIC || len > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut names = vec![0; len as usize];
    file.read_exact_at(&mut names, u64::from(header_len) + u64::from(offset))?;
    Ok(names)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    // SAFETY: both are named with their lengths; the C library's search is many times faster than one
    // window after the other.
    let found = unsafe {
        libc::memmem(haystack.as_ptr().cast(), haystack.len(), needle.as_ptr().cast(), needle.len())
    };
    !found.is_null()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_s_own_types_are_found_by_whole_names() {
        let Ok(names) = File::open(BTF).and_then(|file| names(&file)) else {
            return assert!(!Path::new(BTF).exists(), "unreadable");
        };
        assert!(contains(&names, b"\0io_ring_ctx\0"));
        assert!(!contains(&names, b"\0io_ring_ct\0"));
        assert_eq!(kernel_has_uring_bpf_ops(), contains(&names, NAME));
    }
}
