//! What the calling thread may do. Each function gives 0 or `-errno`.

use rustix::process::{Gid, Uid};
use rustix::thread::{self, UnshareFlags};

/// Nobody.
const ORDINARY_USER: u32 = 65534;

/// From root to an ordinary user.
pub(crate) fn drop_all() -> i32 {
    let (user, group) = (Uid::from_raw(ORDINARY_USER), Gid::from_raw(ORDINARY_USER));
    let groups = thread::set_thread_groups(&[]);
    let group = groups.and_then(|()| thread::set_thread_res_gid(group, group, group));
    status(group.and_then(|()| thread::set_thread_res_uid(user, user, user)))
}

/// `PR_SET_NO_NEW_PRIVS`.
pub(crate) fn give_up_new() -> i32 {
    status(thread::set_no_new_privs(true))
}

/// Into a user namespace of its own.
pub(crate) fn unshare_user() -> i32 {
    // SAFETY: the descriptors stay shared as they are.
    status(unsafe { thread::unshare_unsafe(UnshareFlags::NEWUSER) })
}

fn status(result: rustix::io::Result<()>) -> i32 {
    result.map_or_else(|error| -error.raw_os_error(), |()| 0)
}
