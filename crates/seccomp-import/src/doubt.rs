//! What a profile says that may not be what it was meant to say, or that no policy can say.

use crate::call;
use ringwarden_profile::{Action, Profile};

/// How many names are told; the others are counted.
const MOST: usize = 20;

/// What to warn of, a sentence each.
pub(crate) fn all(profile: &Profile) -> Vec<String> {
    let mut doubts = Vec::new();
    if profile.listener_path.is_some() || profile.listener_metadata.is_some() {
        doubts.push(
            "`listenerPath` names a program that is asked about calls: it is not asked about requests"
                .to_owned(),
        );
    }
    let actions = profile.syscalls.iter().map(|rule| rule.action).chain([profile.default_action]);
    if actions.into_iter().any(|action| action == Action::Notify) {
        doubts.push(
            "`SCMP_ACT_NOTIFY` leaves calls to another program, which may allow them: as requests they are denied"
                .to_owned(),
        );
    }
    let mut unknown = Vec::new();
    for name in profile.syscalls.iter().flat_map(|rule| &rule.names).filter(|name| !call::is_known(name)) {
        if !unknown.contains(&name) {
            unknown.push(name);
        }
    }
    doubts.extend(unknown.iter().take(MOST).map(|name| match call::closest(name) {
        Some(closest) => {
            format!("`{name}` is not a system call that is known here; did you mean `{closest}`?")
        }
        None => format!("`{name}` is not a system call that is known here, and has no effect"),
    }));
    if let Some(more @ 1..) = unknown.len().checked_sub(MOST) {
        doubts.push(format!("{more} more names are not system calls that are known here"));
    }
    doubts
}
