//! What some kernels do, or may come to do, that would lead around the guard: each found out by trying,
//! before anything depends on it. No released kernel up to Linux 7.3-rc7 was seen to have the first;
//! versions prove nothing about the others, since fixes are carried back.

#[allow(unsafe_code)] // memmem
mod bpf_ops;
#[allow(unsafe_code)] // rings, clone
mod issuer_lock;
#[allow(unsafe_code)] // ioctl, mmap
mod udmabuf;

pub use bpf_ops::kernel_has_uring_bpf_ops;
pub use issuer_lock::IssuerLock;
pub use udmabuf::Udmabuf;
