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

/// What there is to be kept out of the way, on this machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hazards {
    /// BPF programs can submit what is in a ring's memory: `bpf` is refused.
    pub(crate) bpf_ops: bool,
    /// Sealed memory can be mapped for writing by a device, whose call is refused.
    pub(crate) udmabuf: bool,
}

impl Hazards {
    /// Tries everything, on a kernel that has filters of tasks or not. What cannot be told counts as there.
    pub(crate) fn find(filters_tasks: bool) -> Self {
        Self {
            // They are younger than filters, and reading the kernel's types takes milliseconds.
            bpf_ops: filters_tasks && kernel_has_uring_bpf_ops(),
            udmabuf: !matches!(Udmabuf::find(), Udmabuf::Absent | Udmabuf::KeepsSeals),
        }
    }
}
