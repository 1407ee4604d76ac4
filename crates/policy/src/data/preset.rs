//! Policies that come with Ringwarden, as data. Their names begin with `@`.

use crate::diagnostic::suggest;

/// A policy for a kind of program, tested on such programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preset {
    /// The name, with its `@`: what `extends` and command lines call it.
    pub name: &'static str,
    /// Whom it is for, in one line.
    pub doc: &'static str,
    /// Its file.
    pub text: &'static str,
}

impl Preset {
    /// The preset of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The preset of that name.
    ///
    /// # Errors
    /// There is none; but perhaps one that was meant.
    pub fn find(name: &str) -> Result<&'static Self, UnknownPreset> {
        Self::named(name).ok_or_else(|| {
            let names = PRESETS.iter().map(|preset| preset.name);
            UnknownPreset(match suggest::closest(name, names.clone()) {
                Some(closest) => format!("did you mean `{closest}`?"),
                None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
            })
        })
    }
}

/// A name that no preset has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such preset; {0}")]
pub struct UnknownPreset(String);

macro_rules! presets {
    ($($name:literal, $doc:literal;)*) => {
        /// Every preset.
        pub const PRESETS: &[Preset] = &[$(Preset {
            name: concat!("@", $name),
            doc: $doc,
            text: include_str!(concat!("../../presets/", $name, ".toml")),
        },)*];
    };
}

presets! {
    "container-default", "what databases, runtimes and servers use, without what has been exploited most";
    "file-io", "data from and to files, for storage engines and the tools that measure them";
    "libuv", "Node.js and other programs on libuv: its file calls and its epoll set";
    "mariadb", "MariaDB's own input and output, and nothing else";
    "net-client", "clients of web services, held to families and ports: these conditions cost speed";
    "net-server", "sockets, for servers that have opened their files before or by system calls";
    "nothing", "rings that refuse every request, for programs that can do without";
    "postgres", "PostgreSQL 18's reads, and nothing else";
    "qemu", "QEMU's disks and its event loop, and nothing else";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn presets_read_without_warnings_and_are_called_what_they_are() {
        for preset in PRESETS {
            let policy = Policy::parse(preset.text, preset.name).unwrap_or_else(|errors| panic!("{errors}"));
            assert!(policy.warnings().is_none(), "{}", preset.name);
            assert_eq!(policy.name(), preset.name.strip_prefix('@'));
            assert!(!policy.tests().is_empty(), "{}", preset.name);
        }
    }
}
