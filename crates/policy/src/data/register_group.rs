//! Groups of `io_uring_register` opcodes, as data. A group is a name in `[register]`; an opcode's own
//! name beats it.

use ringwarden_uapi::RegisterOp;

/// Register opcodes that a policy names together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisterGroup {
    /// The name, with its `@`.
    pub name: &'static str,
    /// What the members have in common, in one line.
    pub doc: &'static str,
    /// The members, in numeric order.
    pub members: &'static [RegisterOp],
}

impl RegisterGroup {
    /// The group of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        REGISTER_GROUPS.iter().find(|group| group.name == name)
    }
}

macro_rules! groups {
    ($($name:literal, $doc:literal: $($member:ident)*;)*) => {
        /// Every group. Each register opcode is in exactly one.
        pub const REGISTER_GROUPS: &[RegisterGroup] = &[
            $(RegisterGroup { name: $name, doc: $doc, members: &[$(RegisterOp::$member,)*] },)*
        ];
    };
}

groups! {
    "@queries", "what the kernel can do": REGISTER_PROBE REGISTER_QUERY;
    "@self-restriction", "filters and restrictions that a program puts on itself, and enabling its rings":
        REGISTER_RESTRICTIONS REGISTER_ENABLE_RINGS REGISTER_BPF_FILTER;
    "@ring-descriptors", "rings that a thread names by index": REGISTER_RING_FDS UNREGISTER_RING_FDS;
    "@files", "descriptors that requests name by index":
        REGISTER_FILES UNREGISTER_FILES REGISTER_FILES_UPDATE REGISTER_FILES2 REGISTER_FILES_UPDATE2
        REGISTER_FILE_ALLOC_RANGE;
    "@buffers", "memory that requests name by index: pinned, and charged to RLIMIT_MEMLOCK":
        REGISTER_BUFFERS UNREGISTER_BUFFERS REGISTER_BUFFERS2 REGISTER_BUFFERS_UPDATE REGISTER_CLONE_BUFFERS;
    "@provided-buffers", "rings of buffers from which the kernel takes one for a request":
        REGISTER_PBUF_RING UNREGISTER_PBUF_RING REGISTER_PBUF_STATUS;
    "@eventfd", "a descriptor that is told of completions":
        REGISTER_EVENTFD UNREGISTER_EVENTFD REGISTER_EVENTFD_ASYNC;
    "@workers", "the kernel threads that run requests": REGISTER_IOWQ_AFF UNREGISTER_IOWQ_AFF REGISTER_IOWQ_MAX_WORKERS;
    "@waiting", "how waiting for completions works, and cancelling in one go":
        REGISTER_SYNC_CANCEL REGISTER_NAPI UNREGISTER_NAPI REGISTER_CLOCK;
    "@memory", "memory that ring and program share: moved, grown, given by the program":
        REGISTER_RESIZE_RINGS REGISTER_MEM_REGION;
    "@personalities", "credentials that requests can run with": REGISTER_PERSONALITY UNREGISTER_PERSONALITY;
    "@rings", "messages to a ring without one's own": REGISTER_SEND_MSG_RING;
    "@zero-copy", "a queue of the network card, received without a copy": REGISTER_ZCRX_IFQ REGISTER_ZCRX_CTRL;
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_uapi::register::REGISTER_OPS;

    #[test]
    fn every_opcode_is_in_exactly_one_group() {
        for (op, name) in REGISTER_OPS {
            let count = REGISTER_GROUPS.iter().filter(|group| group.members.contains(op)).count();
            assert_eq!(count, 1, "{name}");
        }
        for group in REGISTER_GROUPS {
            assert!(group.members.is_sorted(), "{}", group.name);
        }
    }
}
