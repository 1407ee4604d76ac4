//! What must hold of any text as a seccomp profile, as a function that panics where it does not.
//!
//! Profiles may come from strangers. The test below feeds in random texts for a moment; the fuzz
//! target in `fuzz/` feeds in texts chosen by coverage for as long as it is left running.

use crate::{Import, ImportError, Imported, ReadError};
use ringwarden_policy::{Policy, compile, layout};
use ringwarden_uapi::KernelModel;

/// A text is a seccomp profile, which becomes a policy without errors, or it is refused with a place.
/// Returns whether it is a profile.
pub fn any_profile(text: &str) -> bool {
    let import = Import {
        name: "any".to_owned(),
        origin: "any.json".to_owned(),
        capabilities: Vec::new(),
        kernel: (6, 10),
        allow: Vec::new(),
        profile: None,
    };
    match import.seccomp(text) {
        Ok(Imported { policy, .. }) => {
            let laid_out = layout::format(&policy, "imported");
            assert_eq!(laid_out.unwrap_or_else(|errors| panic!("{errors}\n{policy}")), policy);
            let policy =
                Policy::parse(&policy, "imported").unwrap_or_else(|errors| panic!("{errors}\n{policy}"));
            compile(&[policy], KernelModel::default()).unwrap_or_else(|errors| panic!("{errors}"));
            true
        }
        Err(ImportError::Profile(ReadError::Place { line, .. })) => {
            assert!((1..=text.split('\n').count().max(1)).contains(&line), "{line}: {text}");
            false
        }
        Err(ImportError::Profile(ReadError::Choice { .. })) => false,
        Err(error) => panic!("nothing was asked for: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::Index;

    proptest! {
        #[test]
        fn of_almost_good_profiles(cut in any::<Index>(), length in 0usize..12, with in "[ -~\\n]{0,6}") {
            const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                {"names": ["socket", "read"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}]}"#;
            let mut text: Vec<char> = PROFILE.chars().collect();
            let at = cut.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, with.chars());
            any_profile(&text.into_iter().collect::<String>());
        }
    }
}
