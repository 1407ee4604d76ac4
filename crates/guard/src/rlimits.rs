//! The limits of the process itself.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files as far as allowed, and gives it.
pub(crate) fn raise_open_files() -> u64 {
    raise(Resource::Nofile);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises a limit as far as allowed.
pub(crate) fn raise(resource: Resource) {
    let mut limit = getrlimit(resource);
    limit.current = limit.maximum;
    let _ = setrlimit(resource, limit);
}
