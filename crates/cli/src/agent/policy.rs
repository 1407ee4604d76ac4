//! The policy that a container's profile or annotation names, and whether rings can be held to it.

use super::ceiling;
use crate::layers;
use ringwarden::Enforcement;
use ringwarden::guard::Maker;
use ringwarden::kernel::Facts;
use ringwarden::uapi::KernelModel;
use std::path::Path;

/// The most bytes of a policy's name.
const LONGEST: usize = 64;

/// Somebody to hold a container's rings to its policy.
pub(super) struct Chosen {
    pub(super) maker: Maker,
    pub(super) enforcement: Enforcement,
    pub(super) lane: &'static str,
}

/// What a name names: a preset, or a file of the folder.
///
/// # Errors
/// It is no name.
fn place(name: &str, folder: &Path) -> Result<String, String> {
    let bare = name.strip_prefix('@').unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match () {
        () if name.is_empty() => Err("no policy is named, by `listenerMetadata` or an annotation".into()),
        () if name.len() > LONGEST => Err(format!("the policy's name is longer than {LONGEST} bytes")),
        () if bare.is_empty() || bare.starts_with('.') || !bare.bytes().all(plain) => {
            Err("the policy's name has other characters than letters, digits, `-`, `_`, and `.` in between"
                .into())
        }
        () if name.starts_with('@') => Ok(name.to_owned()),
        () => Ok(folder.join(format!("{name}.toml")).to_string_lossy().into_owned()),
    }
}

/// Reads a policy and chooses a lane. The calling process must have a single thread.
///
/// # Errors
/// Why rings cannot be held to it, for people.
pub(super) fn choose(name: &str, folder: &Path, under: Option<&str>) -> Result<Chosen, String> {
    let names = [place(name, folder)?];
    let policies = layers::is_lasting(&names[0]).and_then(|()| layers::enforceable(&names));
    let policies = policies.map_err(|unusable| unusable.line())?;
    let enforcement =
        layers::enforce(&policies, KernelModel::default()).map_err(|unusable| unusable.line())?;
    if let Some(under) = under {
        ceiling::check(&policies, under)?;
    }
    let beyond = match enforcement.operations() {
        Ok(operations) => {
            let maker = Maker::new(operations, enforcement.calls());
            return Ok(Chosen { maker, enforcement, lane: "restricted" });
        }
        Err(beyond) => beyond,
    };
    match Enforcement::for_filters(Facts::find().usable_on_rings(), &policies) {
        Ok(enforcement) => Ok(Chosen { maker: enforcement.filtering_maker(), enforcement, lane: "filtered" }),
        Err(reason) => Err(format!("{beyond}, which restrictions of a ring cannot hold; {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_a_preset_or_into_the_folder_and_nowhere_else() {
        let place = |name: &str| place(name, Path::new("/etc/ringwarden/policies"));
        assert_eq!(place("web-1.2_x"), Ok("/etc/ringwarden/policies/web-1.2_x.toml".into()));
        assert_eq!(place("@container-default"), Ok("@container-default".into()));
        let long = "x".repeat(LONGEST + 1);
        for name in
            ["", "@", ".", "..", ".web", "@.x", "a/b", "../web", "a b", "a\n", "@@x", "ä", "-\0", &*long]
        {
            assert!(place(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_only_gives_names_is_no_policy() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "version = 1\n[define]\nweb = \"{80, 443}\"\n";
        std::fs::write(folder.path().join("names.toml"), text).expect("writable");
        let refused = choose("names", folder.path(), None).map(|_| ()).expect_err("no policy");
        assert!(refused.contains("there is nothing to enforce"), "{refused}");
    }

    /// Nobody outside of a container looks at its requests.
    #[test]
    fn a_rule_on_what_only_the_guard_sees_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "version = 1\ndefault = \"deny\"\n[ops]\nuring_cmd = \"cmd_op == 3\"\n";
        std::fs::write(folder.path().join("web.toml"), text).expect("writable");
        let Err(reason) = choose("web", folder.path(), None) else { panic!("it is held") };
        for part in ["`uring_cmd`", "`cmd_op`", "web.toml:4:", "only the guard sees it"] {
            assert!(reason.contains(part), "{part}: {reason}");
        }
    }
}
