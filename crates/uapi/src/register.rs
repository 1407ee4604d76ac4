//! Register opcodes (`IORING_REGISTER_*`) and their names.
//!
//! `enum io_uring_register_op` of Linux 7.2 and 7.3.

use core::fmt;

/// One opcode of `io_uring_register(2)`, known to the kernel or not, without
/// [`USE_REGISTERED_RING`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct RegisterOp(pub u32);

/// `IORING_REGISTER_USE_REGISTERED_RING`, or-ed to a register opcode: `fd` is an index into the
/// rings that the task registered.
pub const USE_REGISTERED_RING: u32 = 1 << 31;

macro_rules! register_ops {
    ($($const:ident = $number:literal, $name:literal;)*) => {
        impl RegisterOp {
            $(#[doc = concat!("`IORING_", stringify!($const), "`, ", $number, ".")]
            pub const $const: Self = Self($number);)*
        }
        /// Every register opcode with its lower-case name, in numeric order without gaps.
        pub const REGISTER_OPS: &[(RegisterOp, &str)] = &[$((RegisterOp::$const, $name),)*];
    };
}

register_ops! {
    REGISTER_BUFFERS = 0, "buffers";
    UNREGISTER_BUFFERS = 1, "unregister_buffers";
    REGISTER_FILES = 2, "files";
    UNREGISTER_FILES = 3, "unregister_files";
    REGISTER_EVENTFD = 4, "eventfd";
    UNREGISTER_EVENTFD = 5, "unregister_eventfd";
    REGISTER_FILES_UPDATE = 6, "files_update";
    REGISTER_EVENTFD_ASYNC = 7, "eventfd_async";
    REGISTER_PROBE = 8, "probe";
    REGISTER_PERSONALITY = 9, "personality";
    UNREGISTER_PERSONALITY = 10, "unregister_personality";
    REGISTER_RESTRICTIONS = 11, "restrictions";
    REGISTER_ENABLE_RINGS = 12, "enable_rings";
    REGISTER_FILES2 = 13, "files2";
    REGISTER_FILES_UPDATE2 = 14, "files_update2";
    REGISTER_BUFFERS2 = 15, "buffers2";
    REGISTER_BUFFERS_UPDATE = 16, "buffers_update";
    REGISTER_IOWQ_AFF = 17, "iowq_aff";
    UNREGISTER_IOWQ_AFF = 18, "unregister_iowq_aff";
    REGISTER_IOWQ_MAX_WORKERS = 19, "iowq_max_workers";
    REGISTER_RING_FDS = 20, "ring_fds";
    UNREGISTER_RING_FDS = 21, "unregister_ring_fds";
    REGISTER_PBUF_RING = 22, "pbuf_ring";
    UNREGISTER_PBUF_RING = 23, "unregister_pbuf_ring";
    REGISTER_SYNC_CANCEL = 24, "sync_cancel";
    REGISTER_FILE_ALLOC_RANGE = 25, "file_alloc_range";
    REGISTER_PBUF_STATUS = 26, "pbuf_status";
    REGISTER_NAPI = 27, "napi";
    UNREGISTER_NAPI = 28, "unregister_napi";
    REGISTER_CLOCK = 29, "clock";
    REGISTER_CLONE_BUFFERS = 30, "clone_buffers";
    REGISTER_SEND_MSG_RING = 31, "send_msg_ring";
    REGISTER_ZCRX_IFQ = 32, "zcrx_ifq";
    REGISTER_RESIZE_RINGS = 33, "resize_rings";
    REGISTER_MEM_REGION = 34, "mem_region";
    REGISTER_QUERY = 35, "query";
    REGISTER_ZCRX_CTRL = 36, "zcrx_ctrl";
    REGISTER_BPF_FILTER = 37, "bpf_filter";
}

impl RegisterOp {
    /// The first number that no known kernel implements (`IORING_REGISTER_LAST` of Linux 7.2 and
    /// 7.3).
    pub const LAST: u32 = REGISTER_OPS.len() as u32;

    /// The register opcode of that lower-case name, without the `IORING_REGISTER_` prefix.
    pub fn from_name(name: &str) -> Option<Self> {
        REGISTER_OPS.iter().find(|(_, n)| *n == name).map(|(op, _)| *op)
    }

    /// Its lower-case name, or `None` for a number that no known kernel has.
    pub fn name(self) -> Option<&'static str> {
        REGISTER_OPS.get(self.0 as usize).map(|(_, name)| *name)
    }
}

impl fmt::Display for RegisterOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "register{}", self.0),
        }
    }
}

impl fmt::Debug for RegisterOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_without_gaps_and_names_lead_back() {
        for (number, &(op, name)) in REGISTER_OPS.iter().enumerate() {
            assert_eq!(op.0 as usize, number, "{name}");
            assert_eq!(RegisterOp::from_name(name), Some(op));
        }
        assert_eq!(RegisterOp::LAST, 38);
        assert_eq!(RegisterOp(99).to_string(), "register99");
    }
}
