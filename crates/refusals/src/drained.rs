//! [`Drained`]: what a stream has told.

use crate::record::{AllowedRequest, RefusedRequest};
use std::time::SystemTime;

/// One refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// When.
    pub time: SystemTime,
    /// The process that submitted the request, in the pid namespace of the process that opened the stream; 0 or -1 for one
    /// that is not in it.
    pub pid: i32,
    /// The thread, likewise.
    pub tid: i32,
    /// The thread's name then, with zeros behind it; only known where it is [listened to what is
    /// allowed](crate::Stream::open_with_allowed).
    pub program: Option<[u8; 16]>,
    /// The control group of the process then, by number: the inode of its folder, in the hierarchy with the `perf_event`
    /// controller, of version 1 or 2. 1 is the root's, which everybody is in where version 2 has handed down no controller.
    /// Only of [`Scope::Machine`](crate::Scope::Machine), and where the kernel tells (Linux 5.7 with CONFIG_CGROUP_PERF,
    /// `PERF_SAMPLE_CGROUP` in perf_event_open(2)).
    pub cgroup: Option<u64>,
    /// What was refused.
    pub request: RefusedRequest,
}

/// One request that was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowed {
    /// When.
    pub time: SystemTime,
    /// The process that submitted it, as [`Refusal::pid`].
    pub pid: i32,
    /// The thread, likewise.
    pub tid: i32,
    /// The thread's name, as [`Refusal::program`].
    pub program: Option<[u8; 16]>,
    /// What was allowed.
    pub request: AllowedRequest,
}

/// What has come since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// In the order of their time.
    pub refusals: Vec<Refusal>,
    /// So many more found no place in a buffer, of those who were listened to: of [`Scope::Process`](crate::Scope::Process) everybody.
    pub lost: u64,
    /// What was allowed, in the order of time; nothing unless the stream is [opened](crate::Stream::open_with_allowed) for that.
    pub allowed: Vec<Allowed>,
    /// So many more of those were lost, likewise.
    pub lost_allowed: u64,
}
