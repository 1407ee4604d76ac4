//! The flags of new rings, as data.
//!
//! `include/uapi/linux/io_uring.h`, Linux 7.2; what they do is in io_uring_setup(2).

use ringwarden_uapi::ring::SetupFlags;

/// A flag that `[setup]` can deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetupFlag {
    /// The name in the kernel's header without `IORING_SETUP_`.
    pub name: &'static str,
    /// The flag.
    pub flag: SetupFlags,
    /// What a ring with it does, in one line.
    pub doc: &'static str,
}

impl SetupFlag {
    /// The flag of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SETUP_FLAGS.iter().find(|flag| flag.name == name)
    }
}

macro_rules! flags {
    ($($name:ident, $doc:literal;)*) => {
        /// Every flag, from the lowest bit on.
        pub const SETUP_FLAGS: &[SetupFlag] = &[
            $(SetupFlag { name: stringify!($name), flag: SetupFlags::$name, doc: $doc },)*
        ];
    };
}

flags! {
    IOPOLL, "polls for completions, without interrupts";
    SQPOLL, "has a kernel thread that submits: one processor more for the program";
    SQ_AFF, "binds that thread to a processor";
    CQSIZE, "has a completion queue of a size that the program chooses";
    CLAMP, "is made smaller if it is too large";
    ATTACH_WQ, "shares its workers with another ring";
    R_DISABLED, "starts disabled, so that it can be restricted first";
    SUBMIT_ALL, "goes on with a submission when a request of it fails";
    COOP_TASKRUN, "lets completions wait until the program enters the kernel by itself";
    TASKRUN_FLAG, "says when that would be useful";
    SQE128, "has requests of 128 bytes, for commands to drivers";
    CQE32, "has completions of 32 bytes";
    SINGLE_ISSUER, "takes requests of one thread only";
    DEFER_TASKRUN, "works on completions when the program waits for them";
    NO_MMAP, "lives in memory that the program gives";
    REGISTERED_FD_ONLY, "has no descriptor, only an index";
    NO_SQARRAY, "has no index array: requests are taken in order";
    HYBRID_IOPOLL, "polls for completions after a while of sleep";
    CQE_MIXED, "has completions of 16 and of 32 bytes";
    SQE_MIXED, "has requests of 64 and of 128 bytes";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_there_in_order() {
        let names: Vec<_> = SETUP_FLAGS.iter().map(|flag| (flag.name, flag.flag)).collect();
        assert_eq!(names, SetupFlags::all().iter_names().collect::<Vec<_>>());
    }
}
